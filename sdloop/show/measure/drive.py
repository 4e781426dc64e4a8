"""What drove each step of the latent: the sampler's rescaling, the network, guidance, or noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdloop.sampler.trajectory import by_row

if TYPE_CHECKING:
    from sdloop.sampler.table import Table


@dataclass(frozen=True)
class Drive:
    """Each step, frame row + 1 minus frame row, as a sum of four; float64 (rows, 4, h, w).

    Attributes:
        rescaling: What the sampler's factor does to the latent.
        uncond: What the unconditional output adds; with guidance_scale 1 there is none, and the
            conditional output stands here.
        guidance: What s (cond - uncond) adds; zeros with guidance_scale 1.
        noise: What fresh noise adds; zeros where the sampler adds none.
    """

    rescaling: Tensor
    uncond: Tensor
    guidance: Tensor
    noise: Tensor

    def rms(self) -> dict[str, NDArray[np.float64]]:
        """Return each part's root mean square, (rows,)."""
        parts = vars(self).items()
        return {name: part.flatten(1).square().mean(dim=1).sqrt().numpy() for name, part in parts}

    def shares(self) -> dict[str, NDArray[np.float64]]:
        """Return how far each part went along the step, (rows,); the four sum to 1.

            share = <part, step> / <step, step>

        The share of a part that worked against the step is negative, so another's can exceed 1.
        NaN where a step is zero.
        """
        step = (self.rescaling + self.uncond + self.guidance + self.noise).flatten(1)
        squares = step.square().sum(dim=1)
        squares = torch.where(squares > 0, squares, float("nan"))
        parts = vars(self).items()
        return {name: ((part.flatten(1) * step).sum(1) / squares).numpy() for name, part in parts}

    def guidance_maps(self) -> NDArray[np.float32]:
        """Return where guidance acted: its root mean square over the channels, (rows, h, w)."""
        return self.guidance.square().mean(dim=1).sqrt().float().numpy()


def split_steps(
    latents: Tensor,
    guidance: Tensor | None,
    table: Table,
    guidance_scale: float | Tensor,
    noise: Tensor | None = None,
    guidance_factor: Tensor | None = None,
) -> Drive:
    """Split each step into what rescaling, the unconditional output, guidance and noise did.

    A row takes its base frame to z_next = a base + b sum_k w_k kept_k + c noise, with
    kept_k = p_k z_k + q_k output_k, and each output is f (uncond + s (cond - uncond)), where f is 1
    unless the guided output is rescaled. So frame row + 1 differs from its base frame by the sum of

        rescaling = (a - 1) base + b sum_k w_k p_k z_k
        uncond    = b sum_k w_k q_k f_k uncond_k
        guidance  = b sum_k w_k q_k f_k s (cond_k - uncond_k)
        noise     = c noise

    Added up along the base frames, these say how far each of the four has moved each frame from
    frame 0; a row's part is the change of that from one frame to the next. Where the base frame
    is the row's own frame, the part is the term above. Where a row takes an earlier step again
    (PNDM, Heun), it is what the new step does minus what the old one did, so nothing counts twice.
    The split is of the network's raw outputs: epsilon, or v where the model predicts v.

    Args:
        latents: float32 (rows + 1, 4, h, w), on the CPU.
        guidance: float32 (rows, 4, h, w), eps_cond - eps_uncond; None without guidance.
        table: The table that made them.
        guidance_scale: s; (rows, 1, 1, 1) if rows differ.
        noise: float32 (rows, 4, h, w), the fresh noise; None where the table adds none.
        guidance_factor: float32 (rows,), f; None where nothing is rescaled.

    Returns:
        The parts, which sum to the step to float64's rounding.
    """
    frames = latents.double()
    rescaled = by_row(table.a - 1) * frames[torch.from_numpy(table.base)]
    rescaled += by_row(table.b) * _mixed(table.w * table.p, frames[:-1])
    guided, added = torch.zeros_like(rescaled), torch.zeros_like(rescaled)
    if guidance is not None:
        pull = guidance_scale * guidance.double() / by_row(table.guidance_from_output)
        if guidance_factor is not None:
            pull *= guidance_factor.double().reshape(-1, 1, 1, 1)
        guided = by_row(table.b) * _mixed(table.w * table.q, pull)
    if noise is not None:
        added = by_row(table.c) * noise.double()
    rescaling, by_guidance, by_noise = (_moved(part, table) for part in (rescaled, guided, added))
    by_uncond = frames.diff(dim=0) - rescaling - by_guidance - by_noise
    return Drive(rescaling, by_uncond, by_guidance, by_noise)


def _mixed(weights: NDArray[np.float64], kept: Tensor) -> Tensor:
    """Mix what rows have kept, for each row."""
    return torch.tensordot(torch.from_numpy(weights), kept, dims=1)


def _moved(parts: Tensor, table: Table) -> Tensor:
    """Add a part up along the base frames from frame 0, and return each row's change of it."""
    moved = [torch.zeros_like(parts[0])]
    for row, base in enumerate(table.base.tolist()):
        moved.append(moved[base] + parts[row])
    return torch.stack(moved).diff(dim=0)
