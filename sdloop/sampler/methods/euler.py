"""Euler and Euler ancestral: Karras et al. 2022, arXiv:2206.00364, algorithm 2 without churn.

In sigma's space x = z / signal a step follows dx/dsigma = eps: x' = x + (sigma' - sigma) eps. The
ancestral one goes further down, to sigma_down, and adds noise of sigma_up (k-diffusion's
sample_euler_ancestral): sigma_down^2 + sigma_up^2 = sigma'^2.
"""

from __future__ import annotations

from math import sqrt

from sdloop.sampler.methods.method import SPACED, SPREAD_OPTIONS, Formula, Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.sigmas import ode_sigmas
from sdloop.sampler.table import Level, Row

KARRAS = "Karras et al. 2022, arXiv:2206.00364"
ODE_OPTIONS = SPACED | SPREAD_OPTIONS
EULER = Formula("s' / s", "s' * (sigma' - sigma)")


def euler_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Follow each eps straight to the next sigma."""
    return _rows(settings, num_steps, ancestral=False)


def euler_ancestral_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Follow each eps below the next sigma, and come back to it by fresh noise."""
    return _rows(settings, num_steps, ancestral=True)


def _rows(settings: SchedulerSettings, num_steps: int, ancestral: bool) -> list[Row]:
    """Take one row a step."""
    times, sigmas = ode_sigmas(settings, num_steps)
    rows = []
    for row, (t, sigma, to) in enumerate(zip(times, sigmas[:-1], sigmas[1:], strict=True)):
        start, end = Level.of_sigma(sigma), Level.of_sigma(to)
        up = to * sqrt(max(sigma**2 - to**2, 0.0)) / sigma if ancestral else 0.0
        b = end.signal * (sqrt(to**2 - up**2) - sigma)
        a = end.signal / start.signal
        rows.append(Row(t, start, start, end, row, a, b, {row: 1.0}, end.signal * up, "eps"))
    return rows


METHODS = (
    Method(
        "euler", "EulerDiscreteScheduler", euler_rows,
        ODE_OPTIONS | {
            "interpolation_type": "linear", "sigma_min": None, "sigma_max": None,
            "timestep_type": "discrete", "rescale_betas_zero_snr": False,
            "final_sigmas_type": "zero",
        },
        formula=EULER, keeps="eps", order="1", calls="N", source=KARRAS, scales_noise=True,
    ),
    Method(
        "euler_ancestral", "EulerAncestralDiscreteScheduler", euler_ancestral_rows,
        SPACED | {"rescale_betas_zero_snr": False},
        formula=Formula(
            "s' / s", "s' * (sigma'^2 / sigma - sigma)", c="n' * sqrt(1 - (sigma' / sigma)^2)"
        ),
        keeps="eps", order="1", calls="N", noise="always", aliases=("euler_a",),
        source="k-diffusion, after Song et al. 2021, arXiv:2011.13456", scales_noise=True,
        predictions=("epsilon", "v_prediction"),
    ),
)  # fmt: skip
