"""Linear multistep: Adams and Bashforth's method for uneven steps in sigma (k-diffusion's LMS).

x' = x + sum_k eps_k integral over [sigma, sigma'] of the k-th Lagrange polynomial through the last
four sigmas (Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, III.5).
"""

from __future__ import annotations

import numpy as np

from sdloop.sampler.methods.euler import ODE_OPTIONS
from sdloop.sampler.methods.method import Formula, Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.sigmas import ode_sigmas
from sdloop.sampler.table import Floats, Level, Row

ORDER = 4
NODES, SHARES = np.polynomial.legendre.leggauss(ORDER)  # exact up to degree 7


def lms_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Take each step along the polynomial through the last eps."""
    times, sigmas = ode_sigmas(settings, num_steps)
    rows = []
    for row, t in enumerate(times):
        start, end = Level.of_sigma(sigmas[row]), Level.of_sigma(sigmas[row + 1])
        sources = range(row, max(row - ORDER, -1), -1)
        weights = _integrals(sigmas[list(sources)], sigmas[row + 1])
        a, b = end.signal / start.signal, end.signal
        mixture = dict(zip(sources, weights, strict=True))
        rows.append(Row(t, start, start, end, row, a, b, mixture, keeps="eps"))
    return rows


def _integrals(known: Floats, to: float) -> list[float]:
    """Integrate each Lagrange polynomial over the known sigmas from the newest of them to `to`."""
    half = (to - known[0]) / 2
    points = half * (NODES + 1) + known[0]
    weights = []
    for k, sigma in enumerate(known):
        others = np.delete(known, k)
        polynomial = ((points[:, None] - others) / (sigma - others)).prod(axis=1)
        weights.append(float(half * (SHARES * polynomial).sum()))
    return weights


METHODS = (
    Method(
        "lms", "LMSDiscreteScheduler", lms_rows, ODE_OPTIONS,
        formula=Formula(
            "s' / s", "s'", "the integrals of L_k(sigma) over [sigma, sigma'], k up to 4",
            letters="L_k: Lagrange's polynomials through the last sigmas",
        ),
        keeps="eps", order="4", calls="N", source="k-diffusion, after Adams and Bashforth, 1883",
        scales_noise=True,
    ),
)  # fmt: skip
