"""The loop of loop.py on CUDA: one row, captured once as a CUDA graph, replayed for every row.

A row's kernels read the row's number from the device, so that one graph serves all rows and the
host only starts it. What a replay reads and writes stays in one place of the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdloop.loop import Denoised, OnRow, check_embeddings
from sdloop.precompute import FixedPrompt, fix_prompt, share_halves, tabulate_times
from sdloop.row_buffers import RowBuffers
from sdloop.row_update import update_row

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

    from sdloop.schedule import Schedule


class GraphDenoiser:
    """loop.denoise for one UNet on CUDA; a run shaped like the one before replays its graph."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        """Keep the UNet; nothing is captured before the first run."""
        self._unet = unet
        self._walk: _Walk | None = None

    @torch.no_grad()
    def denoise(
        self,
        schedule: Schedule,
        z: Tensor,
        embeddings: Tensor,
        guidance_scale: float = 7.5,
        capture: Sequence[str] = (),
        on_row: OnRow | None = None,
        finished: Sequence[Tensor] = (),
    ) -> Denoised:
        """Walk the schedule's rows; arguments, result and errors as loop.denoise."""
        guided = guidance_scale != 1
        check_embeddings(embeddings, z, guided)
        with torch.cuda.device(self._unet.device):
            walk = self._walk
            if walk is None or not walk.serves(schedule, z, embeddings, guided, capture):
                self._walk = None  # its memory goes before the next one's is taken
                walk = self._walk = _Walk(self._unet, schedule, z, embeddings, guided, capture)
            return walk.run(z, embeddings, guidance_scale, on_row, finished)


class _Walk:
    """The buffers of one kind of run, and the graph of its row."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        schedule: Schedule,
        z: Tensor,
        embeddings: Tensor,
        guided: bool,
        capture: Sequence[str],
    ) -> None:
        """Take the memory; the graph is captured after the first row."""
        self._unet = unet
        self._schedule = schedule
        self._capture = tuple(capture)
        self._embeddings = embeddings.clone()
        self._buffers = RowBuffers.allocate(
            schedule, z.shape, guided, capture, unet.device, unet.dtype
        )
        self._graph: torch.cuda.CUDAGraph | None = None
        self._prompts: list[FixedPrompt] = []
        self._times: list[Tensor] = []

    def serves(
        self,
        schedule: Schedule,
        z: Tensor,
        embeddings: Tensor,
        guided: bool,
        capture: Sequence[str],
    ) -> bool:
        """Tell whether a run needs the same buffers and the same graph."""
        buffers = self._buffers
        return (
            schedule.equals(self._schedule)
            and z.shape == buffers.latents.shape[1:]
            and embeddings.shape == self._embeddings.shape
            and guided == (buffers.guidance is not None)
            and tuple(capture) == self._capture
        )

    def run(
        self,
        z: Tensor,
        embeddings: Tensor,
        guidance_scale: float,
        on_row: OnRow | None,
        finished: Sequence[Tensor] = (),
    ) -> Denoised:
        """Walk all rows; the result is a copy, as the next run writes to the same buffers."""
        self._embeddings.copy_(embeddings)
        for prompt in self._prompts:
            prompt.change(embeddings)
        self._buffers.start(z, guidance_scale)
        buffers = self._buffers
        for row in range(len(self._schedule)):
            if row < len(finished):
                update_row(buffers, finished[row].to(buffers.returned.device))
            elif self._graph is not None:
                self._graph.replay()
            else:
                self._first_row()
            if on_row is not None:
                on_row(row, buffers.returned[row])

        def copy(stack: Tensor | None) -> Tensor | None:
            return None if stack is None else stack.clone()

        return Denoised(
            latents=buffers.latents.clone(),
            z0_hat=buffers.z0_hat.clone(),
            guidance=copy(buffers.guidance),
            eps_uncond=copy(buffers.eps_uncond),
            eps_cond=copy(buffers.eps_cond),
        )

    def _first_row(self) -> None:
        """Take a row as it is, which also warms the kernels up, and capture what follows."""
        stream = torch.cuda.Stream(self._unet.device)
        graph = torch.cuda.CUDAGraph()
        with ExitStack() as undo:
            self._prepare_unet(undo)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._step()
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph, stream=stream):
                self._step()
        self._graph = graph

    def _prepare_unet(self, undo: ExitStack) -> None:
        """Compute what the graph will read: it must stay where it is for as long as the graph."""
        buffers = self._buffers
        self._prompts = fix_prompt(self._unet, self._embeddings, undo)
        self._times = tabulate_times(self._unet, buffers.timesteps, buffers.row, undo)
        if buffers.guidance is not None:
            share_halves(self._unet, undo)

    def _step(self) -> None:
        """Take the row that the device's counter says."""
        buffers = self._buffers
        output = self._unet(
            buffers.unet_input, buffers.row, encoder_hidden_states=self._embeddings
        ).sample
        update_row(buffers, output)
