"""Runs that share calls of the network: which ones may, and how they walk side by side."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdloop.job.config import model_of
from sdloop.job.forecast import estimate, no_room_for_loop
from sdloop.job.sample import draw, not_finite
from sdloop.job.texts import encode, words_of
from sdloop.machine.device import free_bytes
from sdloop.machine.errors import UserError
from sdloop.machine.memory import SHARE_OF_FREE, host_room_bytes, is_out_of_memory
from sdloop.model.family import Conditioning
from sdloop.sampler.loop import Denoised, Step, collect
from sdloop.sampler.trajectory import Trajectory

if TYPE_CHECKING:
    from sdloop.job.engine import Engine
    from sdloop.job.plan import Plan

MOST_TOGETHER = {"cpu": 8, "cuda": 16}  # more gain little; see scripts/bench/sweep.py
MOST_TEXTS = 256  # encoded prompts held at once; half a megabyte each for Stable Diffusion


@dataclass(frozen=True)
class Sampled:
    """One of the runs that walked side by side.

    Attributes:
        trajectory: What it captured; None if it failed.
        error: Why it failed; None if it did not.
        took_ms: Its share of the walk's time.
        together: How many runs walked side by side.
    """

    trajectory: Trajectory | None
    error: UserError | None
    took_ms: float
    together: int


class Texts:
    """Encodes equal prompts once, with the same bits that a single run gets.

    Attributes:
        engine: The loaded networks.
    """

    def __init__(self, engine: Engine) -> None:
        """Encode nothing yet."""
        self.engine = engine
        self._known: OrderedDict[tuple[str, str | None], Conditioning] = OrderedDict()

    def of(self, plan: Plan) -> Conditioning:
        """Return what conditions a run.

        Raises:
            UserError: An embedding is not finite.
        """
        config = plan.config
        negative = config.negative_prompt if plan.guided else None
        key = (config.prompt, negative)
        if key not in self._known:
            self._known[key] = encode(plan, self.engine)
            if len(self._known) > MOST_TEXTS:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


def loads_alike(plan: Plan) -> tuple[object, ...]:
    """Return a key that is equal for runs that can share an engine."""
    config = plan.config
    return (*model_of(config), plan.device, plan.dtype, config.compile)


def calls_alike(plan: Plan) -> tuple[object, ...]:
    """Return a key that is equal for runs that can share calls of the network."""
    table = plan.config.scheduler.model_dump_json()  # settled: with the model it fixes the table
    rescale = plan.config.guidance_rescale
    captures = plan.config.capture
    return (*loads_alike(plan), plan.latent_shape, plan.guided, captures, rescale, table)


def largest_together(plan: Plan, beside: int = 1) -> int:
    """Choose how many runs of a kind walk side by side, by the memory available.

    Args:
        plan: One of them.
        beside: How many batches are made at once on this machine, each on a device of its own where
            there are several.

    Returns:
        At least 1.
    """
    from sdloop.machine.device import room_bytes

    host_room = host_room_bytes()
    rooms = [None if host_room is None else host_room // beside, room_bytes(plan.device)]
    together = MOST_TOGETHER.get(plan.device.type, 1)
    while together > 1:
        needed = [ledger.peak_bytes for ledger in estimate(plan, together)]
        if all(
            room is None or size <= SHARE_OF_FREE * room
            for size, room in zip(needed, rooms, strict=False)
        ):
            break
        together //= 2
    return together


def sample_together(
    plans: Sequence[Plan], engine: Engine, texts: Texts, on_row: Callable[[int], None]
) -> list[Sampled]:
    """Sample runs that `calls_alike` says can share their calls.

    If memory does not suffice for all at once, each half is tried alone, and so on.

    Args:
        plans: The runs'.
        engine: The loaded networks.
        texts: The encoded prompts of this engine.
        on_row: Called after each row with the number of runs that took it.

    Returns:
        One for each plan, in order. A run that failed says why and does not affect the others.
    """
    started = time.perf_counter()
    try:
        denoised = _walk(plans, engine, texts, on_row)
    except UserError as error:
        if len(plans) == 1:
            return [Sampled(None, error, 0, 1)]
        denoised = None  # one run is at fault: find it by halving
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        denoised = None
        if len(plans) == 1:
            short = no_room_for_loop(plans[0], free_bytes(engine.models.device))
            return [Sampled(None, UserError(str(short)), 0, 1)]
    if denoised is None:  # try again out here, where the failed rows' tensors are freed
        half = (len(plans) + 1) // 2
        return [
            one
            for part in (plans[:half], plans[half:])
            for one in sample_together(part, engine, texts, on_row)
        ]
    took_ms = (time.perf_counter() - started) * 1000 / len(plans)
    return [
        _pick(plan, denoised, sample, took_ms, len(plans), words_of(plan, engine))
        for sample, plan in enumerate(plans)
    ]


def _walk(
    plans: Sequence[Plan], engine: Engine, texts: Texts, on_row: Callable[[int], None]
) -> Denoised:
    """Walk the loop once for all runs."""
    first, device = plans[0], engine.models.device
    conditioning = Conditioning.joined([texts.of(plan) for plan in plans])
    z, noise = draw(first, [plan.config.seed for plan in plans], device)
    scales = [plan.config.guidance_scale for plan in plans]
    guidance: float | Tensor = scales[0]
    if len(set(scales)) > 1:
        guidance = torch.tensor(scales, device=device).reshape(-1, 1, 1, 1)
    rescale = first.config.guidance_rescale
    steps = engine.walk(
        first.table,
        z,
        conditioning,
        guidance,
        noise,
        guidance_rescale=rescale,
        keep_attention=first.config.captures_attention,
    )
    return collect(_told(steps, len(plans), on_row), z, len(first.table))


def _told(steps: Iterable[Step], runs: int, on_row: Callable[[int], None]) -> Iterator[Step]:
    """Report every step."""
    for step in steps:
        on_row(runs)
        yield step


def _pick(
    plan: Plan,
    denoised: Denoised,
    sample: int,
    took_ms: float,
    together: int,
    words: Sequence[tuple[str, tuple[int, ...]]],
) -> Sampled:
    """Take one run out of the walk; it fails if a value is not finite."""
    timesteps = torch.from_numpy(plan.table.timesteps)
    config = plan.config.model_dump(mode="json")
    trajectory = Trajectory.of_sample(denoised, timesteps, config, sample, words)
    bad = ~torch.isfinite(trajectory.latents[1:].flatten(1)).all(dim=1)
    if bad.any():
        row = int(bad.int().argmax())
        return Sampled(None, not_finite(plan, row), took_ms, together)
    return Sampled(trajectory, None, took_ms, together)
