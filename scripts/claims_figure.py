"""Curves over the steps with the spread of the runs, in panels, as one PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sdloop.show.figure.figure import INK, PALE_INK, font_of, new_canvas, text_width, write_canvas

FINENESS = 2  # drawn this much larger and reduced, so that lines are smooth
PANEL_PX = (560 * FINENESS, 260 * FINENESS)
MARGIN_PX, TITLE_PX, TEXT_PX = (size * FINENESS for size in (66, 19, 15))
COLORS = ((68, 57, 131), (194, 96, 24))  # of the first and the second curve of a panel
GRID = (228, 228, 228)


@dataclass(frozen=True)
class Curve:
    """What a line is, and its values, (runs, rows); drawn as median between quartiles."""

    name: str
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """A claim with its verdict over one or two curves; `level` is a line to compare with."""

    title: str
    subtitle: str
    curves: tuple[Curve, ...]
    level: float


def write_panels(path: Path, panels: list[Panel]) -> None:
    """Draw the panels two by two.

    Args:
        path: The PNG file.
        panels: In reading order.
    """
    width, height = (side + 2 * MARGIN_PX for side in PANEL_PX)
    canvas, draw = new_canvas(2 * width, -(-len(panels) // 2) * height)
    for number, panel in enumerate(panels):
        left = number % 2 * width + MARGIN_PX
        top = number // 2 * height + round(1.3 * MARGIN_PX)
        _draw_panel(canvas, draw, panel, left, top)
    write_canvas(path, canvas.reduce(FINENESS))


def _draw_panel(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, panel: Panel, left: int, top: int
) -> None:
    """Draw one panel, its axes' upper left corner at left, top."""
    width, height = PANEL_PX
    title, text = font_of(TITLE_PX), font_of(TEXT_PX)
    subtitle = top - 2 * TEXT_PX
    draw.text((left, subtitle - 2 * TEXT_PX), panel.title, INK, title, anchor="lt")
    draw.text((left, subtitle), panel.subtitle, PALE_INK, text, anchor="la")
    quartiles = [np.nanquantile(curve.values, [0.25, 0.5, 0.75], axis=0) for curve in panel.curves]
    low, high, ticks = _axis(np.concatenate([*quartiles, np.full_like(quartiles[0], panel.level)]))
    rows = panel.curves[0].values.shape[1]

    def x_of(row: NDArray[np.int64] | int) -> NDArray[np.float64]:
        return left + np.asarray(row) / max(1, rows - 1) * width

    def y_of(value: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return top + (high - np.asarray(value)) / (high - low) * height

    for tick in ticks:
        y = float(y_of(tick))
        draw.line((left, y, left + width, y), GRID, FINENESS)
        draw.text((left - TEXT_PX // 2, y), f"{tick:g}", INK, text, anchor="rm")
    for row in range(0, rows, 10 if rows > 20 else 2):
        x = float(x_of(row))
        draw.line((x, top + height, x, top + height + TEXT_PX // 3), INK, FINENESS)
        draw.text((x, top + height + TEXT_PX // 2), str(row), INK, text, anchor="ma")
    draw.text((left - TEXT_PX, top + height + TEXT_PX // 2), "step", PALE_INK, text, anchor="ra")
    level = float(y_of(panel.level))
    draw.line((left, level, left + width, level), PALE_INK, FINENESS)

    xs = x_of(np.arange(rows))
    for color, (lower, _, upper) in zip(COLORS, quartiles, strict=False):
        veil = Image.new("L", canvas.size, 0)
        edge = [*zip(xs, y_of(upper), strict=True), *zip(xs[::-1], y_of(lower)[::-1], strict=True)]
        ImageDraw.Draw(veil).polygon([(float(x), float(y)) for x, y in edge], 56)
        canvas.paste(color, mask=veil)
    legend = left + width
    for color, curve, (_, middle, _) in zip(COLORS, panel.curves, quartiles, strict=False):
        points = [(float(x), float(y)) for x, y in zip(xs, y_of(middle), strict=True)]
        draw.line(points, color, 3 * FINENESS, joint="curve")
        draw.text((legend, subtitle), curve.name, color, text, anchor="ra")
        legend -= text_width(curve.name, TEXT_PX) + TEXT_PX


def _axis(values: NDArray[np.float64]) -> tuple[float, float, NDArray[np.float64]]:
    """Choose round ends for an axis, and its ticks."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = max(high - low, 1e-6)
    power = 10 ** np.floor(np.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 6)
    first, last = np.floor(low / step), np.ceil(high / step)
    ticks = np.arange(first, last + 1) * step
    return float(ticks[0]), float(ticks[-1]), np.round(ticks, 10)
