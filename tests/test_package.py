"""The package's public names."""

import inspect
import pkgutil
from importlib import import_module

import pytest

import sdloop


@pytest.mark.parametrize("name", sdloop.__all__)
def test_public_names_stay_what_they_are_once_every_module_is_imported(name):
    for module in pkgutil.walk_packages(sdloop.__path__, "sdloop."):
        import_module(module.name)
    for _ in range(2):
        assert not inspect.ismodule(getattr(sdloop, name))


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="nothing"):
        _ = sdloop.nothing
