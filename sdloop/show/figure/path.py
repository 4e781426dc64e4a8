"""A figure of the latents' path in the plane of the noise and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

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

if TYPE_CHECKING:
    from sdloop.show.measure.path import LatentPath

SIDE_PX, MARGIN_PX = 460, 24
TEXT_PX, SMALL_PX = 20, 15
DOT_PX, LINE_PX = 5, 2  # radius, width
FINER = 4  # the plot is drawn larger and reduced, as Pillow draws no smooth lines
GRID_INK, PATH_INK = (228, 228, 228), (150, 150, 150)
LEAST_SPAN = (0.0, 1.0)  # of both axes


def write_path(path: Path, measured: LatentPath, stages: Sequence[int], comment: str = "") -> None:
    """Draw every frame as a dot, coloured by its distance from the plane.

    Args:
        path: The PNG file.
        measured: The run's path.
        stages: The steps to label, counted from 0: step k leads to frame k + 1.
        comment: A text to keep in the file.
    """
    heading = "The latents' path from the noise to the picture"
    peak = float(measured.off_rms.max())
    bar = ColorBar("0", f"{peak:.2g}", "RMS off the plane")
    left, top = MARGIN_PX + 3 * SMALL_PX, MARGIN_PX + 3 * TEXT_PX + SMALL_PX
    right, bottom = left + SIDE_PX, top + SIDE_PX
    sentence = f"{measured.sentence()}."
    width = max(
        right + MARGIN_PX + color_bar_width(SMALL_PX, bar), left + text_width(sentence, SMALL_PX)
    )
    canvas, draw = new_canvas(width + MARGIN_PX, bottom + 4 * SMALL_PX + MARGIN_PX)
    draw.text((MARGIN_PX, MARGIN_PX), heading, INK, font_of(TEXT_PX), anchor="lt")
    below = MARGIN_PX + round(1.6 * TEXT_PX)
    draw.text((MARGIN_PX, below), sentence, PALE_INK, font_of(SMALL_PX), anchor="lt")

    low, high = _span(measured)
    plot = _Plot(low, high)
    plot.curve(measured.straight_picture, measured.straight_noise, GRID_INK, 2 * LINE_PX)
    plot.curve(measured.picture, measured.noise, PATH_INK, LINE_PX)
    plot.dots(measured.picture, measured.noise, color_of(measured.off_rms / (peak or 1)))
    canvas.paste(plot.image(), (left, top))

    _write_axes(draw, (left, top), (low, high))
    for stage in stages:
        x, y = plot.place(measured.picture[stage + 1], measured.noise[stage + 1])
        beside = (left + x - 2 * DOT_PX, top + y + DOT_PX)
        draw.text(beside, f"step {stage}", INK, font_of(SMALL_PX), anchor="ra")
    draw_color_bar(canvas, (right + MARGIN_PX, top), SIDE_PX, SMALL_PX, bar)
    write_canvas(path, canvas, comment)


def _span(measured: LatentPath) -> tuple[float, float]:
    """Return the ends of both axes: 0 and 1, wider where the path goes beyond, and a margin."""
    shares = np.concatenate([measured.noise, measured.picture, LEAST_SPAN])
    low, high = float(shares.min()), float(shares.max())
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _write_axes(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], span: tuple[float, float]
) -> None:
    """Write what the axes are, and where 0 and 1 are."""
    left, top = corner
    bottom, small = top + SIDE_PX, font_of(SMALL_PX)
    for value in LEAST_SPAN:
        along = round((value - span[0]) / (span[1] - span[0]) * SIDE_PX)
        draw.text((left + along, bottom + SMALL_PX // 2), f"{value:g}", INK, small, anchor="ma")
        draw.text((left - SMALL_PX // 2, bottom - along), f"{value:g}", INK, small, anchor="rm")
    middle = left + SIDE_PX // 2
    words = "share of the last frame: the picture"
    draw.text((middle, bottom + 2 * SMALL_PX), words, PALE_INK, small, anchor="ma")
    straight = "pale: as if the model had foretold the last frame from the first step on"
    draw.text((middle, bottom + round(3.4 * SMALL_PX)), straight, PALE_INK, small, anchor="ma")
    words = "share of the first frame: the noise"
    draw.text((left, top - SMALL_PX // 2), words, PALE_INK, small, anchor="lb")


class _Plot:
    """The square in which the path is drawn, smooth."""

    def __init__(self, low: float, high: float) -> None:
        """Draw the grid of a square from low to high along both axes."""
        self._low, self._span = low, high - low
        self._canvas, self._draw = new_canvas(SIDE_PX * FINER, SIDE_PX * FINER)
        for value in LEAST_SPAN:
            x, y = self._at(value, value)
            self._draw.line((x, 0, x, SIDE_PX * FINER), GRID_INK, FINER)
            self._draw.line((0, y, SIDE_PX * FINER, y), GRID_INK, FINER)

    def place(self, picture: float, noise: float) -> tuple[int, int]:
        """Return where a point lies, in pixels from the left and from the top."""
        x, y = self._at(picture, noise)
        return round(x / FINER), round(y / FINER)

    def curve(
        self,
        picture: NDArray[np.float64],
        noise: NDArray[np.float64],
        color: tuple[int, int, int],
        width: int,
    ) -> None:
        """Draw a line through all points."""
        points = [self._at(*point) for point in zip(picture, noise, strict=True)]
        self._draw.line(points, color, width * FINER, joint="curve")

    def dots(
        self,
        picture: NDArray[np.float64],
        noise: NDArray[np.float64],
        colors: NDArray[np.uint8],
    ) -> None:
        """Draw a dot for each point."""
        for x, y, color in zip(picture, noise, colors.tolist(), strict=True):
            at, radius = self._at(x, y), DOT_PX * FINER
            self._draw.circle(at, radius, tuple(color), PAPER, FINER)

    def image(self) -> Image.Image:
        """Return the square in its own size."""
        return self._canvas.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)

    def _at(self, picture: float, noise: float) -> tuple[float, float]:
        """Return where a point lies on the finer canvas."""
        x, y = ((value - self._low) / self._span * SIDE_PX * FINER for value in (picture, noise))
        return float(x), float(SIDE_PX * FINER - y)
