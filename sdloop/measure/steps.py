"""Per-step numbers of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sdloop.difference import library_of, to_numpy

if TYPE_CHECKING:
    from sdloop.difference import DifferenceMaps
    from sdloop.sampler.table import Table
    from sdloop.sampler.trajectory import Trajectory


@dataclass(frozen=True)
class StepMeasures:
    """The numbers of every row; arrays of shape (rows,), float64 but for the first two.

    Attributes:
        row: int64, the row's number.
        timestep: The trained time that the network was asked about; int64 where all are whole.
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


def measure_steps(trajectory: Trajectory, table: Table, maps: DifferenceMaps) -> StepMeasures:
    """Measure every row of a run.

    Args:
        trajectory: The run's latents, N rows.
        table: The table that made them.
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
    xp = library_of(maps.values)
    guidance_rms = np.full(len(steps), np.nan)
    if trajectory.guidance is not None:
        guidance_rms = _rms(trajectory.guidance.flatten(1).double().numpy())
    return StepMeasures(
        row=np.arange(len(steps)),
        timestep=_counted(table.timesteps),
        alpha_cumprod_from=table.signal_from**2,
        alpha_cumprod_to=table.signal_to**2,
        log_snr=2 * np.log(table.signal / table.noise),
        z_rms=_rms(frames[1:]),
        step_rms=_rms(steps),
        eps_rms=_rms(_guided_eps(frames[:-1], trajectory, table)),
        guidance_rms=guidance_rms,
        step_cosine=cosine,
        difference_mean=to_numpy(xp.mean(maps.values, (1, 2))).astype(np.float64),
        difference_max=to_numpy(xp.amax(maps.values, (1, 2))).astype(np.float64),
    )


def _guided_eps(
    z: NDArray[np.float64], trajectory: Trajectory, table: Table
) -> NDArray[np.float64]:
    """Recover the guided eps of every row, (rows, elements), from z and z0_hat."""
    z0_hat = trajectory.z0_hat.flatten(1).double().numpy()
    output = (z0_hat - table.z0_from_z[:, None] * z) / table.z0_from_output[:, None]
    return table.eps_from_z[:, None] * z + table.eps_from_output[:, None] * output


def _counted(timesteps: NDArray[np.float64]) -> NDArray[np.number]:
    """Write times as whole numbers where they are."""
    whole = timesteps.astype(np.int64)
    return whole if (whole == timesteps).all() else timesteps


def _rms(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean square of each row."""
    return np.sqrt((values**2).mean(axis=1))
