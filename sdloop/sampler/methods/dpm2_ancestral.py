"""DPM2 ancestral: k-diffusion's sample_dpm_2_ancestral.

DPM-Solver-2 (Lu et al. 2022, arXiv:2206.00927, algorithm 1) to below the next sigma, and noise. It
tries the way to the middle, sqrt(sigma sigma_down), takes the step down to sigma_down by the eps
found there, and adds noise of sigma_up. The last step is Euler's.
"""

from __future__ import annotations

import numpy as np

from sdloop.sampler.methods.euler import ODE_OPTIONS
from sdloop.sampler.methods.method import SD_BETAS, Formula, Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.sigmas import ode_sigmas, time_of, trained_sigmas
from sdloop.sampler.table import Level, Row


def dpm2_ancestral_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Try the way to the middle, take the step by the slope there, and add noise."""
    times, sigmas = ode_sigmas(settings, num_steps)
    down = sigmas[1:] ** 2 / sigmas[:-1]
    up = sigmas[1:] * np.sqrt(1 - (sigmas[1:] / sigmas[:-1]) ** 2)
    middles = np.sqrt(sigmas[:-1] * down)
    asked = time_of(middles, trained_sigmas(settings))
    if settings.sigmas == "karras":
        times = times.round()  # diffusers rounds these, and not the middles'
    levels = [Level.of_sigma(sigma) for sigma in sigmas]
    rows: list[Row] = []
    for step, t in enumerate(times):
        first, start, end = len(rows), levels[step], levels[step + 1]
        middle = Level.of_sigma(middles[step])
        a, b = middle.signal / start.signal, middle.signal * (middles[step] - sigmas[step])
        rows.append(Row(t, start, start, middle, first, a, b, {first: 1.0}, keeps="eps"))
        if step + 1 < len(times):
            a, b = end.signal / start.signal, end.signal * (down[step] - sigmas[step])
            there, c = {first + 1: 1.0}, end.signal * up[step]
            rows.append(Row(asked[step], middle, start, end, first, a, b, there, c, "eps"))
    return rows


METHODS = (
    Method(
        "dpm2_ancestral", "KDPM2AncestralDiscreteScheduler", dpm2_ancestral_rows,
        ODE_OPTIONS | SD_BETAS,
        formula=Formula(
            "s' / s", "s' * (sigma' - sigma); then s' * (sigma'^2 / sigma - sigma)",
            "1, to sqrt(sigma * sigma_down); then 1, of the middle's",
            "0; then n' * sqrt(1 - (sigma' / sigma)^2)", "the step's first",
            "sigma_down = sigma'^2 / sigma",
        ),
        keeps="eps", order="2", calls="2 N - 1", noise="always", aliases=("dpm2_a",),
        source="k-diffusion, after Lu et al. 2022, arXiv:2206.00927",
        predictions=("epsilon", "v_prediction"), scales_noise=True,
    ),
)  # fmt: skip
