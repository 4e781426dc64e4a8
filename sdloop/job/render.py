"""Saved runs -> their exports again, without the UNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.job.config import RENDER_KEYS, SHOWN_KEYS, RunConfig, write_config
from sdloop.job.config_file import load_config
from sdloop.job.events import Listener, Noted, Stages, warn
from sdloop.job.folder import CONFIG_FILE, MANIFEST_FILE, TRAJECTORY_FILE, RunFiles
from sdloop.job.occupancy import occupy, remove_exports
from sdloop.job.plan import Plan, Prepared, prepare, settle
from sdloop.job.source import source_of
from sdloop.machine.documents import parse_json, read_file
from sdloop.machine.errors import UserError
from sdloop.machine.files import AnyPath, as_path, check_writable

if TYPE_CHECKING:
    from sdloop.job.decoders import Decoders
    from sdloop.sampler.trajectory import Trajectory
    from sdloop.show.page.page_data import PageRun


def render_run(folder: AnyPath, overrides: Sequence[str], listen: Listener = warn) -> None:
    """Make every export of a run again.

    Args:
        folder: A run's folder.
        overrides: `key=value` texts, for keys in RENDER_KEYS.
        listen: Gets every event.

    Raises:
        UserError: The folder holds no run, another process is working in it, or an override names
            another key.
    """
    from sdloop.job.manifest import update_manifest
    from sdloop.job.present import export_run

    stages, folder = Stages(listen), as_path(folder, "folder")
    _check_holds_run(folder)
    with occupy(folder, "run folder"):
        plan, trajectory, decoders = _open(folder, overrides, stages)
        shown = export_run(plan, folder, trajectory, decoders, stages)
        remove_exports(folder, but=RunFiles.of_config(folder, plan.config, len(plan.table)))
        update_manifest(folder / MANIFEST_FILE, shown)
        write_config(folder / CONFIG_FILE, plan.config)
    stages.finish(folder)


def render_page(
    path: AnyPath,
    folders: Sequence[AnyPath],
    overrides: Sequence[str],
    listen: Listener = warn,
) -> None:
    """Show several runs in step on one page; their folders stay as they are.

    Of two runs of equal shape the page also has the difference between them, and of two runs of one
    config it says where they part.

    Args:
        path: The HTML file.
        folders: The runs' folders.
        overrides: `key=value` texts, for keys in RENDER_KEYS.
        listen: Gets every event.

    Raises:
        UserError: A folder holds no run, an override names another key, or the page's folder
            cannot be written to.
    """
    from sdloop.job.parting import parting_words
    from sdloop.job.present import page_run, show
    from sdloop.show.between import Between
    from sdloop.show.page.page import write_page
    from sdloop.show.page.page_data import Comparison

    path = as_path(path, "path")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--page {path}: must end in .html")
    check_writable(path.parent, "--page")
    stages = Stages(listen)
    runs: list[PageRun] = []
    trajectories: list[Trajectory] = []
    between = None
    for folder in [as_path(each, "folders") for each in folders]:
        plan, trajectory, decoders = _open(folder, overrides, stages)
        watch = None
        if len(folders) == 2:
            between = between or Between(plan.config.difference.reduce)
            watch = between.compare if runs else between.keep
        shown = show(plan, trajectory, decoders, stages, watch)
        runs.append(page_run(plan, folder, shown))
        trajectories.append(trajectory)
    comparison = None
    if between is not None and between.values is not None:
        words = parting_words(*trajectories)
        if words is not None:
            listen(Noted(words))
        comparison = Comparison(between.values, words)
    with stages.stage("page"):
        write_page(path, runs, SHOWN_KEYS, comparison)
    stages.finish(path)


def _open(
    folder: Path, overrides: Sequence[str], stages: Stages
) -> tuple[Plan, Trajectory, Decoders]:
    """Read and check a run's folder, and load its decoders."""
    keys = [override.partition("=")[0].partition(".")[0] for override in overrides]
    for key, override in zip(keys, overrides, strict=True):
        if key not in RENDER_KEYS:
            raise UserError(
                f"{override}: render cannot change {key or 'this'}; allowed: "
                f"{', '.join(RENDER_KEYS)}"
            )
    _check_holds_run(folder)
    prepared = _prepare(load_config(folder / CONFIG_FILE, overrides))
    with stages.stage("import"):
        from sdloop.job.decoders import Decoders
        from sdloop.model.networks import load_vae
        from sdloop.model.tiny_source import fetch_tiny
        from sdloop.sampler.trajectory import Trajectory

        plan = settle(prepared)
    latents_shape = (len(plan.table) + 1, *plan.latent_shape)
    trajectory = Trajectory.load(folder / TRAJECTORY_FILE, latents_shape)
    if trajectory.timesteps.tolist() != plan.table.timesteps.tolist():
        raise UserError(f"{folder}: {TRAJECTORY_FILE} was not made with {CONFIG_FILE}'s scheduler")
    if "model" in keys or "vae" in keys:
        _check_vae(folder / MANIFEST_FILE, plan)
    if plan.tiny is not None:
        fetch_tiny(plan.tiny, lambda total: stages.stage("fetch", total, unit="B"))
    with stages.stage("load"):
        vae = load_vae(plan.source, plan.device, plan.dtype)
        decoders = Decoders.of_plan(plan, vae)
    return plan, trajectory, decoders


def _prepare(config: RunConfig) -> Prepared:
    """Prepare a saved run; where its model cannot be found, say how to name another place."""
    try:
        source = source_of(config)
    except UserError as error:
        raise UserError(f"{error}; if the model has moved, set model=<where it is>") from None
    return prepare(config, source)


def _check_vae(manifest: Path, plan: Plan) -> None:
    """Refuse a model whose VAE is not the one that the run was made with."""
    from sdloop.model.fetch import fetch_weights
    from sdloop.model.weight_files import hash_weights

    then = parse_json(read_file(manifest, str(manifest)), f"{manifest}:").get("weights_sha256", {})
    fetch_weights(plan.source, plan.half, ["vae"])
    for name, now in hash_weights(plan.source, plan.half, ["vae"]).items():
        if now not in then.values():
            raise UserError(
                f"model = {plan.config.model}: {name} is not the VAE that the run was made with"
            )


def _check_holds_run(folder: Path) -> None:
    """Raise a UserError if a folder holds no run."""
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(f"{folder}: holds no run (there is no {CONFIG_FILE})")
