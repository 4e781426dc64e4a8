"""PNDM: Liu et al. 2022, arXiv:2202.09778, eq. 9, 11, 12, 13.

Pseudo linear multistep (Adams and Bashforth's weights), optionally after a pseudo Runge-Kutta
warm-up. Every row is DDIM's transfer, fed with a mixture of outputs. Mixed is what the network
returned, v too where it predicts v, as diffusers does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sdloop.machine.errors import UserError
from sdloop.sampler.methods.method import Formula, Method
from sdloop.sampler.methods.transfer import output_transfer
from sdloop.sampler.noise_levels import NoiseLevels, space_timesteps
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.table import Row

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
RUNGE_KUTTA = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
RUNGE_KUTTA_STEPS = 3


def pndm_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Take linear multistep rows, behind Runge-Kutta's unless the settings skip these."""
    times = space_timesteps(settings, num_steps)
    rows = _Rows(settings)
    stride = settings.num_train_timesteps // num_steps
    if settings.skip_prk_steps:
        _start_by_correcting(rows, times, stride)
    else:
        _start_by_runge_kutta(rows, times, stride)
    return rows.made


class _Rows:
    """The rows made so far."""

    def __init__(self, settings: SchedulerSettings) -> None:
        """Begin with none."""
        self._levels, self._prediction = NoiseLevels(settings), settings.prediction_type
        self.made: list[Row] = []

    def add(self, t: int, t_from: int, t_to: int, base: int, weights: dict[int, float]) -> None:
        """Ask the network at `t`; lead the frame `base` from one time to another."""
        at, start, end = (self._levels.at(each) for each in (t, t_from, t_to))
        a, b = output_transfer(start, end, self._prediction)
        self.made.append(Row(t, at, start, end, base, a, b, weights))

    def add_multistep(self, times: Sequence[int], stride: int, history: Sequence[int]) -> None:
        """Take each step by its output and up to three of the history's, by Adams-Bashforth."""
        sources = list(history)
        for t in times:
            row = len(self.made)
            sources = [*sources[-3:], row]
            weights = zip(reversed(sources), ADAMS_BASHFORTH[len(sources) - 1], strict=True)
            self.add(t, t, t - stride, row, dict(weights))


def _start_by_correcting(rows: _Rows, times: Sequence[int], stride: int) -> None:
    """Take the first step twice, the second time by the mean of both ends' outputs."""
    first = times[0]
    rows.add(first, first, first - stride, 0, {0: 1.0})
    if len(times) > 1:
        second = times[1]
        rows.add(second, second + stride, second, 0, {0: 0.5, 1: 0.5})
        rows.add_multistep(times[1:], stride, [0])  # the corrector's own output is not used again


def _start_by_runge_kutta(rows: _Rows, times: Sequence[int], stride: int) -> None:
    """Take the first three steps in four rows each."""
    if len(times) < RUNGE_KUTTA_STEPS + 1:
        raise UserError(
            f"scheduler.num_steps = {len(times)}: PNDM with its Runge-Kutta warm-up "
            f"(skip_prk_steps false) needs at least {RUNGE_KUTTA_STEPS + 1}"
        )
    half = stride // 2
    for start, end in pairwise(times[: RUNGE_KUTTA_STEPS + 1]):
        first, middle = len(rows.made), end + half
        mean = {first + stage: weight for stage, weight in enumerate(RUNGE_KUTTA)}
        # where the network is asked, where the trial step from the start leads, by which outputs
        rows.add(start, start, start - half, first, {first: 1.0})
        rows.add(middle, start, middle, first, {first + 1: 1.0})
        rows.add(middle, start, middle - half, first, {first + 2: 1.0})
        rows.add(end, start, end, first, mean)
    history = [4 * step for step in range(RUNGE_KUTTA_STEPS)]
    rows.add_multistep(times[RUNGE_KUTTA_STEPS:], stride, history)


METHODS = (
    Method(
        "pndm", "PNDMScheduler", pndm_rows,
        {
            "timestep_spacing": "leading", "steps_offset": 0, "set_alpha_to_one": False,
            "skip_prk_steps": False,
        },
        formula=Formula(
            "s' / s", "n' - n * s' / s", "55/24, -59/24, 37/24, -9/24; fewer at first",
            base="r; in row 1, 0",
        ),
        keeps="output", order="4", calls="N + 1, with Runge-Kutta N + 9",
        source="Liu et al. 2022, arXiv:2202.09778", predictions=("epsilon", "v_prediction"),
    ),
)  # fmt: skip
