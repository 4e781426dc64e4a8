"""What a walk asks the network, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

Captured = Mapping[str, Tensor]
"""What a call of the network leaves behind beside its output: name -> (samples, ...).

The walk carries it along, and does not look inside.
"""


class Answer(NamedTuple):
    """What a call of the network gives.

    Attributes:
        returned: Float (samples, ...), or (2 samples, ...), uncond first.
        captured: What else it leaves behind; later calls leave these tensors alone.
    """

    returned: Tensor
    captured: Captured = MappingProxyType({})


Predict = Callable[[Tensor, int], Tensor | Answer]
"""(z, row) -> an answer, or only what is returned.

z is float32 (samples, channels, h, w); the network is called at the row's timestep.
"""


class Replay:
    """A `predict` that knows what the network gave in the first rows of this very walk."""

    def __init__(
        self,
        predict: Predict,
        known: Sequence[Answer],
        device: torch.device,
        first_row: int = 0,
    ) -> None:
        """Keep what is known.

        Args:
            predict: Called for all other rows.
            known: What the network gave in the walk's first rows, on any device.
            device: The device of what `predict` returns.
            first_row: The row that the walk starts with.
        """
        self._predict, self._known, self._device = predict, known, device
        self._first_row = first_row

    def __call__(self, z: Tensor, row: int) -> Tensor | Answer:
        """Return what is known for a row, or call `predict`."""
        if row - self._first_row < len(self._known):
            returned, captured = self._known[row - self._first_row]
            moved = {name: value.to(self._device) for name, value in captured.items()}
            return Answer(returned.to(self._device), moved)
        return self._predict(z, row)
