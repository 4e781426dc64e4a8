"""What drove each step of the latent: the sampler's rescaling, the network, or guidance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from sdloop.sampler.table import Table


@dataclass(frozen=True)
class Drive:
    """Each step, frame row + 1 minus frame row, as a sum of three; float64 (rows, 4, h, w).

    Attributes:
        rescaling: What the sampler's factor does to the latent.
        uncond: What the unconditional output adds; with guidance_scale 1 there is none, and the
            conditional output stands here.
        guidance: What s (cond - uncond) adds; zeros with guidance_scale 1.
    """

    rescaling: Tensor
    uncond: Tensor
    guidance: Tensor

    def rms(self) -> dict[str, NDArray[np.float64]]:
        """Return each part's root mean square, (rows,)."""
        parts = vars(self).items()
        return {name: part.flatten(1).square().mean(dim=1).sqrt().numpy() for name, part in parts}

    def shares(self) -> dict[str, NDArray[np.float64]]:
        """Return how far each part went along the step, (rows,); the three sum to 1.

            share = <part, step> / <step, step>

        The share of a part that worked against the step is negative, so another's can exceed 1.
        NaN where a step is zero.
        """
        step = (self.rescaling + self.uncond + self.guidance).flatten(1)
        squares = step.square().sum(dim=1)
        squares = torch.where(squares > 0, squares, float("nan"))
        parts = vars(self).items()
        return {name: ((part.flatten(1) * step).sum(1) / squares).numpy() for name, part in parts}

    def guidance_maps(self) -> NDArray[np.float32]:
        """Return where guidance acted: its root mean square over the channels, (rows, h, w)."""
        return self.guidance.square().mean(dim=1).sqrt().float().numpy()


def split_steps(
    latents: Tensor, guidance: Tensor | None, table: Table, guidance_scale: float
) -> Drive:
    """Split each step into what rescaling, the unconditional output and guidance did.

    A row takes its base frame to z_next = a base + b sum_k w_k output_k, and each output is
    uncond + s (cond - uncond). So frame row + 1 differs from its base frame by the sum of

        rescaling = (a - 1) base
        uncond    = b sum_k w_k uncond_k
        guidance  = b sum_k w_k s (cond_k - uncond_k)

    Added up along the base frames, these say how far each of the three has moved each frame from
    frame 0; a row's part is the change of that from one frame to the next. Where the base frame
    is the row's own frame, the part is the term above. Where a row takes an earlier step again
    (PNDM), it is what the new step does minus what the old one did, so nothing counts twice. The
    split is of the network's raw outputs: epsilon, or v where the model predicts v.

    Args:
        latents: float32 (rows + 1, 4, h, w), on the CPU.
        guidance: float32 (rows, 4, h, w), eps_cond - eps_uncond; None without guidance.
        table: The table that made them.
        guidance_scale: s.

    Returns:
        The parts, which sum to the step to float64's rounding.
    """
    rescaling = _moved_by_rescaling(latents, table).diff(dim=0)
    by_guidance = _moved_by_guidance(latents, guidance, table, guidance_scale).diff(dim=0)
    return Drive(rescaling, latents.double().diff(dim=0) - rescaling - by_guidance, by_guidance)


def _moved_by_rescaling(latents: Tensor, table: Table) -> Tensor:
    """Add up how far rescaling has moved each frame from frame 0; float64, as `latents`."""
    moved = torch.zeros_like(latents, dtype=torch.float64)
    for row, base in enumerate(table.base.tolist()):
        moved[row + 1] = moved[base] + (table.a[row] - 1) * latents[base].double()
    return moved


def _moved_by_guidance(
    latents: Tensor, guidance: Tensor | None, table: Table, guidance_scale: float
) -> Tensor:
    """Add up how far guidance has moved each frame from frame 0; float64, as `latents`."""
    moved = torch.zeros_like(latents, dtype=torch.float64)
    if guidance is None:
        return moved
    in_eps = torch.from_numpy(table.eps_from_output).reshape(-1, 1, 1, 1)
    pull = guidance_scale * guidance.double() / in_eps
    mixtures = torch.tensordot(torch.from_numpy(table.w * table.q), pull, dims=1)
    for row, base in enumerate(table.base.tolist()):
        moved[row + 1] = moved[base] + table.b[row] * mixtures[row]
    return moved
