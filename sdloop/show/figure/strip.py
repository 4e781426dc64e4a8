"""A figure of a few stages of a run over their difference maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sdloop.machine.files import AnyPath, as_path
from sdloop.show.difference import DifferenceMaps, viridis
from sdloop.show.figure.figure import (
    INK,
    PALE_INK,
    ColorBar,
    color_bar_width,
    draw_color_bar,
    font_of,
    new_canvas,
    text_width,
    write_canvas,
)
from sdloop.show.film.gif import enlarge

ACCENT = (200, 85, 61)  # of the line where a run left another one
NARROWEST_COLUMN_PX = 120  # in a narrower one the labels would run into each other


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels."""

    column: int
    gap: int
    text: int

    @property
    def small(self) -> int:
        """Return the size of the smaller letters."""
        return max(9, round(self.text * 0.72))


def write_strip(
    path: AnyPath,
    images: NDArray[np.uint8],
    maps: DifferenceMaps[NDArray[Any]],
    stages: Sequence[int],
    scale: int = 1,
    color_bar: bool = False,
    marks: Sequence[str] = (),
    errors: Sequence[float] = (),
    comment: str = "",
    fork: int | None = None,
) -> None:
    """Draw the stages side by side, each over its difference map.

    Args:
        path: The PNG file.
        images: (frames, H, W, 3), uint8.
        maps: The differences of the frames, as NumPy arrays.
        stages: The steps to show, counted from 0: stage k is frame k + 1 over difference k.
        scale: Whole factor by which to enlarge small pictures.
        color_bar: Whether all maps share one scale, to draw once beside them.
        marks: A word for each step, such as `Table.marks`, to write beside its number.
        errors: Of each step's difference, root mean square in 8-bit levels, to write under its map
            unless it is 0.
        comment: A text to keep in the file.
        fork: The row at which the run left another one, whose steps are those before.
    """
    path = as_path(path, "path")
    height, width = (side * scale for side in images.shape[1:3])
    text = max(14, round(width / 15))
    layout = _Layout(max(width, NARROWEST_COLUMN_PX), max(6, width // 24), text)
    step = layout.column + layout.gap
    bar = ColorBar("0", f"{maps.full_scale[0]:.3g}", "of 255")
    notes = [
        _note(None if color_bar else maps.full_scale[stage], errors[stage] if errors else 0)
        for stage in stages
    ]
    bar_space = layout.gap + color_bar_width(layout.small, bar) if color_bar else 0
    top = layout.gap + round(1.7 * text)
    bottom = top + height + layout.gap
    line_px = round(1.9 * layout.small)
    foot = line_px * (any(notes) + (fork is not None))
    canvas, draw = new_canvas(
        layout.gap + len(stages) * step + bar_space, bottom + height + layout.gap + foot
    )
    for column, stage in enumerate(stages):
        left = layout.gap + column * step
        center = left + layout.column // 2
        inset = left + (layout.column - width) // 2
        mark = marks[stage] if marks else ""
        _write_label(draw, (center, top - text // 2), f"step {stage}", mark, layout)
        colored = viridis()[maps.indices[stage]]
        canvas.paste(Image.fromarray(enlarge(images[stage + 1], scale)), (inset, top))
        canvas.paste(Image.fromarray(enlarge(colored, scale)), (inset, bottom))
        below = (center, bottom + height + layout.small // 2)
        draw.text(below, notes[column], PALE_INK, font_of(layout.small), anchor="ma")
    if color_bar:
        left = layout.gap + len(stages) * step
        draw_color_bar(canvas, (left, bottom), height, layout.small, bar)
    if fork is not None:
        column = sum(stage < fork for stage in stages)
        left = layout.gap + column * step - layout.gap // 2
        _draw_fork(draw, left, bottom + height + foot, fork, layout)
    write_canvas(path, canvas, comment)


def _draw_fork(draw: ImageDraw.ImageDraw, x: int, bottom: int, row: int, layout: _Layout) -> None:
    """Draw a line between the other run's steps and the run's own, and say what it is."""
    draw.line((x, 0, x, bottom - layout.small), ACCENT, max(2, layout.gap // 3))
    words = f"left the other run at step {row}"
    half = text_width(words, layout.small) // 2 + 2
    center = min(max(x, half), draw.im.size[0] - half)
    draw.text((center, bottom - layout.small // 2), words, INK, font_of(layout.small), anchor="ma")


def _note(yellow: float | None, error: float) -> str:
    """Say what is yellow in a map, and how far its values may be off."""
    words = [] if yellow is None else [f"yellow = {yellow:.3g} of 255"]
    return " ".join(words + [f"± {error:.2g}"] * (error > 0))


def _write_label(
    draw: ImageDraw.ImageDraw, middle: tuple[int, int], label: str, mark: str, layout: _Layout
) -> None:
    """Write a stage's label over its column, and what sets the step apart behind it, smaller."""
    x, y = middle
    space = layout.small // 2 if mark else 0
    left = x - (text_width(label, layout.text) + space + text_width(mark, layout.small)) // 2
    draw.text((left, y), label, INK, font_of(layout.text), anchor="ls")
    beside = left + text_width(label, layout.text) + space
    draw.text((beside, y), mark, PALE_INK, font_of(layout.small), anchor="ls")
