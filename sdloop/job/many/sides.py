"""How the runs of a sweep are laid out in rows and columns, on contact sheets and on its page."""

from __future__ import annotations

from sdloop.job.many.axes import places_of, short_keys
from sdloop.job.many.sweep import Sweep
from sdloop.show.figure.sheet import Side


def sides_of(sweep: Sweep) -> tuple[Side, Side, list[list[int]]]:
    """Lay the runs out: one axis across, all others down.

    Args:
        sweep: The sweep.

    Returns:
        What the rows and the columns stand for, and the index of the run in each cell.
    """
    across = sweep.axes[sweep.columns]
    down = [axis for index, axis in enumerate(sweep.axes) if index != sweep.columns]
    short = short_keys(sweep.keys)
    columns = Side(short[across.name], tuple(across.labels()))
    places = places_of(down)
    labels = [
        " · ".join(axis.labels()[at] for axis, at in zip(down, place, strict=True))
        for place in places
    ]
    rows = Side(" · ".join(short[axis.name] for axis in down), tuple(labels))
    index_of = {run.place: index for index, run in enumerate(sweep.runs)}
    order = []
    for place in places:
        before, after = place[: sweep.columns], place[sweep.columns :]
        order.append([index_of[(*before, at, *after)] for at in range(len(across.values))])
    return rows, columns, order
