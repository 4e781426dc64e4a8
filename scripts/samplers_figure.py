"""The chart and the sheet of scripts/samplers.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np

from sdloop.job.many.summary import Summary
from sdloop.machine.files import replacing
from sdloop.show.figure.figure import ColorBar, color_of
from sdloop.show.figure.sheet import Side, write_sheet

matplotlib.use("agg")
from matplotlib import pyplot

MIDWAY = 2  # of the five stages of a summary
COLORS = {1: "#888888", 2: "#2a6fbb", 3: "#c2571a", 4: "#7a3e9d"}  # by order
SIZE_INCHES, DPI = (10.4, 6.6), 110
LABEL_GAP = 0.030  # between two labels, as a share of the axes' height
LABEL_X = 1.05  # of the axes' width
INK, PALE = "#181818", "#6e6e6e"


@dataclass(frozen=True)
class Line:
    """A line of the chart.

    Attributes:
        names: The methods that it stands for.
        order: That they ran with; UniPC's correction adds one.
        calls: Of the network.
        distances: To the solution, relative.
        plain: Whether they take the trained levels, as they know no others.
    """

    names: tuple[str, ...]
    order: int
    calls: list[int]
    distances: list[float]
    plain: bool


def write_chart(path: Path, lines: Sequence[Line]) -> None:
    """Draw distances over calls, both in powers of ten.

    Args:
        path: The PNG file.
        lines: Their labels stand to the right, by where they end.
    """
    figure, axes = pyplot.subplots(figsize=SIZE_INCHES, dpi=DPI)
    figure.subplots_adjust(left=0.07, right=0.66, top=0.865, bottom=0.085)
    for line in lines:
        style = (0, (4, 2)) if line.plain else "-"
        axes.plot(
            line.calls, line.distances, linestyle=style, color=COLORS[line.order], linewidth=1.6,
            marker="o", markersize=3.5,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = [5, 10, 20, 50, 100]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(4.6, 106)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("calls of the network", color=INK)
    _write_labels(axes, lines)
    figure.text(0.02, 0.965, "How far off each sampler ends", fontsize=14, color=INK, va="top")
    said = "RMS distance of the last latent to the solution of 1,000 steps, over the solution's RMS"
    figure.text(0.02, 0.92, said, fontsize=9.5, color=PALE, va="top")
    _write_legend(axes, lines)
    with replacing(path) as temporary, temporary.open("wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
    pyplot.close(figure)


def _write_legend(axes: pyplot.Axes, lines: Sequence[Line]) -> None:
    """Say what the colours and the dashes mean."""
    orders = sorted({line.order for line in lines})
    words = {1: "first", 2: "second", 3: "third", 4: "fourth"}
    entries = [(f"{words[order]} order", COLORS[order], "-") for order in orders]
    if any(line.plain for line in lines):
        entries.append(("trained levels; else Karras'", PALE, "--"))
    handles = [
        matplotlib.lines.Line2D([], [], color=color, linestyle=style) for _, color, style in entries
    ]
    axes.legend(
        handles, [text for text, _, _ in entries], loc="lower left", frameon=False, fontsize=9.5
    )


def _write_labels(axes: pyplot.Axes, lines: Sequence[Line]) -> None:
    """Write each line's names to the right of the axes, apart from each other."""
    low, high = np.log(axes.get_ylim())
    ends = np.array([(np.log(line.distances[-1]) - low) / (high - low) for line in lines])
    order = np.argsort(-ends)
    heights = ends.copy()
    for _ in range(500):  # push neighbours apart, half each, until none touch; none leaves the axes
        moved = False
        for above, below in pairwise(order):
            lack = LABEL_GAP - (heights[above] - heights[below])
            if lack > 1e-6:
                heights[above] += lack / 2
                heights[below] -= lack / 2
                moved = True
        heights = heights.clip(0, 1)
        if not moved:
            break
    shares = axes.get_yaxis_transform()
    for line, height in zip(lines, heights, strict=True):
        y = float(np.exp(low + height * (high - low)))
        axes.annotate(
            "", xy=(line.calls[-1], line.distances[-1]), xytext=(LABEL_X - 0.01, y),
            textcoords=shares, arrowprops={"arrowstyle": "-", "color": "#c9c9c9", "linewidth": 0.7},
            annotation_clip=False, zorder=0,
        )  # fmt: skip
        axes.text(
            LABEL_X, y, ", ".join(line.names), transform=shares, color=COLORS[line.order],
            fontsize=9.5, va="center",
        )  # fmt: skip


def write_pictures(
    path: Path, names: Sequence[str], steps: Sequence[int], summaries: Sequence[Summary]
) -> None:
    """Draw every run's last frame, and beside these its difference map mid-way.

    Args:
        path: The PNG file.
        names: Of the methods, a row each.
        steps: The columns.
        summaries: Of the runs, those of the first number of steps first.
    """
    maps = [one.differences[min(MIDWAY, len(one.stages) - 1)] for one in summaries]
    peak = max(float(each.max()) for each in maps)
    cells = [
        [
            *(summaries[run].final for run in range(row, len(summaries), len(names))),
            *(
                color_of(maps[run].astype(np.float32) / (peak or 1))
                for run in range(row, len(summaries), len(names))
            ),
        ]
        for row in range(len(names))
    ]
    columns = (*(str(count) for count in steps), *(f"{count}, mid-way" for count in steps))
    heading = "The last frame of each sampler, and its difference map mid-way"
    bar = ColorBar("0", f"{peak:.0f}", "of 255")
    write_sheet(path, cells, heading, Side("", tuple(names)), Side("steps", columns), bar)
