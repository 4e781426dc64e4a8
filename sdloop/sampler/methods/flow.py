"""Euler for flows: Lipman et al. 2023, arXiv:2210.02747; shifted: Esser et al. 2024,
arXiv:2403.03206, eq. 23.

z = (1 - sigma) z0 + sigma eps moves along the output, eps - z0: z' = z + (sigma' - sigma) output.
"""

from __future__ import annotations

import numpy as np

from sdloop.machine.errors import UserError
from sdloop.sampler.methods.method import SPREAD_OPTIONS, Formula, Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.sigmas import SPREADS
from sdloop.sampler.table import Floats, Level, Row


def flow_euler_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Follow each output straight on; or jump to z0 and take fresh noise for the next level."""
    sigmas = _sigmas(settings, num_steps)
    rows = []
    for row, (sigma, to) in enumerate(zip(sigmas, [*sigmas[1:], 0.0], strict=True)):
        start, end = Level.of_flow(sigma), Level.of_flow(to)
        t = sigma * settings.num_train_timesteps
        if settings.stochastic_sampling:
            rows.append(Row(t, start, start, end, row, 0.0, 1 - to, {row: 1.0}, to, "z0"))
        else:
            rows.append(Row(t, start, start, end, row, 1.0, to - sigma, {row: 1.0}))
    return rows


def _sigmas(settings: SchedulerSettings, num_steps: int) -> list[float]:
    """Spread sigmas evenly between the shifted ends, and shift them, as diffusers does."""

    def shifted(sigma: Floats | float) -> Floats:
        return np.asarray(settings.shift * sigma / (1 + (settings.shift - 1) * sigma))

    least = float(shifted(1 / settings.num_train_timesteps))
    sigmas = shifted(np.linspace(1, least, num_steps))
    if settings.shift_terminal and num_steps == 1:
        raise UserError("scheduler.num_steps = 1: shift_terminal needs 2 or more")
    if settings.shift_terminal:
        sigmas = 1 - (1 - sigmas) * (1 - settings.shift_terminal) / (1 - sigmas[-1])
    if settings.sigmas != "trained":
        sigmas = SPREADS[settings.sigmas](float(sigmas[0]), float(sigmas[-1]), num_steps)
    return sigmas.tolist()


METHODS = (
    Method(
        "flow_euler", "FlowMatchEulerDiscreteScheduler", flow_euler_rows,
        SPREAD_OPTIONS | {
            "shift": 1.0, "use_dynamic_shifting": False, "shift_terminal": None,
            "invert_sigmas": False, "stochastic_sampling": False,
        },
        formula=Formula("1", "n' - n"),
        keeps="output", order="1", calls="N", noise="with stochastic_sampling",
        source="Lipman et al. 2023, arXiv:2210.02747",
        predictions=("flow_prediction",), fixed={"prediction_type": "flow_prediction"},
        aliases=("flow_match_euler",),
    ),
)  # fmt: skip
