"""DEIS: Zhang and Chen 2022, arXiv:2204.13902, eq. 15, in ln rho, where rho = noise / signal.

z'/signal' = z/signal + sum_k eps_k times the integral over [rho, rho'] of the k-th Lagrange
polynomial in ln rho through the last levels.
"""

from __future__ import annotations

from math import log

from sdloop.sampler.methods.dpm_multistep import FEW_STEPS, SOLVER_OPTIONS, SOLVER_PREDICTIONS
from sdloop.sampler.methods.method import SPACED, Formula, Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.sigmas import solver_way
from sdloop.sampler.table import Row


def deis_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Take each step by up to three eps."""
    times, levels = solver_way(settings, num_steps, own_end=True)
    rows = []
    for row, t in enumerate(times):
        start, end = levels[row], levels[row + 1]
        lowers = settings.lower_order_final and len(times) < FEW_STEPS
        left = len(times) - row if lowers else settings.solver_order
        order = min(settings.solver_order, left, row + 1)
        logs = [log(levels[row - k].sigma) for k in range(order)]
        weights = {row - k: _integral(logs, k, end.sigma, start.sigma) for k in range(order)}
        a, b = end.signal / start.signal, end.signal
        rows.append(Row(t, start, start, end, row, a, b, weights, keeps="eps"))
    return rows


def _integral(logs: list[float], k: int, to: float, since: float) -> float:
    """Integrate the k-th Lagrange polynomial in ln rho over rho, by the powers' own integrals."""
    others = [each for number, each in enumerate(logs) if number != k]
    total = 1.0
    for other in others:
        total *= logs[k] - other

    def primitive(rho: float) -> float:
        x = log(rho)
        if not others:
            return rho
        if len(others) == 1:
            return rho * (x - 1 - others[0])
        both, product = sum(others), others[0] * others[1]
        return rho * (x**2 - (2 + both) * x + 2 + both + product)

    return (primitive(to) - primitive(since)) / total


METHODS = (
    Method(
        "deis", "DEISMultistepScheduler", deis_rows,
        SPACED | SOLVER_OPTIONS | {"lower_order_final": True},
        formula=Formula(
            "s' / s", "s'", "the integrals of L_k(ln sigma) over [sigma, sigma'], k up to 3",
            letters="L_k: Lagrange's polynomials through the last ln sigma",
        ),
        keeps="eps", order="1 to 3", calls="N", source="Zhang and Chen 2022, arXiv:2204.13902",
        fixed={"final_sigmas_type": "sigma_min"}, predictions=SOLVER_PREDICTIONS,
    ),
)  # fmt: skip
