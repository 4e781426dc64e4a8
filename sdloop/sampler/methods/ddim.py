"""DDIM: Song et al. 2021, arXiv:2010.02502, eq. 12; eta is eq. 16's share of fresh noise."""

from __future__ import annotations

from math import sqrt

from sdloop.sampler.methods.method import CLIPPED, Formula, Method
from sdloop.sampler.methods.transfer import output_transfer
from sdloop.sampler.noise_levels import NoiseLevels, space_timesteps
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.table import Level, Row


def ddim_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Take each step by the newest output alone."""
    levels = NoiseLevels(settings)
    stride = settings.num_train_timesteps // num_steps
    rows = []
    for row, t in enumerate(space_timesteps(settings, num_steps)):
        start, end = levels.at(t), levels.at(t - stride)
        c, kept = 0.0, end
        if settings.eta:
            c = settings.eta * fresh_share(start, end)
            kept = Level(end.signal, sqrt(max(end.noise**2 - c**2, 0.0)))
        a, b = output_transfer(start, kept, settings.prediction_type)
        rows.append(Row(t, start, start, end, row, a, b, {row: 1.0}, c))
    return rows


def fresh_share(start: Level, end: Level) -> float:
    """Return the standard deviation of the noise that DDPM adds (eq. 16 with eta 1)."""
    step_beta = max(1 - (start.signal / end.signal) ** 2, 0.0)
    return end.noise / start.noise * sqrt(step_beta)


METHODS = (
    Method(
        "ddim", "DDIMScheduler", ddim_rows,
        CLIPPED | {
            "timestep_spacing": "leading", "steps_offset": 0, "set_alpha_to_one": True,
            "rescale_betas_zero_snr": False, "eta": 0.0,
        },
        formula=Formula(
            "s' / s", "sqrt(n'^2 - c^2) - n * s' / s", c="eta * n' / n * sqrt(1 - (s / s')^2)"
        ),
        keeps="output", order="1", calls="N", noise="with eta", own={"clip_sample": True},
        source="Song et al. 2021, arXiv:2010.02502",
    ),
)  # fmt: skip
