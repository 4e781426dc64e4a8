"""UniPC: Zhao et al. 2023, arXiv:2302.04867, algorithms 1 and 2, with B(h) bh1 or bh2.

Predictor and corrector of a step start from the same sample with the same factor, so that what the
corrector changes is a mixture of predictions: a row corrects the frame that it starts from and goes
on, in one. Corrected frames themselves are never shown, neither here nor by diffusers.
"""

from __future__ import annotations

from collections import defaultdict
from math import expm1, isfinite

import numpy as np

from sdloop.machine.errors import UserError
from sdloop.sampler.methods.dpm_multistep import SOLVER_OPTIONS, SOLVER_PREDICTIONS
from sdloop.sampler.methods.method import SPACED, Formula, Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.sigmas import solver_way
from sdloop.sampler.table import Keeps, Level, Row


def unipc_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Correct each frame by its own prediction, and predict the next."""
    if settings.final_sigmas_type == "zero":
        for key, bad in (("lower_order_final", False), ("predict_x0", False)):
            if getattr(settings, key) is bad and (settings.solver_order > 1 or key[0] == "p"):
                raise UserError(
                    f"model's scheduler config: {key} = False does not go with final_sigmas_type "
                    "zero; allowed: True, or final_sigmas_type sigma_min"
                )
    times, levels = solver_way(settings, num_steps, own_end=True, flow_from_one=True)
    rows: list[Row] = []
    before = 0
    for row, t in enumerate(times):
        left = len(times) - row if settings.lower_order_final else settings.solver_order
        order = min(settings.solver_order, left, row + 1)
        if order > 1 and levels[row].log_snr_half == levels[row + 1].log_snr_half:
            raise UserError(
                "model's scheduler config: lower_order_final = False with spread sigmas and "
                "final_sigmas_type sigma_min makes a last step of nothing; allowed: True"
            )
        start, end = levels[row], levels[row + 1]
        step: defaultdict[int, float] = defaultdict(
            float, _weights(settings, levels, row, order, corrects=False)
        )
        a = _ratio(settings, start, end)
        corrects = row > 0 and row - 1 not in settings.disable_corrector
        if corrects:
            corrected = _weights(settings, levels, row - 1, before, corrects=True)
            predicted = _weights(settings, levels, row - 1, before, corrects=False)
            for source, weight in corrected.items():
                step[source] += a * (weight - predicted.get(source, 0.0))
        before = order
        b = end.signal if settings.predict_x0 else end.noise
        weights = {source: weight / b for source, weight in step.items()}
        keeps: Keeps = "z0" if settings.predict_x0 else "eps"
        rows.append(Row(t, start, start, end, row, a, b, weights, 0.0, keeps, corrects))
    return rows


def _ratio(settings: SchedulerSettings, start: Level, end: Level) -> float:
    """Return the factor of the frame."""
    return end.noise / start.noise if settings.predict_x0 else end.signal / start.signal


def _weights(
    settings: SchedulerSettings, levels: list[Level], row: int, order: int, corrects: bool
) -> dict[int, float]:
    """Weigh the predictions in the step of a row; a corrector knows the next row's too (eq. 3)."""
    end, lambdas = levels[row + 1], [level.log_snr_half for level in levels[: row + 2]]
    h = lambdas[row + 1] - lambdas[row]
    signed = -h if settings.predict_x0 else h
    share = end.signal if settings.predict_x0 else end.noise
    weights = {row: -share * expm1(signed)}
    if not isfinite(h):
        return weights
    points = [(lambdas[row - k] - lambdas[row]) / h for k in range(1, order)]
    known = [row - k for k in range(1, order)]
    if corrects:
        points, known = [*points, 1.0], [*known, row + 1]
    b_of_h = signed if settings.solver_type == "bh1" else expm1(signed)
    for source, point, rho in zip(known, points, _rhos(points, signed, b_of_h), strict=True):
        slope = -share * b_of_h * rho / point
        weights[source] = slope
        weights[row] -= slope
    return weights


def _rhos(points: list[float], h: float, b_of_h: float) -> list[float]:
    """Solve for the differences' weights; where there is one, it is set to a half."""
    if len(points) < 2:
        return [0.5] * len(points)
    phi, factorial, wanted = expm1(h) / h - 1, 1, []
    for power in range(1, len(points) + 1):
        wanted.append(phi * factorial / b_of_h)
        factorial *= power + 1
        phi = phi / h - 1 / factorial
    powers = np.array([[point**power for point in points] for power in range(len(points))])
    return np.linalg.solve(powers, wanted).tolist()


METHODS = (
    Method(
        "unipc", "UniPCMultistepScheduler", unipc_rows,
        SPACED | SOLVER_OPTIONS | {
            "solver_type": "bh2", "predict_x0": True, "lower_order_final": True,
            "disable_corrector": (), "solver_p": None, "final_sigmas_type": "zero",
            "rescale_betas_zero_snr": False, "sigma_min": None, "sigma_max": None,
            "shift_terminal": None,
        },
        allowed={"shift_terminal": (None,)},
        formula=Formula(
            "n' / n", "s'",
            "the predictor's, and what the corrector changes of the row before (eq. 3)",
        ),
        keeps="z0", order="1 to 3, and 1 more by correction", calls="N",
        source="Zhao et al. 2023, arXiv:2302.04867", predictions=SOLVER_PREDICTIONS,
    ),
)  # fmt: skip
