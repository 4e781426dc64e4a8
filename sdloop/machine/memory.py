"""How much memory is free, how to tell that it ran out, and what to say then."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sdloop.machine.cuda import has_full_device
from sdloop.machine.errors import OutOfMemory

# how torch, CUDA, oneDNN, the C++ library and the loader say it; their errors share no class
SIGNS = (
    "out of memory",
    "not enough memory",
    "can't allocate",
    "cannot allocate",
    "alloc_failed",
    "bad_alloc",
    "could not create a memory object",
    "failed to map segment",
    "can't start new thread",
)
# what libraries say of much else too; if little is free, of this
AMBIGUOUS_ON_HOST = ("could not create a primitive",)  # oneDNN
AMBIGUOUS_ON_CUDA = (  # cuDNN without room for its workspace or its code, late handles of both
    "unable to find an engine to execute this computation",
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
    "cudnn_status_internal_error",
)
LITTLE_BYTES = 2**28
LONGEST_REASON = 160
SHARE_OF_FREE = 0.5  # the rest is left for what comes after


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on any device."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError | OSError | ImportError):
        return False
    said = str(error).lower()
    if any(sign in said for sign in SIGNS):
        return True
    if any(words in said for words in AMBIGUOUS_ON_HOST):
        free = host_free_bytes()
        return free is not None and free < LITTLE_BYTES
    return any(words in said for words in AMBIGUOUS_ON_CUDA) and has_full_device(LITTLE_BYTES)


@contextmanager
def naming_stage(stage: str) -> Iterator[None]:
    """Turn any error that means "out of memory" in the block into one that names the stage.

    Args:
        stage: What the block does, for the message.

    Raises:
        OutOfMemory: Memory ran out in the block. Every other error passes unchanged.
    """
    try:
        yield
    except OutOfMemory:
        raise  # it already says what would fit
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
        raise OutOfMemory(f"{stage}: out of memory: {reason}") from None


def host_free_bytes() -> int | None:
    """Return how many bytes of memory this process can still take.

    Returns:
        The least of what the machine has available, what the control group leaves and what the
        limit on address space (ulimit -v) leaves; None if the system does not say (not Linux).
    """
    available = _field(Path("/proc/meminfo"), "MemAvailable:")
    if available is None:
        return None
    left = [available * 1024]
    group = Path("/sys/fs/cgroup")
    limit, used = _number(group / "memory.max"), _field(group / "memory.stat", "anon")
    if limit is not None and used is not None:
        left.append(limit - used)
    addresses = _field(Path("/proc/self/limits"), "Max address space", at=3)
    taken = _field(Path("/proc/self/status"), "VmSize:")
    if addresses is not None and taken is not None:
        left.append(addresses - taken * 1024)
    return max(0, min(left))


def host_room_bytes() -> int | None:
    """Return how many bytes this process may hold in all: what it holds now plus what is free."""
    free, held = host_free_bytes(), _field(Path("/proc/self/status"), "VmRSS:")
    return None if free is None or held is None else free + held * 1024


def size_that_fits(
    height: int, width: int, step: int, needed_bytes: Callable[[int, int], int], free: int | None
) -> str:
    """Name the largest smaller picture of about the same shape that memory allows.

    Args:
        height: Height of the picture that did not fit, in pixels.
        width: Its width, in pixels.
        step: Sides are multiples of this many pixels.
        needed_bytes: Returns the memory that a picture of (height, width) takes; called a few
            times.
        free: The free memory in bytes, of which the picture may take half; None if unknown.

    Returns:
        "640 x 640 px would fit", "no size would fit", or general advice if `free` is unknown.
    """
    if free is None:
        return "take a smaller size"
    room, short = free * SHARE_OF_FREE, min(height, width)
    rows, needed = short // step, needed_bytes(height, width)
    while rows > 1:
        # memory grows no faster than the pixels: the guess is right, or one step too large
        rows = min(rows - 1, math.floor(rows * math.sqrt(room / needed)) + 1)
        high, wide = (math.floor(side * rows / short) * step for side in (height, width))
        needed = needed_bytes(high, wide)
        if needed <= room:
            return f"{wide} x {high} px would fit"
    return "no size would fit"


def _number(path: Path) -> int | None:
    """Read a file that holds one number; None if it holds none or does not exist."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str, at: int = 1) -> int | None:
    """Read a number from the named line of a file in /proc or /sys; None if there is none."""
    try:
        lines = path.read_text().splitlines()
        return next(int(line.split()[at]) for line in lines if line.startswith(name))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
