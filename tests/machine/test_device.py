"""Which device and dtype a run uses, on machines unlike this one too."""

import ctypes
import platform
import re

import pytest
import torch

from sdloop.machine.device import check_compiler, check_device, choose_device, in_dtype
from sdloop.machine.errors import UserError


class Driver:
    """Stands for the CUDA driver's library."""

    def __init__(self, count, fails=False):
        self.count, self.fails = count, fails

    def cuInit(self, flags):
        return 100 if self.fails else 0

    def cuDeviceGetCount(self, pointer):
        pointer._obj.value = self.count
        return 0


@pytest.fixture
def machine(monkeypatch):
    """Return a function that makes this machine look like another one."""

    def look_like(system="Linux", processor="x86_64", driver=None):
        def load(name):
            assert name == ("nvcuda.dll" if system == "Windows" else "libcuda.so.1")
            if driver is None:
                raise OSError("no such file")
            return driver

        monkeypatch.setattr(platform, "system", lambda: system)
        monkeypatch.setattr(platform, "machine", lambda: processor)
        monkeypatch.setattr(ctypes, "CDLL", load)

    return look_like


@pytest.mark.parametrize("system", ["Linux", "Windows"])
def test_devices_are_those_that_the_driver_knows(machine, system):
    machine(system, driver=Driver(2))
    check_device("cuda")
    check_device("cuda:1")
    with pytest.raises(UserError, match=r"cuda:2: not available; the driver knows 2 CUDA devices"):
        check_device("cuda:2")


@pytest.mark.parametrize("driver", [None, Driver(1, fails=True), Driver(0)])
def test_no_driver_is_no_device(machine, driver):
    machine(driver=driver)
    check_device("auto")
    check_device("cpu")
    with pytest.raises(UserError, match="cuda: not available; the driver knows 0"):
        check_device("cuda")


def test_mps_is_apples_alone(machine):
    machine("Darwin", "arm64")
    check_device("mps")
    for other in (("Darwin", "x86_64"), ("Linux", "arm64")):
        machine(*other)
        with pytest.raises(UserError, match="mps: not available; it needs a Mac"):
            check_device("mps")


def test_device_that_torch_cannot_use_is_refused():
    for name in ("cuda:99", *(() if torch.backends.mps.is_available() else ("mps",))):
        with pytest.raises(UserError, match=f"device = {name}: this build of torch"):
            choose_device(name, "auto")


def test_cpu_computes_in_float32_unless_told_otherwise():
    assert choose_device("cpu", "auto") == (torch.device("cpu"), torch.float32)
    assert choose_device("cpu", "bfloat16") == (torch.device("cpu"), torch.bfloat16)


@pytest.mark.parametrize(
    ("system", "variable", "missing"),
    [
        ("Linux", None, "g++"),
        ("Darwin", None, "clang++"),
        ("Windows", None, "cl"),
        ("Linux", "ccache /opt/c++-15", "/opt/c++-15"),
    ],
)
def test_missing_compiler_is_named(machine, monkeypatch, tmp_path, system, variable, missing):
    machine(system)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if variable is not None:
        monkeypatch.setenv("CXX", variable)
    with pytest.raises(UserError, match=f"there is no {re.escape(missing)}; install it"):
        check_compiler(torch.device("cpu"))


def test_missing_triton_is_named_and_a_compiler_that_is_there_is_enough(monkeypatch, tmp_path):
    monkeypatch.setattr("sdloop.machine.device.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs triton on CUDA"):
        check_compiler(torch.device("cuda"))
    (tmp_path / "mine").touch(mode=0o700)
    monkeypatch.setenv("CXX", str(tmp_path / "mine"))
    check_compiler(torch.device("cpu"))


def test_wider_dtype_is_suggested_where_there_is_one():
    assert in_dtype(torch.float16) == "float16; try dtype=float32"
    assert in_dtype(torch.float32) == "float32"
