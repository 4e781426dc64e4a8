"""A scheduler's settings -> the noise levels of the trained times, and the times of the steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdloop.machine.errors import UserError
from sdloop.sampler.settings import SchedulerSettings, alphas_cumprod
from sdloop.sampler.table import Level


class NoiseLevels:
    """The level of every trained time, and of the clean end that a sampler leads to."""

    def __init__(self, settings: SchedulerSettings) -> None:
        """Compute them from the settings' betas."""
        self._settings = settings
        self._alphas = alphas_cumprod(settings)
        self._final = 1.0 if settings.set_alpha_to_one else float(self._alphas[0])

    def at(self, t: int) -> Level:
        """Return the level of a trained time; a time below 0 stands for the end.

        Raises:
            UserError: The time is beyond the last trained one, or predicting eps is meaningless
                there, as the level holds no signal.
        """
        if t >= len(self._alphas):
            raise UserError(
                f"scheduler.num_steps with steps_offset = {self._settings.steps_offset}: timestep "
                f"{t} is beyond the last trained one, {len(self._alphas) - 1}; take fewer steps"
            )
        level = Level.of_alpha(self._alphas[t] if t >= 0 else self._final)
        if level.signal == 0 and self._settings.prediction_type == "epsilon":
            raise UserError(
                "model's scheduler config: rescale_betas_zero_snr = True leaves nothing but noise "
                f"at timestep {t}, where a prediction of epsilon says nothing about the picture; "
                "allowed: prediction_type v_prediction, or timestep_spacing leading"
            )
        return level


def space_timesteps(settings: SchedulerSettings, num_steps: int) -> list[int]:
    """Space the steps over the trained times (table 2 of arXiv:2305.08891).

    Args:
        settings: The scheduler's.
        num_steps: How many.

    Returns:
        The times, from noise to picture.

    Raises:
        UserError: A time, rounded, falls outside the trained ones.
    """
    trained = settings.num_train_timesteps
    ascending: NDArray[np.floating]
    if settings.timestep_spacing == "linspace":
        ascending = np.linspace(0, trained - 1, num_steps).round()
    elif settings.timestep_spacing == "trailing":
        ascending = np.arange(trained, 0, -trained / num_steps).round()[::-1] - 1
    else:
        ascending = np.arange(num_steps) * float(trained // num_steps) + settings.steps_offset
    check_spaced(settings, num_steps, ascending[::-1])
    return [int(t) for t in ascending[::-1]]


def check_spaced(settings: SchedulerSettings, num_steps: int, times: NDArray[np.floating]) -> None:
    """Refuse times outside the trained ones.

    Args:
        settings: The scheduler's.
        num_steps: How many steps were asked for.
        times: From noise to picture.

    Raises:
        UserError: The first or the last lies outside.
    """
    last = settings.num_train_timesteps - 1
    if times[0] > last:
        raise UserError(
            f"scheduler.num_steps with steps_offset = {settings.steps_offset}: timestep "
            f"{times[0]:.0f} is beyond the last trained one, {last}; take fewer steps"
        )
    if times[-1] < 0:  # the last stride, rounded, may leave room for one timestep too many
        raise UserError(
            f"scheduler.num_steps = {num_steps}: with timestep_spacing trailing diffusers goes on "
            f"to timestep {times[-1]:.0f}; take another number of steps"
        )
