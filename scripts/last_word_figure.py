"""The figure of scripts/last_word.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

from sdloop.machine.files import replacing

matplotlib.use("agg")
from matplotlib import pyplot

if TYPE_CHECKING:
    from last_word import Forked

SHOWN_EVERY = 4  # frames from one picture to the next
WIDTH_INCHES, BAND_INCHES, DPI = 9.4, 2.0, 100
HEAD_INCHES, FOOT_INCHES = 0.6, 0.2
LEFT, RIGHT = 0.06, 0.985
INK, PALE, OLD, NEW = "#181818", "#6e6e6e", "#2a6fbb", "#c2571a"


def write_figure(path: Path, all_forked: Sequence[Forked]) -> None:
    """Draw, for each pair of prompts, the forks' last pictures over their distances.

    Args:
        path: The PNG file.
        all_forked: One for each pair.
    """
    height = HEAD_INCHES + BAND_INCHES * len(all_forked) + FOOT_INCHES
    figure = pyplot.figure(figsize=(WIDTH_INCHES, height), dpi=DPI)
    figure.text(LEFT, 1 - 0.2 / height, "Until when a new word still changes the picture",
                fontsize=14, color=INK, va="center")  # fmt: skip
    said = ("Each picture is the end of a run that left another one at this step, with the new "
            "prompt; the last never left.")  # fmt: skip
    figure.text(LEFT, 1 - 0.45 / height, said, fontsize=9, color=PALE, va="center")
    for number, forked in enumerate(all_forked):
        top = 1 - (HEAD_INCHES + BAND_INCHES * number) / height
        _draw_band(figure, forked, top, height, number == 0, number == len(all_forked) - 1)
    with replacing(path) as temporary, temporary.open("wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
    pyplot.close(figure)


def _draw_band(
    figure: pyplot.Figure, forked: Forked, top: float, height: float, is_first: bool, is_last: bool
) -> None:
    """Draw one pair: its prompts, its pictures, the two distances over the same axis."""
    end = forked.frames[-1]
    shown = [*range(0, end - 1, SHOWN_EVERY), end]
    low, high = -SHOWN_EVERY / 2, shown[-2] + 1.7 * SHOWN_EVERY  # the last stands apart
    axes = figure.add_axes((LEFT, top - 1.75 / height, RIGHT - LEFT, 0.72 / height))
    axes.set_xlim(low, high)
    side = (RIGHT - LEFT) / (high - low) * SHOWN_EVERY * 0.97
    side_high = side * WIDTH_INCHES / height
    old, new = forked.prompts
    text_y = top - 0.13 / height
    figure.text(LEFT, text_y, f"“{old}”  →  “{new}”", fontsize=9.5, color=INK, va="center")
    last = f"nearer the new picture up to step {forked.last_word}"
    figure.text(RIGHT, text_y, last, fontsize=9.5, color=NEW, va="center", ha="right")
    for frame in shown:
        at = frame if frame != end else shown[-2] + 1.2 * SHOWN_EVERY
        center = LEFT + (RIGHT - LEFT) * (at - low) / (high - low)
        box = (center - side / 2, top - 0.25 / height - side_high, side, side_high)
        picture = figure.add_axes(box)
        picture.imshow(forked.pictures[forked.frames.index(frame)], interpolation="lanczos")
        picture.set_axis_off()
    frames = forked.frames[:-1]
    axes.plot(frames, forked.to_old[:-1], color=OLD, linewidth=1.8, label="to the run it left")
    axes.plot(frames, forked.to_new[:-1], color=NEW, linewidth=1.8, label="to the new prompt's own")
    axes.axvline(forked.last_word, color=PALE, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_ylim(0, None)
    axes.set_xticks(shown[:-1], [str(frame) for frame in shown[:-1]] if is_last else [])
    axes.tick_params(labelsize=8.5, colors=PALE, length=2)
    axes.locator_params(axis="y", nbins=3)
    for side_name in ("top", "right"):
        axes.spines[side_name].set_visible(False)
    if is_last:
        axes.set_xlabel("step at which the fork leaves", fontsize=9, color=INK)
    if is_first:
        axes.legend(loc="center left", fontsize=8.5, frameon=False,
                    title="RMS distance of the picture, of 255", title_fontsize=8.5)  # fmt: skip
