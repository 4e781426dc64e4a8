"""A config and the loaded networks -> every step of the run, kept on disk as it is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdloop.claim import sampling_facts
from sdloop.cli import Console, warn
from sdloop.device import free_bytes
from sdloop.errors import UserError, shown
from sdloop.loop import first_bad_row, initial_noise
from sdloop.manifest import made_with
from sdloop.memory.estimate import no_room_for_loop
from sdloop.memory.shortage import is_out_of_memory
from sdloop.model.source import ModelSource
from sdloop.model.weight_files import stamp_weights
from sdloop.progress import Progress
from sdloop.run_folder import PROGRESS_FILE
from sdloop.text import encode_prompts, words_cut
from sdloop.trajectory import Trajectory

if TYPE_CHECKING:
    from sdloop.config import RunConfig
    from sdloop.engine import Engine
    from sdloop.schedule import Schedule


def open_progress(folder: Path, config: RunConfig, engine: Engine, schedule: Schedule) -> Progress:
    """Find the rows of a run that were finished before, to go on behind them.

    Args:
        folder: The run's.
        config: With all but the output written out.
        engine: The loaded networks.
        schedule: The sampler's table.

    Returns:
        The progress; with no rows, if there was none or it was made with anything else.
    """
    models = engine.models
    half = models.dtype.itemsize == 2
    facts = {
        "config": sampling_facts(config),
        "timesteps": schedule.timesteps.tolist(),
        "made_with": made_with(config, {}),
        "threads": torch.get_num_threads(),  # by which a CPU shares out its sums
        "weights": stamp_weights(models.source, half),
    }
    halves = 2 if config.guidance_scale != 1 else 1
    shape = (halves, *latent_shape(config, models.source))
    return Progress(folder / PROGRESS_FILE, facts, len(schedule), shape, models.dtype)


def sample(
    config: RunConfig, engine: Engine, schedule: Schedule, progress: Progress, console: Console
) -> Trajectory:
    """Encode the prompt, draw the noise, walk the loop.

    Args:
        config: With its size written out.
        engine: The loaded networks.
        schedule: The sampler's table.
        progress: Its rows are not computed again; it gets those that are.
        console: Shows how far it is.

    Returns:
        The trajectory, on the CPU.

    Raises:
        UserError: Text encoder or UNet gave a value that is not finite.
        OutOfMemory: There is no memory for this size; it says what would fit.
    """
    models = engine.models
    guided = config.guidance_scale != 1
    negative = [config.negative_prompt] if guided else None
    texts = {"prompt": config.prompt}
    if guided:
        texts["negative_prompt"] = config.negative_prompt
    elif config.negative_prompt:
        warn("negative_prompt: has no effect with guidance_scale 1")
    for key, text in texts.items():
        cut = words_cut(models.tokenizer, text)
        if cut:
            limit = models.tokenizer.model_max_length
            warn(f"{key}: longer than the model's {limit} tokens; left out: {shown(' '.join(cut))}")
    with console.stage("text"):
        embeddings = encode_prompts(
            models.tokenizer, models.text_encoder, [config.prompt], negative
        )
    z = initial_noise([config.seed], *latent_shape(config, models.source))
    kept = len(progress.outputs)
    with console.stage("denoise", len(schedule), kept) as advance:

        def on_row(row: int, returned: Tensor) -> None:
            if engine.weights_sha256.done():
                engine.weights_sha256.result()  # damaged weights are refused as soon as it is known
            if row >= kept:
                progress.add(row, returned)
                advance(1)

        denoised = None
        try:
            denoised = engine.denoise(
                schedule,
                z.to(models.device),
                embeddings,
                config.guidance_scale,
                config.capture,
                on_row,
                progress.outputs,
            )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        if denoised is None:  # told here, where nothing of the row that failed is held any more
            free = free_bytes(models.device)
            raise no_room_for_loop(config, models.source, schedule, free)
        bad = first_bad_row(denoised)
    if bad is not None:
        progress.discard()
        raise UserError(
            f"denoise: row {bad} (timestep {schedule.timesteps[bad]}) gave values that are not "
            f"finite in {config.dtype}; try dtype=float32"
        )
    timesteps = torch.from_numpy(schedule.timesteps)
    return Trajectory.of_sample(denoised, timesteps, config.model_dump(mode="json"))


def latent_shape(config: RunConfig, source: ModelSource) -> tuple[int, int, int]:
    """Return (channels, height, width) of a run's latents; its config has the size written out."""
    assert config.height is not None
    assert config.width is not None
    factor = source.vae_factor
    return source.latent_channels, config.height // factor, config.width // factor
