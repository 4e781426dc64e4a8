"""Per-step numbers of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sdloop.difference import DifferenceMaps
    from sdloop.schedule import Schedule
    from sdloop.trajectory import Trajectory


@dataclass(frozen=True)
class StepMeasures:
    """The numbers of every row; arrays of shape (rows,), float64 but for the first two.

    Attributes:
        row: int64, the row's number.
        timestep: int64, the trained time that the network was asked about.
        alpha_cumprod_from: Cumulative alpha where the step starts.
        alpha_cumprod_to: Cumulative alpha where it ends.
        log_snr: ln(alpha / (1 - alpha)) at `timestep`.
        z_rms: Root mean square of frame row + 1.
        step_rms: Of frame row + 1 less frame row.
        eps_rms: Of the guided eps.
        guidance_rms: Of eps_cond - eps_uncond; NaN without guidance.
        step_cosine: Cosine of the angle to the previous row's step; NaN for row 0, and where a
            step is nothing.
        difference_mean: Mean over the picture of the RGB difference, in 8-bit levels.
        difference_max: Its maximum.
    """

    row: NDArray[np.int64]
    timestep: NDArray[np.int64]
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


def measure_steps(trajectory: Trajectory, schedule: Schedule, maps: DifferenceMaps) -> StepMeasures:
    """Measure every row of a run.

    Args:
        trajectory: The run's latents, N rows.
        schedule: The table that made them.
        maps: The N differences of its decoded frames.

    Returns:
        The numbers; norms are over all elements of a frame, computed in float64.
    """
    frames = trajectory.latents.flatten(1).double().numpy()
    steps = np.diff(frames, axis=0)
    norms = np.linalg.norm(steps, axis=1)
    dots = (steps[1:] * steps[:-1]).sum(axis=1)
    products = norms[1:] * norms[:-1]
    cosine = np.full(len(steps), np.nan)
    np.divide(dots, products, out=cosine[1:], where=products > 0)
    alpha = schedule.alphas_cumprod
    return StepMeasures(
        row=np.arange(len(steps)),
        timestep=schedule.timesteps,
        alpha_cumprod_from=schedule.alphas_cumprod_from,
        alpha_cumprod_to=schedule.alphas_cumprod_to,
        log_snr=np.log(alpha / (1 - alpha)),
        z_rms=np.sqrt((frames[1:] ** 2).mean(axis=1)),
        step_rms=np.sqrt((steps**2).mean(axis=1)),
        eps_rms=trajectory.eps_rms.double().numpy(),
        guidance_rms=trajectory.guidance_rms.double().numpy(),
        step_cosine=cosine,
        difference_mean=maps.values.mean(axis=(1, 2), dtype=np.float64),
        difference_max=maps.values.max(axis=(1, 2)).astype(np.float64),
    )
