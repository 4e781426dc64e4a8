"""Every export again from a saved trajectory, without the UNet.

python -m sdloop.render RUN_FOLDER... [key=value ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.cli import Console, exit_code_of
from sdloop.config import RunConfig, dump_config, load_config
from sdloop.errors import UserError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from sdloop.measure.whole_run import RunMeasures
    from sdloop.schedule import Schedule
    from sdloop.trajectory import Trajectory

CONFIG_FILE, TRAJECTORY_FILE = "config.yaml", "trajectory.safetensors"
MANIFEST_FILE = "manifest.json"
EXPORT_FILES = (
    "frames.gif",
    "difference.gif",
    "evolution.gif",
    "strip.png",
    "steps.csv",
    "commitment.png",
    "frequency.png",
    "guidance.png",
)
FRAME_FOLDERS = ("frames", "differences")
RENDER_KEYS = ("decode", "difference", "measure", "export", "device", "dtype")


def export_run(
    folder: Path,
    config: RunConfig,
    trajectory: Trajectory,
    schedule: Schedule,
    vae: AutoencoderKL,
    console: Console,
) -> RunMeasures:
    """Decode a trajectory and write everything that is shown of it.

    Args:
        folder: The run's folder.
        config: What is drawn and how.
        trajectory: The run.
        schedule: The table that made it.
        vae: Of the run's model.
        console: Shows progress and times the stages.

    Returns:
        What was measured of it.
    """
    from sdloop.decode import decode
    from sdloop.difference import difference_maps, to_numpy, viridis
    from sdloop.export.gif import hold_last, write_gif
    from sdloop.export.measures import write_measures
    from sdloop.export.palette import IndexedFrame, beside, quantize
    from sdloop.export.png import write_frames
    from sdloop.export.strip import default_stages, write_strip
    from sdloop.export.threads import in_threads
    from sdloop.measure.whole_run import measure_run
    from sdloop.wiring import read_mask

    export = config.export
    scale = export.scale or 1
    with console.stage("decode", len(trajectory.latents)) as advance:
        pictures = decode(vae, trajectory.latents, config.decode.batch_size, advance)
    with console.stage("difference"):
        on_device = difference_maps(pictures, config.difference.reduce, config.difference.scale)
        images, maps = to_numpy(pictures), on_device.to_numpy()
    with console.stage("measure"):
        path, tolerance = config.measure.mask, config.measure.tolerance
        mask = None if path is None else read_mask(Path(path), *images.shape[1:3])
        measures = measure_run(
            trajectory, schedule, config.guidance_scale, pictures, on_device, mask, tolerance
        )
    with console.stage("export"):
        rows = len(schedule)
        delays = hold_last(rows + 1, export.delay_ms, export.hold_ms)
        colormap = viridis()
        write_gif(folder / "frames.gif", in_threads(quantize, images), delays, scale)
        differences = (IndexedFrame(indices, colormap) for indices in maps.indices)
        write_gif(folder / "difference.gif", differences, delays[1:], scale)
        pairs = zip(images[1:], maps.indices, strict=True)
        both = in_threads(lambda pair: beside(*pair, colormap), pairs)
        write_gif(folder / "evolution.gif", both, delays[1:], scale)
        write_strip(
            folder / "strip.png",
            images,
            maps,
            export.stages or default_stages(rows),
            scale,
            color_bar=config.difference.scale == "global",
        )
        write_measures(folder, measures, images[-1], scale)
        if export.png_frames:
            for name, shown in zip(FRAME_FOLDERS, (images, maps.rgb), strict=True):
                write_frames(folder / name, shown)
    return measures


def render(folder: Path, overrides: Sequence[str], console: Console) -> None:
    """Make every export of a run again.

    Args:
        folder: A run's folder.
        overrides: `key=value`, of the keys that do not change the sampling.
        console: Shows progress.

    Raises:
        UserError: The folder holds no run, or an override is not one of these keys.
    """
    from sdloop.files import replacing
    from sdloop.manifest import update_measures
    from sdloop.model_source import find
    from sdloop.models import load_vae
    from sdloop.wiring import resolve

    for override in overrides:
        key = override.partition("=")[0].partition(".")[0]
        if key not in RENDER_KEYS:
            raise UserError(
                f"{override}: render cannot change {key or 'this'}; allowed: "
                f"{', '.join(RENDER_KEYS)}"
            )
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(f"{folder}: holds no run (there is no {CONFIG_FILE})")
    config = load_config(folder / CONFIG_FILE, overrides)
    source = find(config.model, config.model_config_from)
    config, schedule = resolve(config, source)

    from sdloop.device import choose_device
    from sdloop.trajectory import Trajectory

    device, dtype = choose_device(config.device, config.dtype)
    trajectory = Trajectory.load(folder / TRAJECTORY_FILE)
    if trajectory.timesteps.tolist() != schedule.timesteps.tolist():
        raise UserError(f"{folder}: {TRAJECTORY_FILE} was not made with {CONFIG_FILE}'s scheduler")
    with console.stage("load"):
        vae = load_vae(source, device, dtype)
    measures = export_run(folder, config, trajectory, schedule, vae, console)
    update_measures(folder / MANIFEST_FILE, measures.facts())
    with replacing(folder / CONFIG_FILE) as temporary:
        temporary.write_text(dump_config(config), encoding="utf-8")
    console.close(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sdloop.render", description="Make every export of saved runs again."
    )
    parser.add_argument("folders", nargs="+", metavar="RUN_FOLDER | key=value")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_args(arguments)
    overrides = [text for text in options.folders if "=" in text]
    folders = [Path(text) for text in options.folders if "=" not in text]

    def command() -> None:
        if not folders:
            raise UserError("no run folder given; for example: runs/astronaut")
        for folder in folders:
            render(folder, overrides, Console(options.quiet))

    return exit_code_of(command)


if __name__ == "__main__":
    sys.exit(main())
