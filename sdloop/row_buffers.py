"""Where the rows of a run that are replayed on a device find and leave everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        returned: (rows, 2 batch or batch, 4, h, w), the UNet's dtype: what it returned.
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
    returned: Tensor
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
            returned=torch.zeros((rows, *inputs), device=device, dtype=dtype),
            unet_input=torch.empty(
                inputs, device=device, dtype=dtype, memory_format=torch.channels_last
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
        self.feed(self.latents[0])

    def feed(self, z: Tensor) -> None:
        """Give z, (batch, 4, h, w), to the next call of the UNet, twice where it is guided."""
        self.unet_input.unflatten(0, (-1, len(z))).copy_(z)
