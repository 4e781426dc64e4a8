"""What a run of a sweep leaves in its folder, and whether that exists already."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdloop.job.config import write_config
from sdloop.job.folder import CONFIG_FILE, MANIFEST_FILE, TRAJECTORY_FILE, RunFiles
from sdloop.job.many.small_file import SMALL_FILE, save_small
from sdloop.job.many.summary import SUMMARY_FILE, Summary
from sdloop.job.many.sweep import GRID
from sdloop.job.occupancy import clear, holds_config, occupy

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from sdloop.job.events import Stages
    from sdloop.job.plan import Plan, Prepared
    from sdloop.sampler.trajectory import Trajectory


@dataclass(frozen=True)
class Made:
    """A sampled run, and what its manifest says about how it was sampled.

    Attributes:
        plan: The run's.
        trajectory: What it captured.
        denoise_ms: Its share of the time of the shared calls.
        together: How many runs shared these calls.
        made_with: What `manifest.made_with` returned.
    """

    plan: Plan
    trajectory: Trajectory
    denoise_ms: float
    together: int
    made_with: Mapping[str, Any]


def files_of(plan: Prepared, keep: Collection[str]) -> list[Path]:
    """Name every file that a run leaves.

    Args:
        plan: The run's.
        keep: Which of KEEPS it leaves.

    Returns:
        Their paths, first those of the files that every run leaves.
    """
    names = [CONFIG_FILE, MANIFEST_FILE, SUMMARY_FILE]
    names += [TRAJECTORY_FILE] * ("trajectory" in keep)
    names += [SMALL_FILE] * (GRID in keep)
    shown = RunFiles.of_config(plan.folder, plan.config, len(plan.table), keep)
    return [*(plan.folder / name for name in names), *shown.all]


def decodes_z0_hat(plan: Prepared, keep: Collection[str]) -> bool:
    """Tell whether a run decodes z0_hat, which only pages show and takes half of the decoding."""
    return plan.config.decode.z0_hat != "off" and ("page" in keep or GRID in keep)


def is_finished(plan: Plan, keep: Collection[str]) -> bool:
    """Tell whether a run's folder holds this run, with all the files it is to leave."""
    return holds_config(plan.folder, plan.config) and all(
        path.is_file() for path in files_of(plan, keep)
    )


def write_run(made: Made, vae: AutoencoderKL, keep: Collection[str], stages: Stages) -> Summary:
    """Decode a run and write what is kept of it, its manifest last.

    Args:
        made: The run.
        vae: The model's.
        keep: Which of KEEPS it leaves.
        stages: Report events and times.

    Returns:
        The run's summary.
    """
    from sdloop.job.decoders import Decoders
    from sdloop.job.manifest import write_manifest
    from sdloop.job.present import export_shown, show
    from sdloop.show.page.small import Small

    plan, folder = made.plan, made.plan.folder
    lean = plan
    if not decodes_z0_hat(plan, keep):
        decode = plan.config.decode.model_copy(update={"z0_hat": "off"})
        config = plan.config.model_copy(update={"decode": decode})
        lean = replace(plan, config=config, tiny=None)
    with occupy(folder):
        shown = show(lean, made.trajectory, Decoders.of_plan(lean, vae), stages)
        clear(folder)
        drop_numbers(folder)
        write_config(folder / CONFIG_FILE, plan.config)
        if "trajectory" in keep:
            made.trajectory.save(folder / TRAJECTORY_FILE)
        export_shown(plan, folder, shown, stages, keep)
        if GRID in keep:
            small = Small.of(shown.images, shown.maps.values, shown.z0_hat)
            save_small(folder / SMALL_FILE, small)
        summary = Summary.of_run(plan, shown)
        summary.save(folder / SUMMARY_FILE)
        times = {"denoise": made.denoise_ms, **stages.timings_ms}
        facts = {**made.made_with, "walked_together": made.together}
        write_manifest(folder / MANIFEST_FILE, plan, facts, times, shown)
    return summary


def drop_numbers(folder: Path) -> None:
    """Remove what a sweep's report takes from a run, so that it takes none of another config's."""
    for name in (SUMMARY_FILE, SMALL_FILE):
        (folder / name).unlink(missing_ok=True)
