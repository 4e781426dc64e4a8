"""DPM-Solver++ multistep, its SDE, and DPM-Solver: Lu et al. 2022, arXiv:2211.01095, algorithm 2.

Each step integrates the polynomial through the newest predictions: D1 is their first divided
difference in lambda, D2 their second (arXiv:2206.00927, appendix B).
"""

from __future__ import annotations

from collections.abc import Mapping

from sdloop.sampler.methods.exponential import Factors, integrate
from sdloop.sampler.methods.method import FLOW_OPTIONS, SPACED, SPREAD_OPTIONS, Formula, Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.sigmas import solver_way
from sdloop.sampler.table import Keeps, Row

FEW_STEPS = 15  # below, diffusers lowers the order of the last steps
SOLVER_OPTIONS = {
    **SPREAD_OPTIONS, **FLOW_OPTIONS, "thresholding": False, "solver_order": 2,
    "solver_type": "midpoint",
}  # fmt: skip
DPM_OPTIONS = {
    **SOLVER_OPTIONS, "algorithm_type": "dpmsolver++", "final_sigmas_type": "zero",
    "lambda_min_clipped": float("-inf"), "variance_type": None,
}  # fmt: skip
SOLVER_PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow_prediction")
FAMILIES = {  # the algorithm -> how its methods' names begin and end
    "dpmsolver++": ("dpm++", ""),
    "sde-dpmsolver++": ("dpm++", "_sde"),
    "dpmsolver": ("dpm", ""),
}
MULTISTEP_WEIGHTS = (
    "1",
    "1 + 1 / (2 * u), -1 / (2 * u), where u = h before / h",
    "the integral of the parabola through the last three, in lambda",
)


def multistep_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Take each step by up to three predictions."""
    rounds = settings.beta_schedule != "squaredcos_cap_v2"
    times, levels = solver_way(settings, num_steps, rounds=rounds)
    lambdas = [level.log_snr_half for level in levels]
    keeps = kept_by(settings.algorithm_type)
    rows = []
    for row, t in enumerate(times):
        step = integrate(levels[row], levels[row + 1], settings.algorithm_type)
        order = _order(settings, row, len(times)) if step.h else 1
        back = [(lambdas[row - k] - lambdas[row - k - 1]) / step.h for k in range(order - 1)]
        weights = _weights(step, row, back, settings.solver_type == "heun")
        start, end = levels[row], levels[row + 1]
        rows.append(Row(t, start, start, end, row, step.a, step.g, weights, step.c, keeps))
    return rows


def kept_by(algorithm: str) -> Keeps:
    """Tell what an algorithm makes a polynomial of."""
    return "eps" if algorithm == "dpmsolver" else "z0"


def formula_of(algorithm: str, weights: str, base: str = "r") -> Formula:
    """Write down what `integrate` computes."""
    if algorithm == "dpmsolver":
        return Formula("s' / s", "n' * (1 - exp(h))", weights, base=base)
    if algorithm == "dpmsolver++":
        return Formula("n' / n", "s' * (1 - exp(-h))", weights, base=base)
    fresh = "n' * sqrt(1 - exp(-2 * h))"
    return Formula("exp(-h) * n' / n", "s' * (1 - exp(-2 * h))", weights, fresh, base)


def _order(settings: SchedulerSettings, row: int, rows: int) -> int:
    """Return the order of a row: lower at the start, and at the end as diffusers lowers it."""
    lowers = settings.lower_order_final and rows < FEW_STEPS
    to_zero = settings.final_sigmas_type == "zero"
    if row == rows - 1 and (settings.euler_at_final or lowers or to_zero):
        return 1
    return min(settings.solver_order, row + 1, 2 if lowers and row == rows - 2 else 3)


def _weights(step: Factors, row: int, back: list[float], heun: bool) -> Mapping[int, float]:
    """Write D0 + D1 + D2 by the predictions that they are made of, in units of the step's g."""
    if not back:
        return {row: 1.0}
    first, second = step.k1 / step.g, step.k2 / step.g
    if len(back) == 1:
        slope = (first if heun else 0.5) / back[0]
        return {row: 1 + slope, row - 1: -slope}
    both = sum(back)
    newest = (first * (1 + back[0] / both) + second / both) / back[0]
    before = (first * back[0] / both + second / both) / back[1]
    return {row: 1 + newest, row - 1: -newest - before, row - 2: before}


METHODS = tuple(
    Method(
        f"{begin}_{order}m{end}", "DPMSolverMultistepScheduler", multistep_rows,
        SPACED | DPM_OPTIONS | {
            "lower_order_final": True, "euler_at_final": False, "use_lu_lambdas": False,
            "rescale_betas_zero_snr": False,
        },
        formula=formula_of(algorithm, MULTISTEP_WEIGHTS[order - 1]),
        keeps=kept_by(algorithm), order=str(order), calls="N",
        source=f"Lu et al. 2022, arXiv:{'2206.00927' if begin == 'dpm' else '2211.01095'}",
        noise="always" if end else "never", predictions=SOLVER_PREDICTIONS,
        forced={"algorithm_type": algorithm, "solver_order": order},
        fixed={"final_sigmas_type": "sigma_min"} if begin == "dpm" else {},
    )
    for algorithm, (begin, end) in FAMILIES.items()
    for order in (1, 2, 3)
)  # fmt: skip
