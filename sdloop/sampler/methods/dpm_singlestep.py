"""DPM-Solver++ singlestep: Lu et al. 2022, arXiv:2211.01095, algorithm 1 (2S), and its kin.

Steps come in groups of one, two or three: each asks within the way that its group goes, and the
later ones take the way from the group's first frame again, by all that the group has found.
"""

from __future__ import annotations

from collections.abc import Mapping

from sdloop.sampler.methods.dpm_multistep import (
    DPM_OPTIONS,
    FAMILIES,
    SOLVER_PREDICTIONS,
    formula_of,
    kept_by,
)
from sdloop.sampler.methods.exponential import Factors, integrate
from sdloop.sampler.methods.method import Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.sigmas import solver_way
from sdloop.sampler.table import Row

SINGLESTEP_WEIGHTS = (
    "1",
    "1 / (2 * u), 1 - 1 / (2 * u), where u = h to the newest / h",
    "the integral of the line through the group's newest and first, in lambda",
)


def singlestep_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Take each step from its group's first frame."""
    times, levels = solver_way(settings, num_steps)
    lambdas = [level.log_snr_half for level in levels]
    keeps = kept_by(settings.algorithm_type)
    rows = []
    for row, (t, order) in enumerate(zip(times, _orders(settings, num_steps), strict=True)):
        base, end = row - order + 1, levels[row + 1]
        step = integrate(levels[base], end, settings.algorithm_type)
        along = [(lambdas[k] - lambdas[base]) / step.h for k in range(base + 1, row + 1)]
        weights = _weights(step, base, along, settings.solver_type == "heun")
        rows.append(
            Row(t, levels[row], levels[base], end, base, step.a, step.g, weights, step.c, keeps)
        )
    return rows


def _orders(settings: SchedulerSettings, steps: int) -> list[int]:
    """Group the steps, with what diffusers does where they do not come out even."""
    order, to_zero = settings.solver_order, settings.final_sigmas_type == "zero"
    group = [1, 2, 3][:order]
    if order == 1:
        return [1] * steps
    if not (settings.lower_order_final or steps % order or to_zero):
        return group * (steps // order)
    groups, left = divmod(steps, order)
    if left == 0:  # the last group gives its highest order up
        groups, ends = groups - 1, [1, 1] if order == 2 else [1, 2, 1]
    else:
        ends = group[:left]
    orders = group * groups + ends
    return [*orders[:-1], 1] if to_zero else orders


def _weights(step: Factors, base: int, along: list[float], heun: bool) -> Mapping[int, float]:
    """Write D0 + D1 + D2 by the group's predictions, in units of the step's g."""
    if not along:
        return {base: 1.0}
    first, second = step.k1 / step.g, step.k2 / step.g
    if len(along) == 1:
        slope = (first if heun else 0.5) / along[0]
        return {base: 1 - slope, base + 1: slope}
    near, far = along
    middle, newest = 0.0, first / far
    if heun:
        apart = far - near
        middle = (first * far - 2 * second) / (near * apart)
        newest = (2 * second - first * near) / (far * apart)
    return {base: 1 - middle - newest, base + 1: middle, base + 2: newest}


METHODS = tuple(
    Method(
        f"{begin}_{order}s{end}", "DPMSolverSinglestepScheduler", singlestep_rows,
        DPM_OPTIONS | {"lower_order_final": False},
        formula=formula_of(algorithm, SINGLESTEP_WEIGHTS[order - 1], "the group's first"),
        keeps=kept_by(algorithm), order=str(order), calls="N",
        source=f"Lu et al. 2022, arXiv:{'2206.00927' if begin == 'dpm' else '2211.01095'}",
        noise="always" if end else "never", predictions=SOLVER_PREDICTIONS,
        forced={"algorithm_type": algorithm, "solver_order": order},
        fixed={"timestep_spacing": "linspace"}
        | ({"final_sigmas_type": "sigma_min"} if begin == "dpm" else {}),
    )
    for algorithm, (begin, end) in FAMILIES.items()
    for order in (1, 2, 3)
)  # fmt: skip
