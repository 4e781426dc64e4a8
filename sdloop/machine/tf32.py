"""Float32 at its full precision on CUDA, where torch convolves it with 11 bits by default."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FULL, SHORT = "ieee", "tf32"


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Keep TF32 out of a block: float32 values are multiplied with all of their 24 bits.

    The setting is the process's. Blocks may be nested and may overlap in threads: the first to
    begin turns TF32 off, the last to end gives back what the first one found.

    Args:
        device: Where the block computes; on others than CUDA nothing happens.
    """
    if device.type != "cuda":
        yield
        return
    _SETTING.turn_off()
    try:
        yield
    finally:
        _SETTING.give_back()


class _Setting:
    """torch's settings of TF32, held off while anyone needs them to be."""

    def __init__(self) -> None:
        """Leave everything as it is."""
        self._lock = threading.Lock()
        self._holders = 0
        self._undo: list[Callable[[], None]] = []

    def turn_off(self) -> None:
        """Turn TF32 off, unless it is off."""
        with self._lock:
            if self._holders == 0:
                self._undo = [*_turn_off_convolutions(), *_turn_off_products()]
            self._holders += 1

    def give_back(self) -> None:
        """Undo what was turned off, once nobody needs it any more."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                for undo in self._undo:
                    undo()


_SETTING = _Setting()  # one, as torch's own are


def _turn_off_convolutions() -> list[Callable[[], None]]:
    """Turn TF32 off for convolutions; return what turns it on again."""
    import torch

    cudnn: Any = torch.backends.cudnn  # which has more than its stub says
    if cudnn.conv.fp32_precision != SHORT:
        return []
    try:
        cudnn.allow_tf32  # noqa: B018 - raises where the old and the new way were mixed
    except RuntimeError:
        cudnn.conv.fp32_precision = FULL
        return [lambda: setattr(cudnn.conv, "fp32_precision", SHORT)]
    # both ways must say the same, as torch.compile asks the old one
    cudnn.allow_tf32 = False
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = FULL
    return [lambda: setattr(cudnn, "allow_tf32", True)]


def _turn_off_products() -> list[Callable[[], None]]:
    """Turn TF32 off for matrix products; return what turns it on again."""
    import torch

    backends: Any = torch.backends
    cuda, cpu = backends.cuda.matmul, backends.mkldnn.matmul
    if cuda.fp32_precision != SHORT:
        return []
    try:
        name = torch.get_float32_matmul_precision()
    except RuntimeError:  # the old and the new way were mixed
        cuda.fp32_precision = FULL
        return [lambda: setattr(cuda, "fp32_precision", SHORT)]
    of_cpu = cpu.fp32_precision  # the old way sets the CPU's too
    torch.set_float32_matmul_precision("highest")
    return [
        lambda: torch.set_float32_matmul_precision(name),
        lambda: setattr(cpu, "fp32_precision", of_cpu),
    ]
