"""Saved runs -> their exports again, without the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.job.config import RENDER_KEYS, SHOWN_KEYS, load_config, write_config
from sdloop.job.events import Listener, Stages, warn
from sdloop.job.folder import CONFIG_FILE, MANIFEST_FILE, TRAJECTORY_FILE, RunFiles
from sdloop.job.occupancy import occupy, remove_exports
from sdloop.job.plan import Plan, prepare, settle
from sdloop.machine.errors import UserError
from sdloop.machine.files import check_writable

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from sdloop.sampler.trajectory import Trajectory


def render_run(folder: str | Path, overrides: Sequence[str], listen: Listener = warn) -> None:
    """Make every export of a run again.

    Args:
        folder: A run's folder.
        overrides: `key=value`, of the keys that do not change the sampling.
        listen: Gets every event.

    Raises:
        UserError: The folder holds no run, another process works in it, or an override is not one
            of these keys.
    """
    from sdloop.job.manifest import update_manifest
    from sdloop.job.present import export_run

    stages, folder = Stages(listen), Path(folder)
    _check_holds_run(folder)
    with occupy(folder, "run folder"):
        plan, trajectory, vae = _open(folder, overrides, stages)
        shown = export_run(plan, folder, trajectory, vae, stages)
        remove_exports(folder, but=RunFiles.of_config(folder, plan.config, len(plan.table)))
        update_manifest(folder / MANIFEST_FILE, shown)
        write_config(folder / CONFIG_FILE, plan.config)
    stages.finish(folder)


def render_page(
    path: str | Path,
    folders: Sequence[str | Path],
    overrides: Sequence[str],
    listen: Listener = warn,
) -> None:
    """Show several runs in step on one page; their folders stay as they are.

    Args:
        path: The HTML file.
        folders: The runs' folders.
        overrides: As of `render_run`.
        listen: Gets every event.

    Raises:
        UserError: As of `render_run`, or the page's folder cannot be written to.
    """
    from sdloop.job.present import page_run, show
    from sdloop.show.page.page import write_page

    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--page {path}: must end in .html")
    check_writable(path.parent, "--page")
    stages, runs = Stages(listen), []
    for folder in map(Path, folders):
        plan, trajectory, vae = _open(folder, overrides, stages)
        runs.append(page_run(plan, folder, show(plan, trajectory, vae, stages)))
    with stages.stage("page"):
        write_page(path, runs, SHOWN_KEYS)
    stages.finish(path)


def _open(
    folder: Path, overrides: Sequence[str], stages: Stages
) -> tuple[Plan, Trajectory, AutoencoderKL]:
    """Read and check a run's folder, and load its VAE."""
    for override in overrides:
        key = override.partition("=")[0].partition(".")[0]
        if key not in RENDER_KEYS:
            raise UserError(
                f"{override}: render cannot change {key or 'this'}; allowed: "
                f"{', '.join(RENDER_KEYS)}"
            )
    _check_holds_run(folder)
    prepared = prepare(load_config(folder / CONFIG_FILE, overrides))
    with stages.stage("import"):
        from sdloop.model.networks import load_vae
        from sdloop.sampler.trajectory import Trajectory

        plan = settle(prepared)
    latents_shape = (len(plan.table) + 1, *plan.latent_shape)
    trajectory = Trajectory.load(folder / TRAJECTORY_FILE, latents_shape)
    if trajectory.timesteps.tolist() != plan.table.timesteps.tolist():
        raise UserError(f"{folder}: {TRAJECTORY_FILE} was not made with {CONFIG_FILE}'s scheduler")
    with stages.stage("load"):
        vae = load_vae(plan.source, plan.device, plan.dtype)
    return plan, trajectory, vae


def _check_holds_run(folder: Path) -> None:
    """Raise a UserError if a folder holds no run."""
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(f"{folder}: holds no run (there is no {CONFIG_FILE})")
