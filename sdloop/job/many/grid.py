"""The page of a sweep: its runs laid out as on the contact sheets, under one scrubber."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING

from sdloop.job.config import SHOWN_KEYS
from sdloop.job.events import Listener, Warned
from sdloop.job.folder import PAGE_FILE
from sdloop.job.many.sides import sides_of
from sdloop.job.many.small_file import SMALL_FILE, load_small
from sdloop.job.many.sweep import GRID, Sweep
from sdloop.show.page.page import write_sweep_page
from sdloop.show.page.small import LARGEST_PX
from sdloop.show.page.sweep_data import Grid, SmallRun

if TYPE_CHECKING:
    from sdloop.job.plan import Plan

MOST_PIXELS = 2**24  # of all frames together: a browser takes 4 bytes for each, of three kinds
SMALLEST_PX = 32  # of a picture's longer side, to see anything


def write_grid(sweep: Sweep, plans: Sequence[Plan], files: Sequence[str], listen: Listener) -> None:
    """Write the page of all runs that left small pictures.

    Args:
        sweep: The sweep.
        plans: Its runs', in order.
        files: Names of the sweep's other files, to link to.
        listen: Is warned if there are too many runs for a page.

    Raises:
        UserError: A run's small pictures are damaged.
    """
    page = sweep.folder / PAGE_FILE
    there = [(plan.folder / SMALL_FILE).is_file() for plan in plans]
    found = [plan for plan, is_there in zip(plans, there, strict=True) if is_there]
    if GRID not in sweep.keep or not found:
        page.unlink(missing_ok=True)  # of an earlier call, which showed other runs
        return
    factor = _factor(found)
    if factor is None:
        page.unlink(missing_ok=True)
        listen(Warned(f"{page}: not made: {len(found)} runs are too many to see on one page"))
        return
    rows, columns, order = sides_of(sweep)
    runs = [
        _small_run(plan, factor) if is_there else None
        for plan, is_there in zip(plans, there, strict=True)
    ]
    whole = max(factor * _stored_factor(plan) for plan in found)
    cells = [[runs[index] for index in line] for line in order]
    grid = Grid(sweep.folder, rows, columns, cells, sweep.keys, whole, files)
    write_sweep_page(page, grid, SHOWN_KEYS)


def _factor(plans: Sequence[Plan]) -> int | None:
    """Return by how much stored pictures are to be made smaller; None if nothing can be seen."""
    sizes = [[side // _stored_factor(plan) for side in plan.size] for plan in plans]
    pixels = sum(
        (len(plan.table) + 1) * prod(size) for plan, size in zip(plans, sizes, strict=True)
    )
    factor = ceil(sqrt(pixels / MOST_PIXELS))
    smallest = min(max(size) for size in sizes)
    return factor if factor == 1 or smallest // factor >= SMALLEST_PX else None


def _stored_factor(plan: Plan) -> int:
    """Return by how much a run's stored pictures are smaller than its own."""
    return ceil(max(plan.size) / LARGEST_PX)


def _small_run(plan: Plan, factor: int) -> SmallRun:
    """Read a run's pictures, and gather what else the page shows of it."""
    page = plan.folder / PAGE_FILE
    return SmallRun(
        folder=plan.folder,
        size=plan.size,
        config=plan.config.model_dump(mode="json"),
        schedule=plan.table,
        stages=plan.stages,
        small=load_small(plan.folder / SMALL_FILE).smaller(factor),
        page=page if page.is_file() else None,
    )
