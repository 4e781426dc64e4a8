"""A plan and an engine -> every step of the run, written to disk as it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdloop.job.events import Stages, StepMade, StopRun, WalkBegan, Warned
from sdloop.job.folder import PROGRESS_FILE
from sdloop.job.forecast import no_room_for_loop
from sdloop.job.manifest import made_with
from sdloop.job.progress import Progress
from sdloop.job.start import Fork
from sdloop.job.texts import encode, unused_texts, words_of
from sdloop.machine.device import free_bytes, in_dtype
from sdloop.machine.errors import UserError
from sdloop.machine.memory import is_out_of_memory
from sdloop.model.predictor import UNetPredictor
from sdloop.model.weight_files import stamp_weights
from sdloop.sampler.earlier import NOTHING_EARLIER
from sdloop.sampler.loop import (
    Denoised,
    Step,
    collect,
    first_bad_row,
    fresh_noise,
    initial_noise,
    walk,
)
from sdloop.sampler.trajectory import Trajectory

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

    from sdloop.job.engine import Engine
    from sdloop.job.plan import Plan
    from sdloop.model.family import Conditioning
    from sdloop.sampler.answer import Answer
    from sdloop.sampler.table import Table


def denoise(
    unet: UNet2DConditionModel,
    table: Table,
    z: Tensor,
    embeddings: Tensor,
    guidance_scale: float = 7.5,
    noise: Tensor | None = None,
    guidance_rescale: float = 0.0,
) -> Denoised:
    """Walk the table's rows from noise to picture and keep every frame.

    Args:
        unet: Called on its own device and in its own dtype; all else is float32.
        table: The sampler's.
        z: (batch, 4, h, w), frame 0, on any device.
        embeddings: (2 batch, tokens, width), [uncond, cond]; (batch, ...) for guidance_scale 1.
        guidance_scale: s in uncond + s (cond - uncond); 1 means the conditional output alone.
        noise: (rows, batch, 4, h, w), fresh noise; needed if the table adds any.
        guidance_rescale: How far to bring the guided output to the conditional one's standard
            deviation, 0 to 1.

    Returns:
        The frames and the predictions on the way.

    Raises:
        ValueError: The embeddings' batch fits neither z nor guidance.
    """
    z = z.to(unet.device)
    predict = UNetPredictor(unet, embeddings, table.timesteps.tolist(), guidance_scale != 1)
    steps = walk(predict, table, z, guidance_scale, noise, guidance_rescale)
    return collect(steps, z, len(table))


def open_progress(plan: Plan, engine: Engine) -> Progress:
    """Read the rows of a run that were finished before, to continue after them.

    Args:
        plan: The run's.
        engine: The loaded networks.

    Returns:
        The progress; without rows if there were none, or if anything they depend on has changed.
    """
    facts = {
        "config": plan.identity,
        "timesteps": plan.table.timesteps.tolist(),
        "made_with": made_with(plan, {}),
        "threads": torch.get_num_threads(),  # a CPU's sums are split among them
        "weights": stamp_weights(plan.source, plan.half),
    }
    shape = (2 if plan.guided else 1, *plan.latent_shape)
    path = plan.folder / PROGRESS_FILE
    rows = range(plan.config.first_row, len(plan.table))
    captured = {name: (1, *each) for name, each in plan.attention_shapes.items()}
    return Progress(path, facts, rows, shape, engine.models.dtype, captured)


def sample(plan: Plan, engine: Engine, progress: Progress, stages: Stages) -> Trajectory:
    """Encode the prompt, draw the noise or take another run's frame, walk the loop.

    Args:
        plan: The run's.
        engine: The loaded networks.
        progress: Its rows are not computed again; new rows are added to it.
        stages: Report events and times.

    Returns:
        The trajectory, on the CPU; shorter than the table where a listener stopped the run.

    Raises:
        UserError: The text encoder or the UNet returned a value that is not finite, or the run
            that this one starts from is not there as it was.
        OutOfMemory: There is not enough memory for this size; the message names one that fits.
    """
    rows, kept = len(plan.table), len(progress.known)
    first = plan.config.first_row
    fork = open_fork(plan)
    conditioning, words = condition(plan, engine, stages), words_of(plan, engine)
    with stages.stage("denoise", rows - first, kept) as advance:
        denoised = None
        try:
            z, steps = begin(plan, engine, conditioning, fork, progress.known)
            stages.listen(WalkBegan(plan, engine, z, fork))
            told = _told(progress.keep(steps), first + kept, stages, advance)
            denoised = collect(told, z, rows, None if fork is None else fork.before(words))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        if denoised is None:  # raise out here, where the failed row's tensors are freed
            raise no_room_for_loop(plan, free_bytes(engine.models.device))
        bad = first_bad_row(denoised)
    if bad is not None:
        progress.discard()
        raise not_finite(plan, bad)
    timesteps = torch.from_numpy(plan.table.timesteps[: len(denoised.z0_hat)])
    config = plan.config.model_dump(mode="json")
    trajectory = Trajectory.of_sample(denoised, timesteps, config, words=words)
    return trajectory if fork is None else fork.mark(trajectory)


def open_fork(plan: Plan) -> Fork | None:
    """Open the run that a plan starts from; None if it starts from noise."""
    return None if plan.config.start.run is None else Fork.open(plan)


def condition(plan: Plan, engine: Engine, stages: Stages) -> Conditioning:
    """Encode a plan's prompts, as a stage; warn of what is not used of them."""
    for line in unused_texts(plan, engine):
        stages.listen(Warned(line))
    with stages.stage("text"):
        return encode(plan, engine)


