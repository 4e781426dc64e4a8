"""What NVIDIA's driver says without torch, and what torch's CUDA allocator holds unused."""

from __future__ import annotations

import ctypes
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VERSION_BYTES = 80  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE
COMMON_POOL = (0, 0)  # the id of the memory that any tensor may get; a graph's own has another


def driver_devices() -> int:
    """Ask the CUDA driver how many devices there are; 0 without a driver."""
    driver = _library("libcuda.so.1", "nvcuda.dll")
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def driver_version() -> str | None:
    """Ask NVIDIA's management library for the driver's version, as "580.65.06"; None without."""
    library = _library("libnvidia-ml.so.1", "nvml.dll")
    if library is None or library.nvmlInit_v2():
        return None
    version = ctypes.create_string_buffer(VERSION_BYTES)
    failed = library.nvmlSystemGetDriverVersion(version, VERSION_BYTES)
    library.nvmlShutdown()
    return None if failed else version.value.decode()


def library_versions() -> dict[str, str]:
    """Return the versions of CUDA, cuDNN and the driver, by name, as far as they are known."""
    import torch

    found = {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": driver_version(),
    }
    return {name: str(version) for name, version in found.items() if version is not None}


def unused_bytes(device: torch.device) -> int:
    """Count what torch holds of a CUDA device's memory and would give to any tensor.

    What a captured graph keeps for its replays is not counted.

    Args:
        device: A CUDA device; without a number, the current one.
    """
    import torch

    number = torch.cuda.current_device() if device.index is None else device.index
    return sum(
        segment["total_size"] - segment["active_size"]
        for segment in torch.cuda.memory_snapshot()
        if segment["device"] == number and tuple(segment["segment_pool_id"]) == COMMON_POOL
    )


def has_full_device(little_bytes: int) -> bool:
    """Tell whether less is free on a CUDA device that this process has tensors on.

    What torch holds unused does not count as free: the libraries beside it cannot have it.
    """
    import torch

    try:
        return any(
            torch.cuda.memory_reserved(number) > 0
            and torch.cuda.mem_get_info(number)[0] < little_bytes
            for number in range(torch.cuda.device_count())
        )
    except RuntimeError:  # a device that failed answers nothing any more
        return False


def _library(linux: str, windows: str) -> ctypes.CDLL | None:
    """Load one of the driver's libraries; None without a driver."""
    try:
        return ctypes.CDLL(windows if platform.system() == "Windows" else linux)
    except OSError:
        return None
