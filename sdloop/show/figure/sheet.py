"""A contact sheet: one picture a run, rows and columns named by what sets the runs apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

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

TEXT_PX, SMALL_PX, GAP_PX = 20, 15, 6
PREFERRED_PX, SMALLEST_PX = 128, 16  # a cell's longer side
MOST_PIXELS = 2**26  # of all cells together
WIDEST_LABEL_PX = 220
TALLEST_BAR_PX = 400
MISSING = (225, 225, 225)


@dataclass(frozen=True)
class Side:
    """What a sheet's rows, or its columns, stand for.

    Attributes:
        name: Of all of them, such as "seed"; empty where there is one row without a name.
        labels: Of each.
    """

    name: str
    labels: tuple[str, ...]


def write_sheet(
    path: Path,
    cells: Sequence[Sequence[NDArray[np.uint8] | None]],
    heading: str,
    rows: Side,
    columns: Side,
    bar: ColorBar | None = None,
    captions: Sequence[Sequence[str]] | None = None,
    comment: str = "",
) -> None:
    """Draw pictures in rows and columns.

    Args:
        path: The PNG file.
        cells: uint8 (H, W, 3) each, by row and column; None where there is none, which is grey.
            Small ones are enlarged by a whole factor; very many are made smaller.
        heading: One line that says what the sheet shows.
        rows: What its rows stand for.
        columns: What its columns stand for.
        bar: What colours mean, where all cells share one scale.
        captions: A line below each picture, by row and column.
        comment: A text to keep in the file.
    """
    high, wide, factor = _cell_size(cells)
    font, small = font_of(TEXT_PX), font_of(SMALL_PX)
    beside = [_wrap(label, WIDEST_LABEL_PX, high) for label in rows.labels]
    above = [_wrap(label, wide, 6 * SMALL_PX) for label in columns.labels]
    label_px = max(text_width(line, SMALL_PX) for lines in [*beside, [rows.name]] for line in lines)
    left = 2 * GAP_PX + (label_px + 2 * GAP_PX if any(map(len, rows.labels)) else 0)
    line_px = round(1.25 * SMALL_PX)
    top = 4 * GAP_PX + TEXT_PX + line_px * (1 + max(map(len, above)))
    right = left + len(columns.labels) * (wide + GAP_PX)
    pitch = high + GAP_PX + (line_px + GAP_PX if captions else 0)  # from one row to the next
    bottom = top + len(rows.labels) * pitch
    bar_px = 2 * GAP_PX + color_bar_width(SMALL_PX, bar) if bar else 0
    width = max(right + bar_px, text_width(heading, TEXT_PX) + 2 * GAP_PX)
    canvas, draw = new_canvas(width + GAP_PX, bottom + GAP_PX)
    draw.text((GAP_PX, 2 * GAP_PX), heading, INK, font, anchor="lt")
    name_line = 3 * GAP_PX + TEXT_PX + line_px
    draw.text((left, name_line), columns.name, PALE_INK, small, anchor="ls")
    if rows.name:
        draw.text((left - 2 * GAP_PX, top - GAP_PX), rows.name, PALE_INK, small, anchor="rs")
    for column, lines in enumerate(above):
        center = left + column * (wide + GAP_PX) + wide // 2
        _draw_lines(draw, lines, center, name_line + line_px, "m")
    for row, (lines, line) in enumerate(zip(beside, cells, strict=True)):
        y = top + row * pitch
        middle = y + high // 2 - round((len(lines) / 2 - 0.8) * line_px)
        _draw_lines(draw, lines, left - 2 * GAP_PX, middle, "r")
        for column, cell in enumerate(line):
            x = left + column * (wide + GAP_PX)
            _paste(canvas, cell, (x, y), (wide, high), factor)
            if captions:
                caption = _shorten(captions[row][column], wide)
                _draw_lines(draw, [caption], x + wide // 2, y + high + SMALL_PX, "m")
    if bar:
        height = min(bottom - GAP_PX - top, TALLEST_BAR_PX)
        draw_color_bar(canvas, (right + GAP_PX, top), height, SMALL_PX, bar)
    write_canvas(path, canvas, comment)


def _cell_size(
    cells: Sequence[Sequence[NDArray[np.uint8] | None]],
) -> tuple[int, int, float]:
    """Return the cells' height and width in pixels, and the factor that brings pictures there."""
    shapes = [cell.shape[:2] for line in cells for cell in line if cell is not None]
    high, wide = (max(sides) for sides in zip(*shapes, strict=True))
    factor: float = max(1, round(PREFERRED_PX / max(high, wide)))
    count = len(cells) * len(cells[0])
    if count * high * wide * factor**2 > MOST_PIXELS:
        factor = max((MOST_PIXELS / (count * high * wide)) ** 0.5, SMALLEST_PX / max(high, wide))
    return max(1, int(high * factor)), max(1, int(wide * factor)), factor


def _paste(
    canvas: Image.Image,
    cell: NDArray[np.uint8] | None,
    corner: tuple[int, int],
    size: tuple[int, int],
    factor: float,
) -> None:
    """Lay a picture into the middle of its cell; a grey field where there is none."""
    left, top = corner
    wide, high = size
    if cell is None:
        draw = ImageDraw.Draw(canvas)
        draw.rectangle((left, top, left + wide - 1, top + high - 1), MISSING)
        middle = (left + wide // 2, top + high // 2)
        draw.text(middle, "missing", PALE_INK, font_of(SMALL_PX), anchor="mm")
        return
    picture = Image.fromarray(cell)
    if factor != 1:
        scaled = (max(1, int(picture.width * factor)), max(1, int(picture.height * factor)))
        way = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
        picture = picture.resize(scaled, way)
    canvas.paste(picture, (left + (wide - picture.width) // 2, top + (high - picture.height) // 2))


def _draw_lines(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], x: int, baseline: int, align: str
) -> None:
    """Draw lines of a label, the first one on a baseline."""
    for number, line in enumerate(lines):
        y = baseline + number * round(1.25 * SMALL_PX)
        draw.text((x, y), line, INK, font_of(SMALL_PX), anchor=f"{align}s")


def _wrap(label: str, wide: int, high: int) -> list[str]:
    """Break a label into lines that fit, and end it by an ellipsis where there is no more room."""
    most = max(1, high // round(1.25 * SMALL_PX))
    lines: list[str] = []
    for word in label.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, SMALL_PX) <= wide:
            lines[-1] = joined
        else:
            lines.append(word)
    cut = len(lines) > most
    lines = lines[:most] or [""]
    if cut:
        lines[-1] += "…"
    return [_shorten(line, wide) for line in lines]


def _shorten(line: str, wide: int) -> str:
    """Cut a line that is too wide by itself, such as one long word."""
    if text_width(line, SMALL_PX) <= wide:
        return line
    while len(line) > 1 and text_width(f"{line}…", SMALL_PX) > wide:
        line = line[:-1]
    return f"{line}…"