def begin(
    plan: Plan,
    engine: Engine,
    conditioning: Conditioning,
    fork: Fork | None,
    known: Sequence[Answer] = (),
) -> tuple[Tensor, Iterator[Step]]:
    """Draw a run's noise or take another run's frame, and get the walk ready.

    Args:
        plan: The run's.
        engine: The loaded networks.
        conditioning: Its encoded prompts.
        fork: Where it starts, if not from noise.
        known: What the network gave in its first rows.

    Returns:
        The first row's frame, float32 (1, channels, h, w), and the steps from there on.
    """
    device, earlier = engine.models.device, NOTHING_EARLIER
    z, noise = draw(plan, [plan.config.seed], device)
    if fork is not None:
        z, earlier = fork.z.to(device), fork.earlier(plan, device)
    guidance_scale, rescale = plan.config.guidance_scale, plan.config.guidance_rescale
    captures = plan.config.captures_attention
    steps = engine.walk(
        plan.table, z, conditioning, guidance_scale, noise, known, rescale, earlier, captures
    )
    return z, steps


def draw(plan: Plan, seeds: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Draw frame 0, and the fresh noise of the rows if they add any.

    Args:
        plan: Gives the table and the latents' shape.
        seeds: One seed per sample.
        device: Where to put them.

    Returns:
        float32 (samples, channels, h, w), and (rows, samples, channels, h, w) or None.
    """
    z = plan.table.init * initial_noise(seeds, *plan.latent_shape).to(device)
    if not plan.table.noisy:
        return z, None
    return z, fresh_noise(seeds, plan.table, *plan.latent_shape).to(device)


def not_finite(plan: Plan, row: int) -> UserError:
    """Make the error that names the row whose values are not finite."""
    return UserError(
        f"denoise: row {row} (timestep {plan.table.timesteps[row]:g}) gave values that are "
        f"not finite in {in_dtype(plan.dtype)}"
    )


def _told(
    steps: Iterable[Step], kept: int, stages: Stages, advance: Callable[[int], None]
) -> Iterator[Step]:
    """Report every step, until a listener stops; advance the bar by those from row `kept` on.

    Rows that were computed before cost nothing: a run that is stopped among them keeps them all.
    """
    stopped = False
    for step in steps:
        try:
            stages.listen(StepMade(step))
        except StopRun:
            stopped = True
        if step.row >= kept:
            advance(1)
        yield step
        if stopped and step.row >= kept - 1:
            return
