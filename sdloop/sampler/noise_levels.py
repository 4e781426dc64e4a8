"""A scheduler's settings -> the noise levels of the trained times, and the times of the steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdloop.machine.errors import UserError
from sdloop.sampler.scheduler_config import SchedulerSettings, alphas_cumprod
from sdloop.sampler.table import Level


class NoiseLevels:
    """The level of every trained time, and of the clean end that a sampler leads to."""

    def __init__(self, settings: SchedulerSettings) -> None:
        """Compute them from the settings' betas."""
        self._settings = settings
        self._alphas = alphas_cumprod(settings)
        self._final = 1.0 if settings.set_alpha_to_one else float(self._alphas[0])

    def at(self, t: int) -> Level:
        """Return the level of a trained time; below 0 lies the end.

        Raises:
            UserError: The time lies beyond the last trained one.
        """
        if t >= len(self._alphas):
            raise UserError(
                f"scheduler.num_steps with steps_offset = {self._settings.steps_offset}: timestep "
                f"{t} is beyond the last trained one, {len(self._alphas) - 1}; take fewer steps"
            )
        return Level.of_alpha(self._alphas[t] if t >= 0 else self._final)


def space_timesteps(settings: SchedulerSettings, num_steps: int) -> list[int]:
    """Space the steps over the trained times (table 2 of arXiv:2305.08891).

    Args:
        settings: The scheduler's.
        num_steps: How many.

    Returns:
        The times, from noise to picture.

    Raises:
        UserError: Rounding leaves the trained times.
    """
    trained = settings.num_train_timesteps
    ascending: NDArray[np.floating]
    if settings.timestep_spacing == "linspace":
        ascending = np.linspace(0, trained - 1, num_steps).round()
    elif settings.timestep_spacing == "trailing":
        ascending = np.arange(trained, 0, -trained / num_steps).round()[::-1] - 1
    else:
        ascending = np.arange(num_steps) * float(trained // num_steps) + settings.steps_offset
    if ascending[0] < 0:  # the last stride, rounded, may leave room for one timestep too many
        raise UserError(
            f"scheduler.num_steps = {num_steps}: with timestep_spacing trailing diffusers goes on "
            f"to timestep {ascending[0]:.0f}; take another number of steps"
        )
    return [int(t) for t in ascending[::-1]]
