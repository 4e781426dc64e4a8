"""Every measure of a run: columns with a number for each step, facts about the whole run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdloop.show.measure.commitment import Commitment, measure_commitment
from sdloop.show.measure.drive import Drive, split_steps
from sdloop.show.measure.frequency import FrequencyTimeline
from sdloop.show.measure.layout import object_mask
from sdloop.show.measure.path import LatentPath, measure_path
from sdloop.show.measure.placement import Placement, measure_placement
from sdloop.show.measure.steps import StepMeasures, measure_steps
from sdloop.show.measure.words import WordMeasures, measure_words

if TYPE_CHECKING:
    from torch import Tensor

    from sdloop.sampler.table import Table
    from sdloop.sampler.trajectory import Trajectory
    from sdloop.show.changes import Changes


@dataclass(frozen=True)
class RunMeasures:
    """All measures of a run; each part says what its numbers mean.

    `table` is the one that made the run; `words` is None where no attention was kept.
    """

    table: Table
    steps: StepMeasures
    drive: Drive
    commitment: Commitment
    frequency: FrequencyTimeline
    placement: Placement
    path: LatentPath
    words: WordMeasures | None = None

    def columns(self) -> dict[str, NDArray[np.number]]:
        """Return a number for each step: name -> (rows,), in the order of steps.csv."""
        placement = {name: value for name, value in vars(self.placement).items() if name != "area"}
        bands = zip(self.frequency.names, self.frequency.energy, strict=True)
        return {
            **{field.name: getattr(self.steps, field.name) for field in fields(self.steps)},
            **{f"{part}_part_rms": rms for part, rms in self.drive.rms().items()},
            **{f"{part}_part_share": share for part, share in self.drive.shares().items()},
            "settled_share": self.commitment.curve[1:],
            **placement,
            "path_noise": self.path.noise[1:],
            "path_picture": self.path.picture[1:],
            "path_off_rms": self.path.off_rms[1:],
            **{f"energy_{name.replace(' ', '_')}": energy for name, energy in bands},
            **({} if self.words is None else self.words.columns()),
            "base_frame": self.table.base,
            "tries": self.table.tries.astype(np.int64),
            "corrects": (self.table.retakes | self.table.corrects).astype(np.int64),
        }

    def facts(self) -> dict[str, Any]:
        """Return what holds for the whole run, as plain values for JSON.

        Steps and rows count from 0; `settled_90_step` is None if no step was needed.
        """
        half_rows = self.frequency.half_rows().tolist()
        return {
            "settled": self.commitment.sentence(),
            "settled_90_step": self.commitment.step_of(0.9),
            "object_area": round(self.placement.area, 4),
            "half_energy_row": dict(zip(self.frequency.names, half_rows, strict=True)),
            "path_in_plane": round(self.path.in_plane, 4),
        }


def measure_run(
    trajectory: Trajectory,
    table: Table,
    guidance_scale: float | Tensor,
    changes: Changes,
    mask: NDArray[np.bool_] | None = None,
    tolerance: int = 8,
) -> RunMeasures:
    """Take every measure of a run.

    Args:
        trajectory: The run's latents, N rows.
        table: The table that made them.
        guidance_scale: The run's s; (rows, 1, 1, 1) if rows differ.
        changes: Of its N + 1 decoded frames, on any device.
        mask: bool (H, W), the object; None guesses it from the last frame.
        tolerance: How far a settled pixel may be from its final colour, in 8-bit levels.

    Returns:
        All measures, on the CPU.
    """
    final = changes.final
    on_object = object_mask(final) if mask is None else torch.from_numpy(mask).to(final.device)
    return RunMeasures(
        table,
        measure_steps(trajectory, table, changes.values),
        split_steps(
            trajectory.latents,
            trajectory.guidance,
            table,
            guidance_scale,
            trajectory.noise(table),
            trajectory.guidance_factor,
        ),
        measure_commitment(changes.images, tolerance),
        changes.frequency(),
        measure_placement(changes.values, final, on_object),
        measure_path(trajectory.latents, table),
        measure_words(trajectory.captured, trajectory.words, changes.values)
        if trajectory.captured and trajectory.words
        else None,
    )
