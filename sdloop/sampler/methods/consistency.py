"""LCM and TCD, for models that were distilled for few steps.

LCM: Luo et al. 2023, arXiv:2310.04378, eq. 9: jump to the clean end, add fresh noise.
TCD: Zheng et al. 2024, arXiv:2402.19159, algorithm 4: jump to a level s below the next one, with
s = (1 - gamma) t', and add the noise that leads back up. gamma is called eta by diffusers.
"""

from __future__ import annotations

from math import floor, sqrt

import numpy as np

from sdloop.machine.errors import UserError
from sdloop.sampler.methods.method import CLIPPED, SD_BETAS, Formula, Method
from sdloop.sampler.methods.transfer import output_transfer
from sdloop.sampler.noise_levels import NoiseLevels
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.table import Level, Row

SIGMA_DATA = 0.5


def lcm_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Jump to z0 and back to the next level, to the last frame without noise."""
    levels, times = NoiseLevels(settings), _times(settings, num_steps)
    rows = []
    for row, t in enumerate(times):
        start = levels.at(t)
        end = levels.at(times[row + 1]) if row + 1 < num_steps else Level(1.0, 0.0)
        scaled = t * settings.timestep_scaling
        skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
        a, b = end.signal * skip, end.signal * scaled / sqrt(scaled**2 + SIGMA_DATA**2)
        rows.append(Row(t, start, start, end, row, a, b, {row: 1.0}, end.noise, "z0"))
    return rows


def tcd_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Jump below the next level, and come back to it by fresh noise."""
    levels, times = NoiseLevels(settings), _times(settings, num_steps)
    rows = []
    for row, t in enumerate(times):
        following = times[row + 1] if row + 1 < num_steps else 0
        start, end = levels.at(t), levels.at(following)
        below = levels.at(floor((1 - settings.eta) * following))
        a, b = output_transfer(start, below, settings.prediction_type)
        back = end.signal / below.signal
        c = sqrt(max(1 - back**2, 0.0))
        rows.append(Row(t, start, start, end, row, back * a, back * b, {row: 1.0}, c))
    return rows


def _times(settings: SchedulerSettings, num_steps: int) -> list[int]:
    """Take num_steps of the times that the model was distilled at, evenly."""
    known = settings.original_inference_steps
    if not num_steps <= known <= settings.num_train_timesteps:
        raise UserError(
            f"scheduler.num_steps = {num_steps}: {settings.kind} takes at most "
            f"original_inference_steps = {known} of {settings.num_train_timesteps}"
        )
    taught = np.arange(known, 0, -1) * (settings.num_train_timesteps // known) - 1
    chosen = np.floor(np.linspace(0, known, num_steps, endpoint=False)).astype(np.int64)
    return taught[chosen].tolist()


DISTILLED = CLIPPED | SD_BETAS | {
    "beta_schedule": "scaled_linear",
       "original_inference_steps": 50, "set_alpha_to_one": True, "rescale_betas_zero_snr": False,
}  # fmt: skip
METHODS = (
    Method(
        "lcm", "LCMScheduler", lcm_rows, DISTILLED | {"timestep_scaling": 10.0},
        formula=Formula(
            "s' / (4 * x^2 + 1)", "2 * x * s' / sqrt(4 * x^2 + 1)", c="n'",
            letters="x = timestep_scaling * t",
        ),
        keeps="z0", order="1", calls="N", noise="always",
        source="Luo et al. 2023, arXiv:2310.04378",
    ),
    Method(
        "tcd", "TCDScheduler", tcd_rows, DISTILLED | {"eta": 0.3},
        formula=Formula(
            "s' / s", "s' * (sigma_down - sigma)", c="sqrt(1 - s'^2 * (1 + sigma_down^2))",
            letters="sigma_down is at the time (1 - eta) t'",
        ),
        keeps="output", order="1", calls="N", noise="with eta",
        source="Zheng et al. 2024, arXiv:2402.19159",
    ),
)  # fmt: skip
