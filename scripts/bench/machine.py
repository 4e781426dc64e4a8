"""Where and when a benchmark ran."""

import datetime
import platform
from pathlib import Path
from typing import Any

import torch

from sdloop.machine.cuda import library_versions


def facts() -> dict[str, Any]:
    """Return the date, the device's name, the cores in use and torch's version."""
    on_cuda = torch.cuda.is_available()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if on_cuda else _processor(),
        "cpu_cores": torch.get_num_threads(),
        "torch": torch.__version__,
        **(library_versions() if on_cuda else {}),
    }


def _processor() -> str:
    """Name the processor; only Linux tells in this way, others by themselves."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
