"""A figure of a picture beside a map of it in viridis."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdloop.show.figure.figure import (
    INK,
    PALE_INK,
    ColorBar,
    color_bar_width,
    color_of,
    draw_color_bar,
    font_of,
    new_canvas,
    text_width,
    write_canvas,
)
from sdloop.show.film.gif import enlarge


def write_map(
    path: Path,
    picture: NDArray[np.uint8],
    shares: NDArray[np.floating],
    heading: str,
    caption: str,
    bar: ColorBar,
    scale: int = 1,
    comment: str = "",
) -> None:
    """Draw the picture and, to its right, the map with its colour bar, under a heading.

    Args:
        path: The PNG file.
        picture: (H, W, 3), uint8.
        shares: (h, w), from 0 for the dark end to 1 for the yellow; H and W are the same whole
            multiple of h and w.
        heading: One line that says what the figure shows.
        caption: A few words to stand under the map.
        bar: What the colours mean.
        scale: Whole factor by which to enlarge small pictures.
        comment: A text to keep in the file.
    """
    picture = enlarge(picture, scale)
    height, width = picture.shape[:2]
    colored = enlarge(color_of(shares), height // len(shares))
    text = max(15, round(width / 17))
    small, gap = round(text * 0.78), text
    top = gap + 2 * text
    bar_left = 3 * gap + 2 * width
    right = max(bar_left + color_bar_width(small, bar), gap + text_width(heading, text))
    canvas, draw = new_canvas(right + gap, top + height + gap // 2 + 2 * small)
    draw.text((gap, gap), heading, INK, font_of(text), anchor="lt")
    for left, pixels, words in (
        (gap, picture, "the last frame"),
        (2 * gap + width, colored, caption),
    ):
        canvas.paste(Image.fromarray(pixels), (left, top))
        below = (left + width // 2, top + height + small // 2)
        draw.text(below, words, PALE_INK, font_of(small), anchor="ma")
    draw_color_bar(canvas, (bar_left, top), height, small, bar)
    write_canvas(path, canvas, comment)
