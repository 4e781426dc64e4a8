"""The server's folder: one server at a time, and free again afterwards."""

import pytest

from sdloop.machine.errors import UserError
from sdloop.serve.form import Form
from sdloop.serve.server import serving


def test_a_second_server_in_the_same_folder_is_refused(tiny_config, tmp_path):
    form = Form(tiny_config, (), tmp_path / "runs")
    with serving(form) as first:
        assert "token=" in first
        said = r"--runs .*another process is working there"
        with pytest.raises(UserError, match=said), serving(form):
            pass
    with serving(form) as again:
        assert again != first


def test_a_server_that_made_nothing_leaves_no_folder(tiny_config, tmp_path):
    with serving(Form(tiny_config, (), tmp_path / "runs")):
        assert (tmp_path / "runs").is_dir()
    assert not (tmp_path / "runs").exists()
