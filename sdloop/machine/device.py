"""Which device a run uses, with which memory, and names of dtypes."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sdloop.machine.cuda import driver_devices, unused_bytes
from sdloop.machine.dtype import choose_dtype
from sdloop.machine.errors import UserError
from sdloop.machine.memory import host_free_bytes, host_room_bytes

if TYPE_CHECKING:
    import torch


def check_device(name: str) -> None:
    """Refuse a device that this machine cannot have, without importing torch.

    Args:
        name: "auto", "cpu", "mps", "cuda" or "cuda:<number>".

    Raises:
        UserError: The machine has no such device.
    """
    kind, _, number = name.partition(":")
    if kind == "mps" and (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        raise UserError("device = mps: not available; it needs a Mac with Apple silicon")
    if kind == "cuda":
        count = driver_devices()
        if int(number or 0) >= count:
            raise UserError(
                f"device = {name}: not available; the driver knows {count} CUDA devices; "
                "allowed: auto, cpu"
            )


def choose_device(
    name: str, dtype_name: str, count_weights: Callable[[], int] = int
) -> tuple[torch.device, torch.dtype]:
    """Turn the config's names into a device and a dtype.

    Args:
        name: A device's name; "auto" takes CUDA, then Apple's mps, then the CPU.
        dtype_name: A dtype's name; see `choose_dtype` for "auto".
        count_weights: Counts the model's weights, as `ModelSource.count_weights` does; without it,
            the model is taken for a small one.

    Returns:
        The device and the dtype of the networks.

    Raises:
        UserError: torch cannot use this device, or the weights cannot be counted.
    """
    device = find_device(name)
    return device, choose_dtype(device, dtype_name, count_weights)[0]


def find_device(name: str) -> torch.device:
    """Turn a device's name into the device; arguments and errors as `choose_device`."""
    import torch

    if name == "auto":
        has_mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device = {name}: this build of torch, {torch.__version__}, cannot use it")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"device = {name}: this build of torch, {torch.__version__}, cannot use it")
    return device


def check_compiler(device: torch.device) -> None:
    """Refuse to let torch.compile begin where it lacks what it translates with.

    Args:
        device: That the networks run on.

    Raises:
        UserError: Names what is missing.
    """
    if device.type == "cuda":
        if find_spec("triton") is None:
            raise UserError("compile = true: needs triton on CUDA; pip install triton")
        return
    usual = {"Darwin": "clang++", "Windows": "cl"}.get(platform.system(), "g++")
    wanted = (shlex.split(os.environ.get("CXX", "")) or [usual])[-1]
    if shutil.which(wanted) is None:
        raise UserError(
            f"compile = true: needs a C++ compiler, and there is no {wanted}; install it, name "
            "another in CXX, or say compile=false"
        )


def is_half(dtype: torch.dtype) -> bool:
    """Tell whether a dtype has half precision: two bytes, float16 or bfloat16."""
    return dtype.itemsize == 2


def name_of(dtype: torch.dtype) -> str:
    """Return a dtype's name as the config spells it, such as "float16"."""
    return str(dtype).removeprefix("torch.")


def in_dtype(dtype: torch.dtype) -> str:
    """Name a dtype whose values are not finite, and a wider one to try, if there is one."""
    return f"{name_of(dtype)}; try dtype=float32" if is_half(dtype) else name_of(dtype)


def free_bytes(device: torch.device) -> int | None:
    """Return how many bytes of a device's memory are free; None if the system does not say."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + unused_bytes(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return host_free_bytes()


def room_bytes(device: torch.device) -> int | None:
    """Return how many bytes of a device's memory this process may hold in all.

    That is what it holds now plus what is free; None if the system does not say.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return host_room_bytes()
