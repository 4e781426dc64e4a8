"""The runs of a sweep -> the data of their page, on which they are laid out like a contact sheet.

web/sweep_data.js has the types of all this, field by field.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdloop.sampler.table import Table
from sdloop.show.difference import viridis
from sdloop.show.figure.sheet import Side
from sdloop.show.page.facts import run_facts
from sdloop.show.page.packing import LOSSLESS, QUALITIES, Packed, pack
from sdloop.show.page.small import Small, atlas_of
from sdloop.show.page.text import BASE64_GROWTH, href_to, in_base64, to_json

BEST_QUALITY = 90  # of WebP; small pictures are stored with no better
SWEEP_PAGE_BYTES = 19_000_000  # for the data; the page around them takes about 80,000


@dataclass(frozen=True)
class SmallRun:
    """A run as the page of its sweep shows it.

    Attributes:
        folder: The run's.
        size: Height and width of its own pictures, not of the small ones.
        config: Every value that was used, as plain values.
        schedule: The table that made the run.
        stages: The rows that are marked.
        small: Its pictures.
        page: Its own page; None if it has none.
    """

    folder: Path
    size: tuple[int, int]
    config: Mapping[str, Any]
    schedule: Table
    stages: Sequence[int]
    small: Small
    page: Path | None


@dataclass(frozen=True)
class Grid:
    """The runs of a sweep, in rows and columns.

    Attributes:
        folder: The sweep's.
        rows: What its rows stand for.
        columns: What its columns stand for.
        cells: One run by row and column; None where there is none.
        keys: The dotted config keys that are varied.
        factor: By how much the pictures are smaller than the runs' own.
        files: Names of files in `folder` to link to.
    """

    folder: Path
    rows: Side
    columns: Side
    cells: Sequence[Sequence[SmallRun | None]]
    keys: Sequence[str]
    factor: int
    files: Sequence[str] = ()

    @property
    def runs(self) -> list[SmallRun]:
        """List the runs that there are, row by row."""
        return [run for line in self.cells for run in line if run is not None]


def sweep_page_data(page: Path, grid: Grid, shown_keys: Collection[str]) -> dict[str, Any]:
    """Turn the runs of a sweep into what their page holds.

    Args:
        page: The HTML file; links lead from here to the runs' pages.
        grid: The runs; one at least.
        shown_keys: Top-level config keys that change no row, and so name no run.

    Returns:
        `SweepData` of web/sweep_data.js.
    """
    runs = grid.runs
    numbers = iter(range(len(runs)))
    words = {
        "rows": _side_data(grid.rows),
        "columns": _side_data(grid.columns),
        "cells": [[None if run is None else next(numbers) for run in line] for line in grid.cells],
        "keys": list(grid.keys),
        "factor": grid.factor,
        "files": [{"name": name, "href": href_to(page, grid.folder / name)} for name in grid.files],
        "viridis": viridis().tolist(),
        "shown_keys": sorted(shown_keys),
    }
    facts = [_run_facts(run, page) for run in runs]
    left_bytes = SWEEP_PAGE_BYTES - len(to_json(words)) - len(to_json(facts))
    packed = _pack(runs, int(left_bytes / BASE64_GROWTH))
    frames, differences, z0_hats = map(iter, packed.stacks)
    for run, fact in zip(runs, facts, strict=True):
        fact |= {"frames": in_base64(next(frames)), "differences": in_base64(next(differences))}
        fact["z0_hat"] = None if run.small.z0_hat is None else in_base64(next(z0_hats))
    return words | {"runs": facts, "quality": packed.quality}


def _pack(runs: Sequence[SmallRun], budget_bytes: int) -> Packed:
    """Compress every run's frames, differences and, where there are any, z0_hats."""
    smalls = [run.small for run in runs]
    stacks = (
        [one.frames for one in smalls],
        [one.differences for one in smalls],
        [one.z0_hat for one in smalls if one.z0_hat is not None],
    )
    atlases = [[atlas_of(pictures) for pictures in stack] for stack in stacks]
    qualities = [one for one in QUALITIES if one is not LOSSLESS and one <= BEST_QUALITY]
    return pack(atlases, budget_bytes, qualities)


def _run_facts(run: SmallRun, page: Path) -> dict[str, Any]:
    """List what the page holds of a run beside its pictures."""
    small, (height, width) = run.small, run.size
    size, has_z0_hat = small.frames.shape[1:3], small.z0_hat is not None
    return {
        "facts": run_facts(
            run.folder.name, run.config, run.schedule, size, run.stages, (), has_z0_hat
        ),
        "size": {"width": width, "height": height},
        "levels": noise_shares(run.schedule).tolist(),
        "peaks": [float(f"{peak:.5g}") for peak in small.peaks.tolist()],
        "page": None if run.page is None else href_to(page, run.page),
    }


def noise_shares(table: Table) -> NDArray[np.float64]:
    """Return each frame's noise level as the angle between signal and noise: 1 is noise alone.

    Args:
        table: The run's.

    Returns:
        (rows + 1,), 2 / pi atan(noise / signal).
    """
    signal = np.concatenate([table.signal_from[:1], table.signal_to])
    noise = np.concatenate([table.noise_from[:1], table.noise_to])
    return np.arctan2(noise, signal) / (np.pi / 2)


def _side_data(side: Side) -> dict[str, Any]:
    """Write a side's name and labels."""
    return {"name": side.name, "labels": list(side.labels)}
