"""A sampled run -> its pictures and numbers -> every file that is written of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.run_folder import PAGE_FILE, TRAJECTORY_FILE

if TYPE_CHECKING:
    import numpy as np
    from diffusers import AutoencoderKL
    from numpy.typing import NDArray

    from sdloop.cli import Console
    from sdloop.config import RunConfig
    from sdloop.difference import DifferenceMaps
    from sdloop.export.page_data import PageRun
    from sdloop.measure.whole_run import RunMeasures
    from sdloop.same_again import SameAgain
    from sdloop.schedule import Schedule
    from sdloop.trajectory import Trajectory

ANIMATIONS, FORMATS = ("frames", "difference", "evolution"), ("gif", "webp", "apng", "mp4")
MAP_FILES = ("commitment.png", "frequency.png", "guidance.png")
ONLY_GUIDED = frozenset({"guidance.png"})  # a run that nothing guided has none
FRAME_FOLDERS = ("frames", "differences")


def export_files(formats: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the files that `export_run` writes, with guidance."""
    animations = (f"{name}.{suffix}" for suffix in formats for name in ANIMATIONS)
    return (*animations, "strip.png", "steps.csv", *MAP_FILES, PAGE_FILE)


@dataclass(frozen=True)
class Sampled:
    """A run that was sampled, now or earlier, and the VAE to show it."""

    folder: Path
    config: RunConfig
    trajectory: Trajectory
    schedule: Schedule
    vae: AutoencoderKL

    @property
    def stages(self) -> Sequence[int]:
        """Return the rows that the strip shows and the page marks."""
        from sdloop.export.strip import default_stages

        return self.config.export.stages or default_stages(len(self.schedule))


@dataclass(frozen=True)
class Shown:
    """What is to be seen of a run, as NumPy arrays.

    Attributes:
        images: uint8 (rows + 1, H, W, 3), the frames.
        z0_hat: uint8 (rows, H, W, 3), the predicted clean pictures; None where not wanted.
        maps: The frames' differences.
        measures: All that was measured.
        same_again: How far another run of it may differ.
    """

    images: NDArray[np.uint8]
    z0_hat: NDArray[np.uint8] | None
    maps: DifferenceMaps
    measures: RunMeasures
    same_again: SameAgain


def show(run: Sampled, console: Console) -> Shown:
    """Decode and measure a run.

    Args:
        run: The run.
        console: Shows progress and times the stages.

    Returns:
        Its pictures and numbers.
    """
    import torch

    from sdloop.decode import decode_latents
    from sdloop.difference import difference_maps, to_numpy
    from sdloop.measure.whole_run import measure_run
    from sdloop.same_again import SameAgain
    from sdloop.wiring import read_mask

    config, latents = run.config, run.trajectory.latents
    frames = len(latents)
    if config.decode.z0_hat:
        latents = torch.cat([latents, run.trajectory.z0_hat])
    batches: list[int] = []

    def name_of(index: int) -> str:
        return f"frame {index}" if index < frames else f"z0_hat of row {index - frames}"

    with console.stage("decode", len(latents)) as advance:

        def on_frames(count: int) -> None:
            batches.append(count)
            advance(count)

        decoded = decode_latents(run.vae, latents, config.decode.batch_size, on_frames, name_of)
    with console.stage("difference"):
        on_device = difference_maps(
            decoded[:frames], config.difference.reduce, config.difference.scale
        )
        pictures, maps = to_numpy(decoded), on_device.to_numpy()
    with console.stage("measure"):
        path, tolerance = config.measure.mask, config.measure.tolerance
        mask = None if path is None else read_mask(Path(path), *pictures.shape[1:3])
        measures = measure_run(
            run.trajectory,
            run.schedule,
            config.guidance_scale,
            decoded[:frames],
            on_device,
            mask,
            tolerance,
        )
    z0_hat = pictures[frames:] if config.decode.z0_hat else None
    same_again = SameAgain.of_run(run.vae, batches, run.trajectory.config)
    return Shown(pictures[:frames], z0_hat, maps, measures, same_again)


def export_run(run: Sampled, console: Console) -> Shown:
    """Decode a trajectory and write everything that is shown of it.

    Args:
        run: The run.
        console: Shows progress and times the stages.

    Returns:
        What was shown.
    """
    from sdloop.difference import viridis
    from sdloop.export.animation import write_animations
    from sdloop.export.measures import write_measures
    from sdloop.export.page import write_page
    from sdloop.export.png import write_frames
    from sdloop.export.strip import write_strip

    folder, export = run.folder, run.config.export
    scale = export.scale or 1
    shown = show(run, console)
    images, maps = shown.images, shown.maps
    with console.stage("animate"):
        write_animations(
            folder, images, maps, export.formats, export.delay_ms, export.hold_ms, scale
        )
    with console.stage("export"):
        color_bar = run.config.difference.scale == "global"
        write_strip(folder / "strip.png", images, maps, run.stages, scale, color_bar)
        write_measures(folder, shown.measures, images[-1], scale)
        if export.png_frames:
            write_frames(folder / FRAME_FOLDERS[0], images)
            write_frames(folder / FRAME_FOLDERS[1], maps.indices, viridis())
    with console.stage("page"):
        write_page(folder / PAGE_FILE, [page_run(run, shown)])
    return shown


def page_run(run: Sampled, shown: Shown) -> PageRun:
    """Put together what the page shows of a run."""
    from sdloop.export.measures import stills_of
    from sdloop.export.page_data import PageRun

    files = (*export_files(run.config.export.formats), TRAJECTORY_FILE)
    return PageRun(
        folder=run.folder,
        config=run.config.model_dump(mode="json"),
        images=shown.images,
        z0_hat=shown.z0_hat,
        differences=shown.maps.values,
        schedule=run.schedule,
        numbers=shown.measures.columns(),
        stages=run.stages,
        files=[name for name in files if (run.folder / name).exists()],
        stills=[still for still in stills_of(shown.measures) if (run.folder / still.file).exists()],
    )
