"""The walk of loop.py on CUDA: one row, captured once as a CUDA graph, replayed for every row.

A row's kernels read the row's number from the device, so that one graph serves all rows and the
host only starts it. What a replay reads and writes stays in one place of the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, Self

import torch
from torch import Tensor

from sdloop.sampler.buffers import RowBuffers
from sdloop.sampler.loop import Step, check_noise
from sdloop.sampler.step import Number
from sdloop.sampler.table import Table


class Capturable(Protocol):
    """A `predict` that a graph can capture."""

    @property
    def device(self) -> torch.device:
        """Return where the network is."""

    @property
    def dtype(self) -> torch.dtype:
        """Return the network's dtype."""

    @property
    def guided(self) -> bool:
        """Tell whether the network returns both halves, [uncond, cond]."""

    def input_like(self, z: Tensor) -> Tensor:
        """Make the buffer that holds the network's input for a z of this shape."""

    def feed(self, buffer: Tensor, z: Tensor) -> None:
        """Write z to that buffer."""

    def prepared(self, row: Tensor) -> AbstractContextManager[object]:
        """Let calls of `call` in a block read their row's number, int64 (1,), from the device."""

    def call(self, buffer: Tensor, row: Tensor) -> Tensor:
        """Ask the network about what is in the buffer."""

    def take_over(self, other: Self) -> bool:
        """Take what conditions another's calls, in place; False if it is shaped otherwise."""


Record = Callable[[Callable[[], None], AbstractContextManager[object], torch.device], Callable]


def record_graph(
    row: Callable[[], None], prepared: AbstractContextManager[object], device: torch.device
) -> Callable[[], None]:
    """Take a row as it is, which also warms the kernels up, and capture it as a CUDA graph.

    Args:
        row: Takes the row that the device's counter says.
        prepared: What the network is in while it is called; it may be entered again.
        device: A CUDA device.

    Returns:
        What takes one more row.
    """
    stream, graph = torch.cuda.Stream(device), torch.cuda.CUDAGraph()
    with prepared:
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            row()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph, stream=stream):
            row()
    return graph.replay


class GraphWalker:
    """loop.walk for one network on CUDA; a walk shaped like the one before replays its graph."""

    def __init__(self, record: Record = record_graph) -> None:
        """Capture nothing before the first walk.

        Args:
            record: Takes a row and returns what takes the next ones.
        """
        self._record = record
        self._captured: _Captured | None = None

    @torch.no_grad()
    def walk(
        self,
        predict: Capturable,
        table: Table,
        z: Tensor,
        guidance_scale: Number = 1.0,
        noise: Tensor | None = None,
        returned: Sequence[Tensor] = (),
        guidance_rescale: float = 0.0,
    ) -> Iterator[Step]:
        """Walk the table's rows, as loop.walk.

        Args:
            predict: Asks the network.
            table: The sampler's.
            z: As of loop.walk.
            guidance_scale: As of loop.walk.
            noise: As of loop.walk.
            returned: What the network returned in the first rows of this very walk, where that is
                known already.
            guidance_rescale: As of loop.walk.

        Yields:
            One step a row; its tensors are overwritten by the next walk.

        Raises:
            RuntimeError: Another walk has begun in the same buffers.
        """
        check_noise(table, noise)
        with _current(predict.device):
            captured, rescaled = self._captured, predict.guided and guidance_rescale > 0
            if captured is None or not captured.serves(predict, table, z, rescaled):
                self._captured = captured = None  # free the old buffers before taking new ones
                captured = self._captured = _Captured(predict, table, z, rescaled, self._record)
            captured.start(z, guidance_scale, noise, guidance_rescale)
        number = captured.start_number
        for row in range(len(table)):
            if captured.start_number != number:
                raise RuntimeError("another walk has begun in the same buffers")
            with _current(predict.device):
                captured.take(returned[row] if row < len(returned) else None)
            yield captured.step_of(row)


class _Captured:
    """The buffers of one kind of walk, and the graph of its row."""

    def __init__(
        self, predict: Capturable, table: Table, z: Tensor, rescaled: bool, record: Record
    ) -> None:
        """Take the memory; the graph is captured after the first row."""
        self._predict, self._table, self._record = predict, table, record
        self._buffers = RowBuffers.allocate(
            table, z.shape, predict.guided, rescaled, predict.device, predict.dtype
        )
        self._input = predict.input_like(z)
        self._replay: Callable[[], None] | None = None
        self.start_number = 0

    def serves(self, predict: Capturable, table: Table, z: Tensor, rescaled: bool) -> bool:
        """Take a walk over if it needs the same buffers and the same graph."""
        return (
            table.equals(self._table)
            and z.shape == self._buffers.latents.shape[1:]
            and rescaled == (self._buffers.guidance_rescale is not None)
            and self._predict.take_over(predict)
        )

    def start(
        self, z: Tensor, guidance_scale: Number, noise: Tensor | None, guidance_rescale: float
    ) -> None:
        """Go to row 0."""
        self.start_number += 1
        self._buffers.start(z, guidance_scale, noise, guidance_rescale)
        self._predict.feed(self._input, self._buffers.latents[0])

    def take(self, returned: Tensor | None) -> None:
        """Take the next row, by what the network returned where that is known."""
        if returned is not None:
            z = self._buffers.take(returned.to(self._predict.device))
            self._predict.feed(self._input, z)
        elif self._replay is not None:
            self._replay()
        else:
            prepared = self._predict.prepared(self._buffers.row)
            self._replay = self._record(self._row, prepared, self._predict.device)

    def step_of(self, row: int) -> Step:
        """Show what a row left behind."""
        buffers = self._buffers
        return Step(
            row,
            buffers.latents[row + 1],
            buffers.z0_hat[row],
            None if buffers.guidance is None else buffers.guidance[row],
            buffers.returned[row],
            None if buffers.guidance_factor is None else buffers.guidance_factor[row],
        )

    def _row(self) -> None:
        """Take the row that the device's counter says."""
        returned = self._predict.call(self._input, self._buffers.row)
        self._predict.feed(self._input, self._buffers.take(returned))


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
