"""DDPM: Ho et al. 2020, arXiv:2006.11239, eq. 7: the mean of the posterior, and its noise."""

from __future__ import annotations

from math import sqrt

from sdloop.sampler.methods.ddim import fresh_share
from sdloop.sampler.methods.method import CLIPPED, Formula, Method
from sdloop.sampler.noise_levels import NoiseLevels, space_timesteps
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.table import Row

LEAST_VARIANCE = 1e-20  # diffusers', under a step that adds nothing


def ddpm_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Draw each frame around the mean between the frame and its z0."""
    levels = NoiseLevels(settings)
    times = space_timesteps(settings, num_steps)
    rows = []
    for row, (t, following) in enumerate(zip(times, [*times[1:], -1], strict=True)):
        start, end = levels.at(t), levels.at(following)
        step_alpha = (start.signal / end.signal) ** 2
        a = sqrt(step_alpha) * end.noise**2 / start.noise**2
        b = end.signal * (1 - step_alpha) / start.noise**2
        c = max(fresh_share(start, end), sqrt(LEAST_VARIANCE))
        if settings.variance_type == "fixed_large":
            c = sqrt(1 - step_alpha)
        c = c if t > 0 else 0.0
        rows.append(Row(t, start, start, end, row, a, b, {row: 1.0}, c, "z0"))
    return rows


METHODS = (
    Method(
        "ddpm", "DDPMScheduler", ddpm_rows,
        CLIPPED | {
            "timestep_spacing": "leading", "steps_offset": 0, "rescale_betas_zero_snr": False,
            "variance_type": "fixed_small",
        },
        formula=Formula(
            "s / s' * (n' / n)^2", "s' * (1 - (s / s')^2) / n^2", c="n' / n * sqrt(1 - (s / s')^2)"
        ),
        keeps="z0", order="1", calls="N", noise="always", own={"clip_sample": True},
        source="Ho et al. 2020, arXiv:2006.11239",
    ),
)  # fmt: skip
