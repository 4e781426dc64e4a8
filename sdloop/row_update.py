"""One row's arithmetic on buffers, with the row's number on the device: what a CUDA graph repeats.

The same sums as in loop.denoise: guidance, the table's step, z0_hat, what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from sdloop.schedule import Schedule

COEFFICIENTS = ("a", "b", "z0_from_z", "z0_from_output", "eps_from_z", "eps_from_output")


@dataclass(frozen=True)
class RowBuffers:
    """All that a row reads and writes, on one device; float32 where nothing else is said.

    Attributes:
        row: int64 (1,), the row that is next.
        table: (rows, 6 + slots), COEFFICIENTS and the weights w of the kept outputs.
        timesteps: int64 (rows,).
        base_frame: int64 (rows,).
        slot: int64 (rows,).
        guidance_scale: (1,).
        latents: (rows + 1, batch, 4, h, w).
        z0_hat: (rows, batch, 4, h, w).
        guidance: As z0_hat, or None without guidance.
        eps_uncond: As z0_hat, or None where it is not captured.
        eps_cond: Likewise.
        outputs: (slots, batch, 4, h, w), the kept outputs.
        unet_input: (2 batch or batch, 4, h, w), the UNet's dtype: z of the row that is next.
    """

    row: Tensor
    table: Tensor
    timesteps: Tensor
    base_frame: Tensor
    slot: Tensor
    guidance_scale: Tensor
    latents: Tensor
    z0_hat: Tensor
    guidance: Tensor | None
    eps_uncond: Tensor | None
    eps_cond: Tensor | None
    outputs: Tensor
    unet_input: Tensor

    @classmethod
    def allocate(
        cls,
        schedule: Schedule,
        shape: Sequence[int],
        guided: bool,
        capture: Sequence[str],
        device: torch.device,
        dtype: torch.dtype,
    ) -> RowBuffers:
        """Make the buffers of a schedule.

        Args:
            schedule: The table of the sampler.
            shape: (batch, 4, h, w), of z.
            guided: Whether the UNet's batch is [uncond, cond].
            capture: Any of "eps_uncond" and "eps_cond".
            device: Of all buffers.
            dtype: Of the UNet.

        Returns:
            The buffers; `start` fills in the first frame.
        """

        def stack(count: int) -> Tensor:
            return torch.zeros((count, *shape), device=device)

        def on_device(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(device)

        rows = len(schedule)
        columns = [getattr(schedule, name)[:, None] for name in COEFFICIENTS]
        inputs = ((2 if guided else 1) * shape[0], *shape[1:])
        return cls(
            row=torch.zeros(1, dtype=torch.int64, device=device),
            table=on_device(np.concatenate([*columns, schedule.w], axis=1)).float(),
            timesteps=on_device(schedule.timesteps),
            base_frame=on_device(schedule.base_frame),
            slot=on_device(schedule.slot),
            guidance_scale=torch.ones(1, device=device),
            latents=stack(rows + 1),
            z0_hat=stack(rows),
            guidance=stack(rows) if guided else None,
            eps_uncond=stack(rows) if "eps_uncond" in capture else None,
            eps_cond=stack(rows) if "eps_cond" in capture else None,
            outputs=stack(schedule.num_slots),
            unet_input=torch.empty(inputs, device=device, dtype=dtype).contiguous(
                memory_format=torch.channels_last
            ),
        )

    def start(self, z: Tensor, guidance_scale: float) -> None:
        """Go to row 0 of a new run.

        Args:
            z: (batch, 4, h, w), frame 0.
            guidance_scale: s in eps = uncond + s (cond - uncond).
        """
        self.row.zero_()
        self.outputs.zero_()
        self.guidance_scale.fill_(guidance_scale)
        self.latents[0] = z
        self._feed(self.latents[0])

    def _feed(self, z: Tensor) -> None:
        """Give z to the next call of the UNet, twice where it is guided."""
        self.unet_input.unflatten(0, (-1, len(z))).copy_(z)


def update_row(buffers: RowBuffers, output: Tensor) -> None:
    """Take the step that the next row says, and go on to the row after it.

    Nothing is read back to the host. On CUDA one Triton kernel does it, where Triton is there.

    Args:
        buffers: Are written to.
        output: (2 batch or batch, 4, h, w), what the UNet made of `buffers.unet_input`.
    """
    if output.is_cuda and find_spec("triton") is not None:
        from sdloop.row_kernel import update_row_in_one_kernel

        update_row_in_one_kernel(buffers, output)
    else:
        update_row_in_torch(buffers, output)
    buffers.row.add_(1)


def update_row_in_torch(buffers: RowBuffers, output: Tensor) -> None:
    """Do a row's arithmetic with torch alone; arguments as `update_row`."""

    def write(stack: Tensor | None, values: Tensor) -> None:
        if stack is not None:
            stack.index_copy_(0, buffers.row, values[None])

    coefficients = buffers.table.index_select(0, buffers.row)[0]
    a, b, z0_from_z, z0_from_output, eps_from_z, eps_from_output = coefficients[:6]
    z = buffers.latents.index_select(0, buffers.row)[0]
    halves = output.float().unflatten(0, (-1, len(z)))
    uncond, cond = halves[0], halves[-1]  # without guidance these are the same
    guided = uncond + buffers.guidance_scale * (cond - uncond)

    buffers.outputs.index_copy_(0, buffers.slot.index_select(0, buffers.row), guided[None])
    mixture = torch.tensordot(coefficients[6:], buffers.outputs, dims=1)
    base_frame = buffers.base_frame.index_select(0, buffers.row)
    z_next = a * buffers.latents.index_select(0, base_frame)[0] + b * mixture
    buffers.latents.index_copy_(0, buffers.row + 1, z_next[None])
    buffers._feed(z_next)

    write(buffers.z0_hat, z0_from_z * z + z0_from_output * guided)
    write(buffers.guidance, eps_from_output * (cond - uncond))
    write(buffers.eps_uncond, eps_from_z * z + eps_from_output * uncond)
    write(buffers.eps_cond, eps_from_z * z + eps_from_output * cond)
