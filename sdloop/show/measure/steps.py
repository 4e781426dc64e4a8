"""Numbers of each step: noise levels, sizes, directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from sdloop.sampler.table import Table
    from sdloop.sampler.trajectory import Trajectory


@dataclass(frozen=True)
class StepMeasures:
    """The numbers of every row, counted from 0: (rows,), float64 if nothing else is said.

    Attributes:
        row: int64, the row's number.
        timestep: The trained time at which the network was called; int64 if all are whole.
        alpha_cumprod_from: Cumulative alpha where the step starts.
        alpha_cumprod_to: Cumulative alpha where it ends.
        log_snr: ln(alpha / (1 - alpha)) at `timestep`.
        z_rms: Root mean square of frame row + 1.
        step_rms: Root mean square of frame row + 1 minus frame row.
        eps_rms: Root mean square of the guided eps.
        guidance_rms: Root mean square of eps_cond - eps_uncond; NaN without guidance.
        step_cosine: Cosine of the angle to the previous row's step; NaN for row 0, and where one
            of the two is zero.
        difference_mean: Mean over the picture of the RGB difference, in 8-bit levels.
        difference_max: Its maximum.
    """

    row: NDArray[np.int64]
    timestep: NDArray[np.number]
    alpha_cumprod_from: NDArray[np.float64]
    alpha_cumprod_to: NDArray[np.float64]
    log_snr: NDArray[np.float64]
    z_rms: NDArray[np.float64]
    step_rms: NDArray[np.float64]
    eps_rms: NDArray[np.float64]
    guidance_rms: NDArray[np.float64]
    step_cosine: NDArray[np.float64]
    difference_mean: NDArray[np.float64]
    difference_max: NDArray[np.float64]


def measure_steps(trajectory: Trajectory, table: Table, differences: Tensor) -> StepMeasures:
    """Measure every row of a run.

    Args:
        trajectory: The run's latents, N rows.
        table: The table that made them.
        differences: float32 (N, H, W), those of its decoded frames, in 8-bit levels, on any device.

    Returns:
        The numbers; norms are over all elements of a frame, in float64.
    """
    frames = trajectory.latents.flatten(1).double()
    steps = frames.diff(dim=0)
    guidance_rms = np.full(len(steps), np.nan)
    if trajectory.guidance is not None:
        guidance_rms = _rms(trajectory.guidance.flatten(1).double())
    return StepMeasures(
        row=np.arange(len(steps)),
        timestep=_counted(table.timesteps),
        alpha_cumprod_from=table.signal_from**2,
        alpha_cumprod_to=table.signal_to**2,
        log_snr=2 * np.log(table.signal / table.noise),
        z_rms=_rms(frames[1:]),
        step_rms=_rms(steps),
        eps_rms=_rms(trajectory.guided_eps(table).flatten(1)),
        guidance_rms=guidance_rms,
        step_cosine=_cosines(steps),
        difference_mean=differences.mean(dim=(1, 2)).cpu().double().numpy(),
        difference_max=differences.amax(dim=(1, 2)).cpu().double().numpy(),
    )


def _counted(timesteps: NDArray[np.float64]) -> NDArray[np.number]:
    """Write times as whole numbers where they are."""
    whole = timesteps.astype(np.int64)
    return whole if (whole == timesteps).all() else timesteps


def _cosines(steps: Tensor) -> NDArray[np.float64]:
    """Return each step's cosine to the step before it, (rows,); NaN where there is no angle."""
    norms = torch.linalg.vector_norm(steps, dim=1)
    dots = (steps[1:] * steps[:-1]).sum(dim=1)
    cosines = torch.full_like(norms, float("nan"))
    cosines[1:] = dots / (norms[1:] * norms[:-1])  # 0 / 0 is NaN
    return cosines.numpy()


def _rms(values: Tensor) -> NDArray[np.float64]:
    """Return each row's root mean square."""
    return values.square().mean(dim=1).sqrt().numpy()
