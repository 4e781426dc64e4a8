"""The run that a fork left, to be shown beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.job.config import SHOWN_KEYS, model_of
from sdloop.job.config_file import load_config
from sdloop.job.folder import CONFIG_FILE
from sdloop.job.plan import Plan, prepare, settle
from sdloop.job.source import source_of
from sdloop.machine.files import expanded

if TYPE_CHECKING:
    from sdloop.job.decoders import Decoders
    from sdloop.job.events import Stages
    from sdloop.sampler.trajectory import Trajectory


@dataclass(frozen=True)
class Origin:
    """A run that another one left.

    Attributes:
        plan: Its plan, but decoded and drawn as the other one.
        folder: Where it is.
        trajectory: What it captured.
        decoders: Its plan's.
    """

    plan: Plan
    folder: Path
    trajectory: Trajectory
    decoders: Decoders


def origin_of(plan: Plan, decoders: Decoders, stages: Stages) -> Origin | None:
    """Open the run that a fork left.

    Args:
        plan: The fork's, or that of a run that starts from noise.
        decoders: The fork's.
        stages: Report events and times.

    Returns:
        The origin; None if the run left none, or one that was stopped.

    Raises:
        UserError: It cannot be opened, or is no longer what the fork left.
    """
    from sdloop.job.decoders import Decoders
    from sdloop.job.start import Fork
    from sdloop.model.networks import load_vae

    if plan.config.start.run is None:
        return None
    trajectory = Fork.open(plan).origin
    if len(trajectory.z0_hat) < len(plan.table):
        return None
    folder = expanded(plan.config.start.run, "start.run")
    as_fork = {key: getattr(plan.config, key) for key in (*SHOWN_KEYS, "device", "dtype")}
    config = load_config(folder / CONFIG_FILE).model_copy(update=as_fork)
    same_model = model_of(config) == model_of(plan.config)
    source = plan.source if same_model else source_of(config)
    theirs = settle(prepare(config, source))
    if same_model:
        return Origin(theirs, folder, trajectory, decoders)
    with stages.stage("load"):
        vae = load_vae(theirs.source, theirs.device, theirs.dtype)
        return Origin(theirs, folder, trajectory, Decoders.of_plan(theirs, vae))
