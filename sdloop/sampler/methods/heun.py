"""Heun and DPM2: Karras et al. 2022, arXiv:2206.00364, algorithm 1 and eq. 5; without churn.

Both ask twice a step. Heun tries the whole step and takes it again by the mean of both ends' eps.
DPM2 (DPM-Solver-2: Lu et al. 2022, arXiv:2206.00927, algorithm 1) tries the way to the middle,
sqrt(sigma sigma'), and takes the whole step by the eps found there. The last step is Euler's.
"""

from __future__ import annotations

import numpy as np

from sdloop.sampler.methods.euler import EULER, KARRAS, ODE_OPTIONS
from sdloop.sampler.methods.method import SD_BETAS, Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.sigmas import ode_sigmas, time_of, trained_sigmas
from sdloop.sampler.table import Level, Row


def heun_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Try each step, then take it by the mean of both slopes."""
    times, sigmas = ode_sigmas(settings, num_steps)
    rows: list[Row] = []
    for step, t in enumerate(times):
        first = len(rows)
        rows.append(_slope(t, sigmas[step], sigmas[step], sigmas[step + 1], first, {first: 1.0}))
        if step + 1 < len(times):
            mean = {first: 0.5, first + 1: 0.5}
            at, start, end = sigmas[step + 1], sigmas[step], sigmas[step + 1]
            rows.append(_slope(times[step + 1], at, start, end, first, mean))
    return rows


def dpm2_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Try the way to the middle, then take the step by the slope there."""
    times, sigmas = ode_sigmas(settings, num_steps)
    middles = np.sqrt(sigmas[:-1] * sigmas[1:])
    asked = time_of(middles, trained_sigmas(settings))
    if settings.sigmas == "karras":
        times = times.round()  # diffusers rounds these, and not the middles'
    rows: list[Row] = []
    for step, t in enumerate(times):
        first, start, end = len(rows), sigmas[step], sigmas[step + 1]
        rows.append(_slope(t, start, start, middles[step], first, {first: 1.0}))
        if step + 1 < len(times):
            there = {first + 1: 1.0}
            rows.append(_slope(asked[step], middles[step], start, end, first, there))
    return rows


def _slope(
    t: float, at: float, start: float, end: float, base: int, weights: dict[int, float]
) -> Row:
    """Lead the frame `base` from one sigma to another along a mixture of eps."""
    level, to = Level.of_sigma(start), Level.of_sigma(end)
    a, b = to.signal / level.signal, to.signal * (end - start)
    return Row(t, Level.of_sigma(at), level, to, base, a, b, weights, keeps="eps")


METHODS = (
    Method(
        "heun", "HeunDiscreteScheduler", heun_rows, ODE_OPTIONS | SD_BETAS | {"clip_sample": False},
        formula=EULER._replace(w="1; then 1/2, 1/2", base="the step's first"),
        keeps="eps", order="2", calls="2 N - 1", source=KARRAS, scales_noise=True,
    ),
    Method(
        "dpm2", "KDPM2DiscreteScheduler", dpm2_rows, ODE_OPTIONS | SD_BETAS,
        formula=EULER._replace(
            w="1, to sqrt(sigma * sigma'); then 1, of the middle's", base="the step's first"
        ),
        keeps="eps", order="2", calls="2 N - 1", aliases=("kdpm2",), scales_noise=True,
        source="Lu et al. 2022, arXiv:2206.00927", predictions=("epsilon", "v_prediction"),
    ),
)  # fmt: skip
