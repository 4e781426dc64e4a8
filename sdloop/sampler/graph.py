"""The walk of loop.py on CUDA: one row, captured once as a CUDA graph, replayed for every row.

A row's kernels read the row's number from the device, so that one graph serves all rows and the
host only launches it. All that a replay reads and writes stays at a fixed place in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, Self

import torch
from torch import Tensor

from sdloop.sampler.answer import Answer, Captured
from sdloop.sampler.buffers import RowBuffers
from sdloop.sampler.earlier import NOTHING_EARLIER, Earlier
from sdloop.sampler.loop import Step, check_noise
from sdloop.sampler.step import Number
from sdloop.sampler.table import Table


class Capturable(Protocol):
    """A `predict` that a graph can capture."""

    @property
    def device(self) -> torch.device:
        """Return the network's device."""

    @property
    def dtype(self) -> torch.dtype:
        """Return the network's dtype."""

    @property
    def guided(self) -> bool:
        """Tell whether the network returns both halves, [uncond, cond]."""

    def input_like(self, z: Tensor) -> Tensor:
        """Make the buffer that holds the network's input for a z of this shape."""

    def captured_like(self, z: Tensor) -> Captured:
        """Make what `call` leaves behind for a z of this shape; it is always written there."""

    def feed(self, buffer: Tensor, z: Tensor) -> None:
        """Write z to that buffer."""

    def prepared(self, row: Tensor) -> AbstractContextManager[object]:
        """Let `call`, within the block, read its row's number, int64 (1,), from the device."""

    def call(self, buffer: Tensor, row: Tensor) -> Tensor:
        """Call the network on the buffer."""

    def take_over(self, other: Self) -> bool:
        """Copy another's conditioning in place; return False if its shape differs."""


Record = Callable[[Callable[[], None], AbstractContextManager[object], torch.device], Callable]


class GraphRecorder:
    """Captures rows as CUDA graphs, all in one stream.

    cuBLAS keeps a workspace for every stream that it was ever used in.
    """

    def __init__(self) -> None:
        """Ask nothing of a device yet."""
        self._stream: torch.cuda.Stream | None = None

    def __call__(
        self,
        row: Callable[[], None],
        prepared: AbstractContextManager[object],
        device: torch.device,
    ) -> Callable[[], None]:
        """Run a row once, which also warms up the kernels, and capture it as a CUDA graph.

        Args:
            row: Takes the row that the device's counter names.
            prepared: Entered around the network's calls; it may be entered again.
            device: A CUDA device, the current one; always the same.

        Returns:
            A function that takes one more row.
        """
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
        stream, graph = self._stream, torch.cuda.CUDAGraph()
        around = torch.cuda.current_stream()
        stream.wait_stream(around)
        # torch.cuda.graph leaves the stream too, but not if the capture fails
        with prepared, torch.cuda.stream(stream):
            row()
            around.wait_stream(stream)
            # other threads may go on using the device: they do not touch what is captured
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                row()
        return graph.replay


class GraphWalker:
    """loop.walk for one network on CUDA; a walk shaped like the previous one reuses its graph."""

    def __init__(self, record: Record | None = None) -> None:
        """Capture nothing before the first walk.

        Args:
            record: Runs a row and returns a function that takes the next ones; by default a
                GraphRecorder.
        """
        self._record: Record = record or GraphRecorder()
        self._captured: _Captured | None = None

    @torch.no_grad()
    def walk(
        self,
        predict: Capturable,
        table: Table,
        z: Tensor,
        guidance_scale: Number = 1.0,
        noise: Tensor | None = None,
        known: Sequence[Answer] = (),
        guidance_rescale: float = 0.0,
        earlier: Earlier = NOTHING_EARLIER,
    ) -> Iterator[Step]:
        """Walk the table's rows, as loop.walk.

        Args:
            predict: Calls the network.
            table: The sampler's.
            z: As in loop.walk.
            guidance_scale: As in loop.walk.
            noise: As in loop.walk.
            known: What the network gave in the first rows of this very walk.
            guidance_rescale: As in loop.walk.
            earlier: As in loop.walk.

        Yields:
            One step per row, from the first one on; the next walk overwrites its tensors.

        Raises:
            RuntimeError: Another walk has begun in the same buffers.
        """
        check_noise(table, noise)
        with _current(predict.device):
            captured, rescaled = self._captured, predict.guided and guidance_rescale > 0
            if captured is None or not captured.serves(predict, table, z, rescaled):
                self._captured = captured = None  # free the old buffers before taking new ones
                captured = self._captured = _Captured(predict, table, z, rescaled, self._record)
            captured.buffers.start(z, guidance_scale, noise, guidance_rescale, earlier)
            captured.begin(earlier.row)
        number, first = captured.start_number, earlier.row
        for row in range(first, len(table)):
            if captured.start_number != number:
                raise RuntimeError("another walk has begun in the same buffers")
            with _current(predict.device):
                captured.take(known[row - first] if row - first < len(known) else None)
            yield captured.step_of(row)


class _Captured:
    """The buffers of one kind of walk, and the graph of its row."""

    def __init__(
        self, predict: Capturable, table: Table, z: Tensor, rescaled: bool, record: Record
    ) -> None:
        """Allocate the buffers; the first row captures the graph."""
        self._predict, self._table, self._record = predict, table, record
        self._left = predict.captured_like(z)
        self.buffers = RowBuffers.allocate(
            table, z.shape, predict.guided, rescaled, predict.device, predict.dtype, self._left
        )
        self._input = predict.input_like(z)
        self._replay: Callable[[], None] | None = None
        self.start_number = 0

    def serves(self, predict: Capturable, table: Table, z: Tensor, rescaled: bool) -> bool:
        """Take on a walk if it needs the same buffers and graph; return whether it does."""
        return (
            table.equals(self._table)
            and z.shape == self.buffers.latents.shape[1:]
            and rescaled == (self.buffers.guidance_rescale is not None)
            and self._predict.take_over(predict)
        )

    def begin(self, row: int) -> None:
        """Feed the frame of the first row, which the buffers hold."""
        self.start_number += 1
        self._predict.feed(self._input, self.buffers.latents[row])

    def take(self, known: Answer | None) -> None:
        """Take the next row, with what the network gave if that is known."""
        if known is not None:
            device = self._predict.device
            left = {name: value.to(device) for name, value in known.captured.items()}
            z = self.buffers.take(known.returned.to(device), left)
            self._predict.feed(self._input, z)
        elif self._replay is not None:
            self._replay()
        else:
            prepared = self._predict.prepared(self.buffers.row)
            self._replay = self._record(self._row, prepared, self._predict.device)

    def step_of(self, row: int) -> Step:
        """Return a row's results, as views of the buffers."""
        buffers = self.buffers
        return Step(
            row,
            buffers.latents[row + 1],
            buffers.z0_hat[row],
            None if buffers.guidance is None else buffers.guidance[row],
            buffers.returned[row],
            None if buffers.guidance_factor is None else buffers.guidance_factor[row],
            {name: value[row] for name, value in buffers.captured.items()},
        )

    def _row(self) -> None:
        """Take the row that the device's counter names."""
        returned = self._predict.call(self._input, self.buffers.row)
        self._predict.feed(self._input, self.buffers.take(returned, self._left))


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
