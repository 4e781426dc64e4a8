"""The buffers of a walk that is replayed on a device: all that its rows read and write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdloop.sampler.answer import Captured
from sdloop.sampler.earlier import Earlier
from sdloop.sampler.slots import Slots
from sdloop.sampler.step import COEFFICIENTS, Coefficients, Number, guide, keep, predict_clean, step
from sdloop.sampler.table import Table


@dataclass(frozen=True)
class RowBuffers:
    """All that a row reads and writes, on one device; float32 unless noted.

    Attributes:
        row: int64 (1,), the next row.
        numbers: (rows, coefficients + slots), the table's COEFFICIENTS and its weights by slot.
        base: int64 (rows,), the frame that each row starts from.
        slot: int64 (rows,), the slot of what each row keeps.
        guidance_scale: (samples, 1, 1, 1).
        guidance_rescale: (1,), or None if nothing is rescaled.
        latents: (rows + 1, samples, channels, h, w).
        z0_hat: (rows, samples, channels, h, w).
        guidance: Shaped as `z0_hat`, or None without guidance.
        guidance_factor: (rows, samples), or None if nothing is rescaled.
        kept: (slots, samples, channels, h, w).
        noise: Fresh noise, shaped as `z0_hat`; None if the table adds none.
        returned: (rows, 2 samples or samples, channels, h, w), the network's dtype.
        captured: What else its calls leave behind: name -> (rows, samples, ...).
    """

    row: Tensor
    numbers: Tensor
    base: Tensor
    slot: Tensor
    guidance_scale: Tensor
    guidance_rescale: Tensor | None
    latents: Tensor
    z0_hat: Tensor
    guidance: Tensor | None
    guidance_factor: Tensor | None
    kept: Tensor
    noise: Tensor | None
    returned: Tensor
    captured: Captured

    @classmethod
    def allocate(
        cls,
        table: Table,
        shape: Sequence[int],
        guided: bool,
        rescaled: bool,
        device: torch.device,
        dtype: torch.dtype,
        captured: Captured,
    ) -> RowBuffers:
        """Make the buffers of a table.

        Args:
            table: The sampler's.
            shape: The shape of z, (samples, channels, h, w).
            guided: Whether the network returns both halves, [uncond, cond].
            rescaled: Whether the guided output is rescaled.
            device: The device of all buffers.
            dtype: The dtype of what the network returns.
            captured: What else a call leaves behind, for its shapes.

        Returns:
            The buffers; `start` fills in the first frame.
        """

        def stack(count: int) -> Tensor:
            return torch.zeros((count, *shape), device=device)

        def on_device(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(device)

        rows, slots = len(table), Slots.allocate(table)
        columns = [getattr(table, name)[:, None] for name in COEFFICIENTS]
        returned = (rows, (2 if guided else 1) * shape[0], *shape[1:])
        return cls(
            row=torch.zeros(1, dtype=torch.int64, device=device),
            numbers=on_device(np.concatenate([*columns, slots.weights], axis=1).astype(np.float32)),
            base=on_device(table.base),
            slot=on_device(slots.of_row),
            guidance_scale=torch.ones((shape[0], 1, 1, 1), device=device),
            guidance_rescale=torch.zeros(1, device=device) if rescaled else None,
            latents=stack(rows + 1),
            z0_hat=stack(rows),
            guidance=stack(rows) if guided else None,
            guidance_factor=torch.zeros((rows, shape[0]), device=device) if rescaled else None,
            kept=stack(slots.count),
            noise=stack(rows) if table.noisy else None,
            returned=torch.zeros(returned, device=device, dtype=dtype),
            captured={
                name: value.new_zeros((rows, *value.shape)) for name, value in captured.items()
            },
        )

    def start(
        self,
        z: Tensor,
        guidance_scale: Number,
        noise: Tensor | None,
        guidance_rescale: float,
        earlier: Earlier,
    ) -> None:
        """Go to the first row of a new walk.

        Args:
            z: (samples, channels, h, w), the first row's frame.
            guidance_scale: s in uncond + s (cond - uncond); a tensor (samples, 1, 1, 1) gives each
                sample its own.
            noise: Fresh noise, shaped as `self.noise`; None if the table adds none.
            guidance_rescale: phi of `guide`.
            earlier: The first row, and what those before it left.
        """
        self.row.fill_(earlier.row)
        self.kept.zero_()
        for row, value in earlier.kept.items():
            self.kept.index_copy_(0, self.slot[row : row + 1], value[None])
        if isinstance(guidance_scale, Tensor):
            self.guidance_scale.copy_(guidance_scale)
        else:
            self.guidance_scale.fill_(guidance_scale)
        if self.guidance_rescale is not None:
            self.guidance_rescale.fill_(guidance_rescale)
        for frame, held in {**earlier.frames, earlier.row: z}.items():
            self.latents[frame] = held
        if self.noise is not None and noise is not None:
            self.noise.copy_(noise)

    def take(self, returned: Tensor, captured: Captured) -> Tensor:
        """Take the step of the next row; nothing is read back to the host.

        Args:
            returned: (2 samples or samples, channels, h, w), what the network returned.
            captured: What else its call left behind, under the names of `self.captured`.

        Returns:
            (samples, channels, h, w), the next frame.
        """
        self.returned.index_copy_(0, self.row, returned[None])
        for name, value in self.captured.items():
            value.index_copy_(0, self.row, captured[name][None])
        numbers = self.numbers.index_select(0, self.row)[0].unbind()
        coefficients = Coefficients(*numbers[: len(COEFFICIENTS)])
        z = self.latents.index_select(0, self.row)[0]
        guided = guide(returned.float(), self.guidance_scale, len(z), self.guidance_rescale)
        output, push = guided.output, guided.push
        own = keep(coefficients, z, output)
        self.kept.index_copy_(0, self.slot.index_select(0, self.row), own[None])
        z_next = step(
            coefficients,
            self.latents.index_select(0, self.base.index_select(0, self.row))[0],
            numbers[len(COEFFICIENTS) :],
            self.kept.unbind(),
            None if self.noise is None else self.noise.index_select(0, self.row)[0],
        )
        self.latents.index_copy_(0, self.row + 1, z_next[None])
        self.z0_hat.index_copy_(0, self.row, predict_clean(coefficients, z, output)[None])
        if self.guidance is not None and push is not None:
            self.guidance.index_copy_(0, self.row, (coefficients.guidance_from_output * push)[None])
        if self.guidance_factor is not None and guided.factor is not None:
            self.guidance_factor.index_copy_(0, self.row, guided.factor[None])
        self.row.add_(1)
        return z_next
