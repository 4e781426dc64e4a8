"""Times of named stages, with the device's work done before each is read."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Adds up the seconds of each stage of one job.

    Attributes:
        seconds: By stage, in the order in which they first began.
    """

    def __init__(self, device: torch.device) -> None:
        """Start with no stage.

        Args:
            device: Whose work counts.
        """
        self.seconds: dict[str, float] = {}
        self._device = device

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block; a stage inside another one is taken off that one's time."""
        inner_before = sum(self.seconds.values())
        start = now(self._device)
        yield
        inner = sum(self.seconds.values()) - inner_before
        self.seconds[name] = self.seconds.get(name, 0.0) + now(self._device) - start - inner


def now(device: torch.device) -> float:
    """Read the clock once the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
