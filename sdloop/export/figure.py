"""What the figures share: paper and ink, letters, viridis with its colour bar, the PNG."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sdloop.difference import viridis
from sdloop.export.png import write_png

PAPER, INK, PALE_INK = (255, 255, 255), (24, 24, 24), (110, 110, 110)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class ColorBar:
    """What viridis stands for, in words: at its dark end, at its yellow end, and the unit."""

    low: str
    high: str
    unit: str


def new_canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return blank paper and the pen for it, sizes in pixels."""
    canvas = Image.new("RGB", (width, height), PAPER)
    return canvas, ImageDraw.Draw(canvas)


def font_of(text_px: int) -> Font:
    """Return the figures' typeface."""
    return ImageFont.load_default(text_px)


def text_width(text: str, text_px: int) -> int:
    """Return how wide a text stands, in pixels."""
    return round(font_of(text_px).getlength(text))


def color_of(shares: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour numbers from 0 to 1 in viridis; any shape gains a last axis of 3."""
    return viridis()[np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)]


def draw_color_bar(
    canvas: Image.Image, corner: tuple[int, int], height: int, text_px: int, bar: ColorBar
) -> None:
    """Draw viridis upright from its dark end to its yellow end, with its words to the right.

    Args:
        canvas: Is drawn on.
        corner: The bar's left and top, in pixels.
        height: The bar's, in pixels.
        text_px: Size of the letters; the bar is a little wider.
        bar: The words.
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
    """Return how much room a colour bar takes with its words, in pixels."""
    words = max(text_width(word, text_px) for word in (bar.low, bar.high, bar.unit))
    return round(text_px * 1.4) + text_px // 2 + words


def write_canvas(path: Path, canvas: Image.Image) -> None:
    """Write a figure as PNG."""
    write_png(path, np.asarray(canvas))
