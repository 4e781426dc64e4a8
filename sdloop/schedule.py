"""The sampler as a table of numbers: one row per call of the network.

DDIM with eta 0 and PNDM (Adams-Bashforth, optionally after a Runge-Kutta warm-up) are the same
transfer between two noise levels; they differ in which mixture of kept outputs they feed it:

    z_next = a[row] * frames[base_frame[row]] + b[row] * sum_k w[row, k] * outputs[k]

Sources: DDIM, Song et al. 2021 (arXiv:2010.02502, eq. 12 with sigma 0); PNDM, Liu et al. 2022
(arXiv:2202.09778, eq. 9, 11, 12, 13); v-prediction, Salimans and Ho 2022 (arXiv:2202.00512).
"""

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sdloop.errors import UserError
from sdloop.scheduler_config import SchedulerSettings, alphas_cumprod

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
RUNGE_KUTTA = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
RUNGE_KUTTA_STEPS = 3


@dataclass(frozen=True)
class Schedule:
    """The table. Arrays are float64 or int64 of shape (rows,), but for `w`.

    Attributes:
        timesteps: The trained time that the network is asked about.
        alphas_cumprod: Cumulative alpha at `timesteps`.
        alphas_cumprod_from: Cumulative alpha of the step's start.
        alphas_cumprod_to: Cumulative alpha of the step's end.
        base_frame: The frame that the step starts from: the row's own, or an earlier one.
        a: Factor of the base frame.
        b: Factor of the mixture of outputs.
        slot: Where the row's output is kept.
        w: (rows, slots), the weights of the kept outputs; at most four in a row are not zero.
        z0_from_z: With `z0_from_output`, z0_hat = z0_from_z * z + z0_from_output * output.
        z0_from_output: See `z0_from_z`; z is the row's own frame, not its base frame.
        eps_from_z: With `eps_from_output`, eps = eps_from_z * z + eps_from_output * output.
        eps_from_output: See `eps_from_z`; 1 where the network predicts eps itself.
    """

    timesteps: Ints
    alphas_cumprod: Floats
    alphas_cumprod_from: Floats
    alphas_cumprod_to: Floats
    base_frame: Ints
    a: Floats
    b: Floats
    slot: Ints
    w: Floats
    z0_from_z: Floats
    z0_from_output: Floats
    eps_from_z: Floats
    eps_from_output: Floats

    def __len__(self) -> int:
        """Return the number of rows, which is not always the number of steps."""
        return len(self.timesteps)

    def equals(self, other: "Schedule") -> bool:
        """Tell whether two tables hold the same numbers."""
        return all(
            np.array_equal(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
        )

    @property
    def num_slots(self) -> int:
        """Return how many outputs have to be kept at once."""
        return self.w.shape[1]

    @property
    def corrects(self) -> NDArray[np.bool_]:
        """Tell for each row whether it takes a step again, from a saved frame."""
        return self.base_frame != np.arange(len(self))


@dataclass(frozen=True)
class _Step:
    """A row before its coefficients: where it is evaluated, what it spans, what it mixes."""

    timestep: int
    t_from: int
    t_to: int
    base_frame: int
    weights: dict[int, float]


def make_schedule(settings: SchedulerSettings, num_steps: int) -> Schedule:
    """Compute the table for a number of steps.

    Args:
        settings: The scheduler's settings.
        num_steps: The number of inference steps, as diffusers' set_timesteps takes it. PNDM makes
            num_steps + 1 rows of it, with its Runge-Kutta warm-up num_steps + 9.

    Returns:
        The table.

    Raises:
        UserError: This number of steps leaves the trained timesteps, or is too small.
    """
    if not 1 <= num_steps <= settings.num_train_timesteps:
        raise UserError(
            f"scheduler.num_steps = {num_steps}: allowed: 1 to {settings.num_train_timesteps}"
        )
    ascending = _spaced_timesteps(settings, num_steps)
    stride = settings.num_train_timesteps // num_steps
    if settings.kind == "ddim":
        steps = [_Step(t, t, t - stride, row, {row: 1.0}) for row, t in enumerate(ascending[::-1])]
    elif settings.skip_prk_steps:
        steps = _plms_steps(ascending, stride)
    else:
        steps = _prk_steps(ascending, stride)
    return _tabulate(settings, steps)


def _spaced_timesteps(settings: SchedulerSettings, num_steps: int) -> list[int]:
    """Space the steps over the trained timesteps, ascending (table 2 of arXiv:2305.08891)."""
    trained = settings.num_train_timesteps
    spaced: NDArray[np.floating]
    if settings.timestep_spacing == "linspace":
        spaced = np.linspace(0, trained - 1, num_steps).round()
    elif settings.timestep_spacing == "trailing":
        spaced = np.arange(trained, 0, -trained / num_steps).round()[::-1] - 1
    else:
        spaced = np.arange(num_steps) * float(trained // num_steps) + settings.steps_offset
    if spaced[0] < 0:  # the last stride, rounded, may leave room for one timestep too many
        raise UserError(
            f"scheduler.num_steps = {num_steps}: with timestep_spacing trailing diffusers goes on "
            f"to timestep {spaced[0]:.0f}; take another number of steps"
        )
    return [int(t) for t in spaced]


def _plms_steps(ascending: list[int], stride: int) -> list[_Step]:
    """Pseudo linear multistep: Adams-Bashforth, its second row corrects the first."""
    descending = ascending[::-1]
    steps = [_Step(descending[0], descending[0], descending[0] - stride, 0, {0: 1.0})]
    if len(descending) == 1:
        return steps
    second = descending[1]
    steps.append(_Step(second, second + stride, second, 0, {0: 0.5, 1: 0.5}))
    kept = [0]  # the corrector's own output is not part of the history
    for t in descending[1:]:
        row = len(steps)
        kept = [*kept[-3:], row]
        steps.append(_Step(t, t, t - stride, row, _multistep_weights(kept)))
    return steps


def _prk_steps(ascending: list[int], stride: int) -> list[_Step]:
    """Pseudo Runge-Kutta for the first three steps, four rows each, then linear multistep."""
    if len(ascending) < RUNGE_KUTTA_STEPS + 1:
        raise UserError(
            f"scheduler.num_steps = {len(ascending)}: PNDM with its Runge-Kutta warm-up "
            f"(skip_prk_steps false) needs at least {RUNGE_KUTTA_STEPS + 1}"
        )
    descending = ascending[::-1]
    half = stride // 2
    steps: list[_Step] = []
    for start, end in pairwise(descending[: RUNGE_KUTTA_STEPS + 1]):
        first = len(steps)
        middle = end + half
        for stage, evaluated in enumerate((start, middle, middle, end)):
            row = first + stage
            # three trial steps by the newest output alone, then one by the weighted mean of all
            weights = (
                {first + k: weight for k, weight in enumerate(RUNGE_KUTTA)}
                if stage == 3
                else {row: 1.0}
            )
            t_to = evaluated if row % 2 else evaluated - half
            steps.append(_Step(evaluated, start, t_to, first, weights))
    kept = [4 * step for step in range(RUNGE_KUTTA_STEPS)]
    for t in descending[RUNGE_KUTTA_STEPS:]:
        row = len(steps)
        kept = [*kept[-3:], row]
        steps.append(_Step(t, t, t - stride, row, _multistep_weights(kept)))
    return steps


def _multistep_weights(kept: list[int]) -> dict[int, float]:
    """Weigh the kept rows' outputs, newest last, by Adams-Bashforth of the order they allow."""
    return dict(zip(reversed(kept), ADAMS_BASHFORTH[len(kept) - 1], strict=True))


def _tabulate(settings: SchedulerSettings, steps: list[_Step]) -> Schedule:
    """Turn the steps into coefficients."""
    alphas = alphas_cumprod(settings)
    beyond = [t for step in steps for t in (step.timestep, step.t_from) if t >= len(alphas)]
    if beyond:
        raise UserError(
            f"scheduler.num_steps with steps_offset = {settings.steps_offset}: timestep "
            f"{max(beyond)} is beyond the last trained one, {len(alphas) - 1}; take fewer steps"
        )
    final_alpha = 1.0 if settings.set_alpha_to_one else alphas[0]
    at = alphas[[step.timestep for step in steps]]
    start = alphas[[step.t_from for step in steps]]
    end = np.array([alphas[s.t_to] if s.t_to >= 0 else final_alpha for s in steps])
    a = np.sqrt(end / start)
    b = np.sqrt(1 - end) - np.sqrt((1 - start) * end / start)
    if settings.prediction_type == "v_prediction":  # eps = sqrt(alpha) v + sqrt(1 - alpha) z
        a, b = a + b * np.sqrt(1 - start), b * np.sqrt(start)
        z0_from_z, z0_from_output = np.sqrt(at), -np.sqrt(1 - at)
        eps_from_z, eps_from_output = np.sqrt(1 - at), np.sqrt(at)
    else:
        z0_from_z, z0_from_output = 1 / np.sqrt(at), -np.sqrt((1 - at) / at)
        eps_from_z, eps_from_output = np.zeros_like(at), np.ones_like(at)
    slot, w = _allocate_slots([step.weights for step in steps])
    return Schedule(
        timesteps=np.array([step.timestep for step in steps]),
        alphas_cumprod=at,
        alphas_cumprod_from=start,
        alphas_cumprod_to=end,
        base_frame=np.array([step.base_frame for step in steps]),
        a=a,
        b=b,
        slot=slot,
        w=w,
        z0_from_z=z0_from_z,
        z0_from_output=z0_from_output,
        eps_from_z=eps_from_z,
        eps_from_output=eps_from_output,
    )


def _allocate_slots(weights: list[dict[int, float]]) -> tuple[Ints, Floats]:
    """Give each row's output a slot that no output still needed lives in."""
    last_use = {source: row for row, mix in enumerate(weights) for source in mix}
    slots: list[int] = []
    owners: list[int] = []
    for row in range(len(weights)):
        free = [s for s, owner in enumerate(owners) if last_use[owner] < row]
        if not free:
            free = [len(owners)]
            owners.append(row)
        owners[free[0]] = row
        slots.append(free[0])
    w = np.zeros((len(weights), len(owners)))
    for row, mix in enumerate(weights):
        for source, weight in mix.items():
            w[row, slots[source]] = weight
    return np.array(slots), w
