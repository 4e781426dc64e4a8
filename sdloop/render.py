"""Every export again from a saved trajectory, without the UNet; several runs on one page.

python -m sdloop.render RUN_FOLDER... [key=value ...]
python -m sdloop.render --page PAGE.html RUN_FOLDER... [key=value ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sdloop.claim import SHOWN_KEYS, claim
from sdloop.cli import Console, check_writable, collector_paused, exit_code_of, leave
from sdloop.config import load_config, write_config
from sdloop.errors import UserError
from sdloop.run_folder import CONFIG_FILE, MANIFEST_FILE, TRAJECTORY_FILE
from sdloop.showing import Sampled, export_run, page_run, show

RENDER_KEYS = ("decode", "difference", "measure", "export", "device", "dtype")


def render(folder: Path, overrides: Sequence[str], console: Console) -> None:
    """Make every export of a run again.

    Args:
        folder: A run's folder.
        overrides: `key=value`, of the keys that do not change the sampling.
        console: Shows progress.

    Raises:
        UserError: The folder holds no run, another process works in it, or an override is not one
            of these keys.
    """
    from sdloop.manifest import update_manifest

    check_holds_run(folder)
    with claim(folder, "run folder"):
        run = open_run(folder, overrides, console)
        update_manifest(folder / MANIFEST_FILE, export_run(run, console))
        write_config(folder / CONFIG_FILE, run.config)
    console.close(folder)


def render_page(
    path: Path, folders: Sequence[Path], overrides: Sequence[str], console: Console
) -> None:
    """Show several runs in step on one page; their folders stay as they are.

    Args:
        path: The HTML file.
        folders: The runs' folders.
        overrides: As of `render`.
        console: Shows progress.

    Raises:
        UserError: As of `render`, or the page's folder cannot be written to.
    """
    from sdloop.export.page import write_page

    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--page {path}: must end in .html")
    check_writable(path.parent, "--page")
    runs = []
    for folder in folders:
        run = open_run(folder, overrides, console)
        runs.append(page_run(run, show(run, console)))
    with console.stage("page"):
        write_page(path, runs, SHOWN_KEYS)
    console.close(path)


def open_run(folder: Path, overrides: Sequence[str], console: Console) -> Sampled:
    """Read and check a run's folder, and load its VAE.

    Args:
        folder: A run's folder.
        overrides: `key=value`, of the keys that do not change the sampling.
        console: Times the loading.

    Returns:
        The run.

    Raises:
        UserError: The folder holds no run, or an override is not one of these keys.
    """
    from sdloop.model.find import find
    from sdloop.model.networks import load_vae
    from sdloop.wiring import resolve

    for override in overrides:
        key = override.partition("=")[0].partition(".")[0]
        if key not in RENDER_KEYS:
            raise UserError(
                f"{override}: render cannot change {key or 'this'}; allowed: "
                f"{', '.join(RENDER_KEYS)}"
            )
    check_holds_run(folder)
    config = load_config(folder / CONFIG_FILE, overrides)
    source = find(config.model, config.model_config_from)
    config, schedule = resolve(config, source)

    from sdloop.device import choose_device
    from sdloop.trajectory import Trajectory

    device, dtype = choose_device(config.device, config.dtype)
    assert config.height is not None  # resolve wrote the size out
    assert config.width is not None
    latent_size = (config.height // source.vae_factor, config.width // source.vae_factor)
    latents_shape = (len(schedule) + 1, source.latent_channels, *latent_size)
    trajectory = Trajectory.load(folder / TRAJECTORY_FILE, latents_shape)
    if trajectory.timesteps.tolist() != schedule.timesteps.tolist():
        raise UserError(f"{folder}: {TRAJECTORY_FILE} was not made with {CONFIG_FILE}'s scheduler")
    with console.stage("load"), collector_paused():
        vae = load_vae(source, device, dtype)
    return Sampled(folder, config, trajectory, schedule, vae)


def check_holds_run(folder: Path) -> None:
    """Raise a UserError if a folder holds no run."""
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(f"{folder}: holds no run (there is no {CONFIG_FILE})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sdloop.render", description="Make every export of saved runs again."
    )
    parser.add_argument("folders", nargs="+", metavar="RUN_FOLDER | key=value")
    parser.add_argument(
        "--page", type=Path, metavar="PAGE.html", help="show all these runs in step on one page"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_intermixed_args(arguments)
    overrides = [text for text in options.folders if "=" in text]
    folders = [Path(text) for text in options.folders if "=" not in text]

    def command() -> None:
        if not folders:
            raise UserError("no run folder given; for example: runs/astronaut")
        if options.page:
            render_page(options.page, folders, overrides, Console(options.quiet))
            return
        for folder in folders:
            render(folder, overrides, Console(options.quiet))

    return exit_code_of(command)


def program() -> NoReturn:
    """Run the command line as a process of its own."""
    leave(main())


if __name__ == "__main__":
    program()
