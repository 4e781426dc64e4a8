"""One run from its config to its folder: check, load, sample, show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.cli import Console, check_writable, collector_paused, warn
from sdloop.config import RunConfig, dump_config, write_config
from sdloop.errors import UserError
from sdloop.run_folder import CONFIG_FILE, MANIFEST_FILE, TRAJECTORY_FILE, RunFolder
from sdloop.showing import FORMATS, FRAME_FOLDERS, Sampled, export_files, export_run

if TYPE_CHECKING:
    from sdloop.engine import Engine
    from sdloop.model_source import ModelSource
    from sdloop.schedule import Schedule
    from sdloop.trajectory import Trajectory


@dataclass(frozen=True)
class Prepared:
    """A run that was checked as far as that goes without a network library.

    Attributes:
        config: With all but the device written out.
        source: The model's facts.
        schedule: The sampler's table.
    """

    config: RunConfig
    source: ModelSource
    schedule: Schedule


class Runner:
    """Runs one config after another; those that share a model share its loaded networks."""

    def __init__(self, quiet: bool = False, overwrite: bool = False) -> None:
        """Load nothing yet.

        Args:
            quiet: Show no progress.
            overwrite: Replace runs of other configs in the same folders.
        """
        self._quiet = quiet
        self._overwrite = overwrite
        self._engine: Engine | None = None

    def run(self, prepared: Prepared) -> RunFolder:
        """Sample, keep every step, and show them.

        Args:
            prepared: What `prepare` made of a config.

        Returns:
            The run's folder; in a notebook it shows itself.

        Raises:
            UserError: Something in the config does not fit the machine or the folder.
        """
        console = Console(self._quiet)
        config, schedule = prepared.config, prepared.schedule
        folder = Path(config.output)
        check_writable(folder)
        with console.stage("import"), collector_paused():
            from sdloop.device import choose_device

            device, dtype = choose_device(config.device, config.dtype)
            named = {"device": str(device), "dtype": str(dtype).removeprefix("torch.")}
            config = config.model_copy(update=named)
            _check_folder(folder, config, self._overwrite)
            from sdloop.engine import Engine
        with console.stage("load"), collector_paused():
            wanted = (prepared.source, device, dtype, config.compile)
            if self._engine is None or not self._engine.serves(*wanted):
                self._engine = None  # its memory goes before the next one's is taken
                self._engine = Engine.start(*wanted)
        trajectory = sample(config, self._engine, schedule, console)

        from sdloop.manifest import write_manifest

        _clear_folder(folder)
        write_config(folder / CONFIG_FILE, config)
        trajectory.save(folder / TRAJECTORY_FILE)
        vae = self._engine.models.vae
        measures = export_run(Sampled(folder, config, trajectory, schedule, vae), console)
        write_manifest(
            folder / MANIFEST_FILE,
            config,
            self._engine.weights_sha256.result(),
            len(schedule),
            console.timings_ms,
            measures.facts(),
        )
        console.close(folder)
        return RunFolder(folder)


def prepare(config: RunConfig) -> Prepared:
    """Do every check that needs no network library.

    Args:
        config: As the user wrote it.

    Returns:
        The run, ready to be sampled.

    Raises:
        UserError: Says what does not fit.
    """
    from sdloop.device import check_device
    from sdloop.model_source import find
    from sdloop.wiring import resolve

    check_device(config.device)
    source = find(config.model, config.model_config_from)
    resolved, schedule = resolve(config, source)
    return Prepared(resolved, source, schedule)


def sample(config: RunConfig, engine: Engine, schedule: Schedule, console: Console) -> Trajectory:
    """Encode the prompt, draw the noise, walk the loop.

    Args:
        config: With its size written out.
        engine: The loaded networks.
        schedule: The sampler's table.
        console: Shows progress.

    Returns:
        The trajectory, on the CPU.

    Raises:
        UserError: The UNet gave a value that is not finite.
    """
    import torch

    from sdloop.loop import first_bad_row, initial_noise
    from sdloop.text import encode_prompts, words_cut
    from sdloop.trajectory import Trajectory

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
            warn(f"{key}: longer than the model's {limit} tokens; left out: {' '.join(cut)!r}")
    with console.stage("text"):
        embeddings = encode_prompts(
            models.tokenizer, models.text_encoder, [config.prompt], negative
        )
    assert config.height is not None  # prepare wrote the size out
    assert config.width is not None
    factor = models.source.vae_factor
    z = initial_noise(
        [config.seed],
        models.source.latent_channels,
        config.height // factor,
        config.width // factor,
    )
    with console.stage("denoise", len(schedule)) as advance:
        try:
            denoised = engine.denoise(
                schedule,
                z.to(models.device),
                embeddings,
                config.guidance_scale,
                config.capture,
                lambda row: advance(1),
            )
        except torch.OutOfMemoryError:
            raise UserError(
                f"denoise: {config.device} has no memory for {config.width} x {config.height} px "
                f"in {config.dtype}; take a smaller size"
            ) from None
        bad = first_bad_row(denoised)
    if bad is not None:
        raise UserError(
            f"denoise: row {bad} (timestep {schedule.timesteps[bad]}) gave values that are not "
            f"finite in {config.dtype}; try dtype=float32"
        )
    timesteps = torch.from_numpy(schedule.timesteps)
    return Trajectory.of_sample(denoised, timesteps, config.model_dump(mode="json"))


def _check_folder(folder: Path, config: RunConfig, overwrite: bool) -> None:
    """Never lay a run over another one that the user did not give up."""
    if overwrite or not folder.exists() or not any(folder.iterdir()):
        return
    saved = folder / CONFIG_FILE
    if not saved.is_file():
        raise UserError(
            f"output = {folder}: holds files that are no run; use another folder or --overwrite"
        )
    if saved.read_text(encoding="utf-8") != dump_config(config):
        raise UserError(
            f"output = {folder}: holds a run of another config; use another folder "
            f"(output=...) or --overwrite"
        )


def _clear_folder(folder: Path) -> None:
    """Remove what an earlier run left, so that no file of it stands among the new ones."""
    for name in (CONFIG_FILE, MANIFEST_FILE, TRAJECTORY_FILE, *export_files(FORMATS)):
        (folder / name).unlink(missing_ok=True)
    for name in FRAME_FOLDERS:
        for picture in (folder / name).glob("*.png"):
            picture.unlink()
