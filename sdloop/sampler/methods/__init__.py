"""The sampling methods, one file a family: settings -> the rows of a table."""

from __future__ import annotations

from collections.abc import Callable

from sdloop.machine.errors import UserError
from sdloop.sampler.methods.ddim import ddim_rows
from sdloop.sampler.methods.pndm import pndm_rows
from sdloop.sampler.scheduler_config import SchedulerSettings
from sdloop.sampler.table import Row, Table, tabulate

Method = Callable[[SchedulerSettings, int], list[Row]]
METHODS: dict[str, Method] = {"ddim": ddim_rows, "pndm": pndm_rows}


def make_table(settings: SchedulerSettings, num_steps: int) -> Table:
    """Compute a sampler's table for a number of steps.

    Args:
        settings: The scheduler's settings; `settings.kind` names the method.
        num_steps: The number of inference steps, as diffusers' set_timesteps takes it. PNDM makes
            num_steps + 1 rows of it, with its Runge-Kutta warm-up num_steps + 9.

    Returns:
        The table.

    Raises:
        UserError: This number of steps leaves the trained times, or is too small.
    """
    if not 1 <= num_steps <= settings.num_train_timesteps:
        raise UserError(
            f"scheduler.num_steps = {num_steps}: allowed: 1 to {settings.num_train_timesteps}"
        )
    return tabulate(METHODS[settings.kind](settings, num_steps), settings.prediction_type)


make_schedule = make_table  # as it was called when there were two samplers
