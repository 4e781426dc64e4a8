"""A figure of a matrix as a heat map with labelled axes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdloop.show.figure.figure import (
    INK,
    PALE_INK,
    PAPER,
    ColorBar,
    color_bar_width,
    color_of,
    draw_color_bar,
    font_of,
    new_canvas,
    text_width,
    write_canvas,
)

CELL_PX = (36, 16)  # height, width
WIDEST_PX = 1200  # of the matrix; a long run gets narrower cells
TEXT_PX, SMALL_PX = 20, 15
TICKS = 10


def write_heat_map(
    path: Path,
    matrix: NDArray[np.floating],
    names: Sequence[str],
    marks: Sequence[int],
    heading: str,
    axes: tuple[str, str],
    bar_unit: str,
    comment: str = "",
) -> None:
    """Draw a matrix with its first line at the bottom and its rows, counted from 0, to the right.

    Args:
        path: The PNG file.
        matrix: (lines, rows), not negative; the largest value is yellow.
        names: The label of each line.
        marks: For each line, the row that gets a white tick.
        heading: One line that says what the figure shows.
        axes: What the lines are, and what the rows are.
        bar_unit: What the colours mean; the values are written as percentages.
        comment: A text to keep in the file.
    """
    lines, rows = matrix.shape
    high, wide = CELL_PX[0], max(2, min(CELL_PX[1], WIDEST_PX // rows))
    peak = float(matrix.max())
    bar = ColorBar("0", f"{peak:.1%}", bar_unit)
    left = TEXT_PX + max(text_width(name, SMALL_PX) for name in (*names, axes[0])) + SMALL_PX // 2
    top = 3 * TEXT_PX + 2 * SMALL_PX
    right, bottom = left + rows * wide, top + lines * high
    width = max(right + TEXT_PX + color_bar_width(SMALL_PX, bar), TEXT_PX + text_width(heading, 20))
    canvas, draw = new_canvas(width + TEXT_PX, bottom + 4 * SMALL_PX)
    draw.text((TEXT_PX, TEXT_PX), heading, INK, font_of(TEXT_PX), anchor="lt")

    cells = color_of(matrix[::-1] / (peak or 1))
    canvas.paste(Image.fromarray(cells.repeat(high, axis=0).repeat(wide, axis=1)), (left, top))
    small = font_of(SMALL_PX)
    draw.text((left - SMALL_PX // 2, top - SMALL_PX), axes[0], PALE_INK, small, anchor="rb")
    for line, (name, mark) in enumerate(zip(names, marks, strict=True)):
        middle = bottom - line * high - high // 2
        draw.text((left - SMALL_PX // 2, middle), name, INK, small, anchor="rm")
        x = left + mark * wide + wide // 2
        draw.line((x, middle - high // 4, x, middle + high // 4), PAPER, 3)
    every = max(1, round(rows / TICKS / 5) * 5)
    for row in range(0, rows, every):
        x = left + row * wide + wide // 2
        draw.line((x, bottom, x, bottom + SMALL_PX // 3), INK)
        draw.text((x, bottom + SMALL_PX // 2), str(row), INK, small, anchor="ma")
    draw.text(((left + right) // 2, bottom + 2 * SMALL_PX), axes[1], PALE_INK, small, anchor="ma")
    draw_color_bar(canvas, (right + TEXT_PX, top), bottom - top, SMALL_PX, bar)
    write_canvas(path, canvas, comment)
