"""What all figures share: paper, ink, typeface, the colour bar of viridis, the PNG file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sdloop.show.difference import viridis
from sdloop.show.figure.png import write_png

PAPER, INK, PALE_INK = (255, 255, 255), (24, 24, 24), (110, 110, 110)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class ColorBar:
    """The labels of a colour bar: at its dark end, at its yellow end, and the unit between."""

    low: str
    high: str
    unit: str


def new_canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return a blank canvas of this size in pixels, and what draws on it."""
    canvas = Image.new("RGB", (width, height), PAPER)
    return canvas, ImageDraw.Draw(canvas)


def font_of(text_px: int) -> Font:
    """Return the typeface of all figures, in a size."""
    return ImageFont.load_default(text_px)


def text_width(text: str, text_px: int) -> int:
    """Return the width of a text in pixels."""
    return round(font_of(text_px).getlength(text))


def color_of(shares: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour numbers from 0 to 1 by viridis: any shape, plus a last axis of 3."""
    return viridis()[np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)]


def draw_color_bar(
    canvas: Image.Image, corner: tuple[int, int], height: int, text_px: int, bar: ColorBar
) -> None:
    """Draw viridis upright, the yellow end on top, with its labels to the right.

    Args:
        canvas: Where to draw.
        corner: Left and top of the bar, in pixels.
        height: Height of the bar, in pixels.
        text_px: Size of the letters; the bar is a little wider than that.
        bar: The labels.
    """
    left, top = corner
    width = round(text_px * 1.4)
    shades = color_of(np.linspace(1, 0, height))
    canvas.paste(Image.fromarray(np.repeat(shades[:, None], width, axis=1)), corner)
    draw, font, beside = ImageDraw.Draw(canvas), font_of(text_px), left + width + text_px // 2
    draw.text((beside, top), bar.high, INK, font, anchor="lt")
    draw.text((beside, top + height // 2), bar.unit, PALE_INK, font, anchor="lm")
    draw.text((beside, top + height), bar.low, INK, font, anchor="lb")


def color_bar_width(text_px: int, bar: ColorBar) -> int:
    """Return the width of a colour bar with its labels, in pixels."""
    labels = max(text_width(label, text_px) for label in (bar.low, bar.high, bar.unit))
    return round(text_px * 1.4) + text_px // 2 + labels


def write_canvas(path: Path, canvas: Image.Image, comment: str = "") -> None:
    """Write a figure as PNG, with a text to keep in the file."""
    write_png(path, np.asarray(canvas), comment)
