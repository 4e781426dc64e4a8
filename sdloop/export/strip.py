"""A few stages of a run over their difference maps, as one figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sdloop.difference import DifferenceMaps, viridis
from sdloop.export.gif import enlarge
from sdloop.files import replacing

PAPER, INK, PALE_INK = (255, 255, 255), (24, 24, 24), (110, 110, 110)
SMALLEST_COLUMN_PX = 120  # below it the labels would run into each other


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels, all from the column's width."""

    column: int
    height: int
    gap: int
    text: int

    @property
    def small(self) -> int:
        """Return the smaller font's size."""
        return max(9, round(self.text * 0.72))


def default_stages(rows: int, count: int = 5) -> tuple[int, ...]:
    """Spread up to `count` stages evenly over the rows, first and last among them."""
    return tuple(int(row) for row in np.unique(np.linspace(0, rows - 1, count).round()))


def write_strip(
    path: Path,
    images: NDArray[np.uint8],
    maps: DifferenceMaps,
    stages: Sequence[int],
    scale: int = 1,
    color_bar: bool = False,
) -> None:
    """Draw the stages in the top row, their difference maps under them.

    Args:
        path: The PNG file.
        images: (frames, H, W, 3), uint8.
        maps: The frames' differences.
        stages: Rows to show: stage k is frame k + 1 over difference k.
        scale: Whole factor by which small pictures are enlarged.
        color_bar: Draw the scale that all maps share, where they do.
    """
    height, width = (side * scale for side in images.shape[1:3])
    text = max(14, round(width / 15))
    layout = _Layout(max(width, SMALLEST_COLUMN_PX), height, max(6, width // 24), text)
    step = layout.column + layout.gap
    bar_space = 2 * layout.gap + 4 * layout.text if color_bar else 0
    top = layout.gap + round(1.7 * text)
    bottom = top + height + layout.gap
    foot = 0 if color_bar else round(1.9 * layout.small)
    canvas = Image.new(
        "RGB",
        (layout.gap + len(stages) * step + bar_space, bottom + height + layout.gap + foot),
        PAPER,
    )
    draw = ImageDraw.Draw(canvas)
    for column, stage in enumerate(stages):
        left = layout.gap + column * step
        center = left + layout.column // 2
        inset = left + (layout.column - width) // 2
        font = ImageFont.load_default(text)
        draw.text((center, top - text // 2), f"step {stage}", INK, font, anchor="ms")
        colored = viridis()[maps.indices[stage]]
        canvas.paste(Image.fromarray(enlarge(images[stage + 1], scale)), (inset, top))
        canvas.paste(Image.fromarray(enlarge(colored, scale)), (inset, bottom))
        if not color_bar:
            note = f"yellow = {maps.full_scale[stage]:.0f} of 255"
            small = ImageFont.load_default(layout.small)
            draw.text(
                (center, bottom + height + layout.small // 2), note, PALE_INK, small, anchor="ma"
            )
    if color_bar:
        left = layout.gap + len(stages) * step
        _draw_color_bar(canvas, draw, layout, (left, bottom), float(maps.full_scale[0]))
    with replacing(path) as temporary:
        iio.imwrite(temporary, np.asarray(canvas), plugin="pillow", extension=".png")


def _draw_color_bar(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    layout: _Layout,
    corner: tuple[int, int],
    full_scale: float,
) -> None:
    """Draw viridis from 0 at the bottom to full scale at the top, with both numbers."""
    left, top = corner
    levels = np.linspace(255, 0, layout.height).round().astype(np.uint8)
    bar = np.repeat(viridis()[levels][:, None], layout.text, axis=1)
    canvas.paste(Image.fromarray(bar), (left, top))
    font = ImageFont.load_default(layout.small)
    beside = left + layout.text + layout.gap // 2
    draw.text((beside, top), f"{full_scale:.0f}", INK, font, anchor="lt")
    draw.text((beside, top + layout.height), "0", INK, font, anchor="lb")
    draw.text((beside, top + layout.height // 2), "of 255", PALE_INK, font, anchor="lm")
