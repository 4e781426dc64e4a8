"""A canvas for backgrounds: soft spots, hills, gradients, and chance."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from .things import RGB

# Scenes are painted at this size and halved, which smooths edges.
CANVAS_PX = 256
# The side of a latent's cell, 8 of a picture's pixels, as a share of the picture's side.
CELL = 1 / 16
WHITE: RGB = (255, 255, 255)


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """The colour that lies `share` of the way from `a` to `b`."""
    red, green, blue = (int(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


@functools.cache
def _soft_mask(percent: int) -> Image.Image:
    """A round spot that fades towards its edge, at most `percent` opaque."""
    grid = np.linspace(-1, 1, 96)
    squares = grid[None, :] ** 2 + grid[:, None] ** 2
    fade = np.clip((np.exp(-3 * squares) - np.exp(-3)) / (1 - np.exp(-3)), 0, 1)
    return Image.fromarray((fade * percent * 2.55).astype(np.uint8))


def snap(length: float, step: float = CELL) -> float:
    """The nearest multiple of a step, at least one of them.

    What lies on the grid of the latents has the same latents wherever it lies, and a few sizes
    have few of them: networks learn to draw such things from far fewer pictures.
    """
    return max(1, round(length / step)) * step


def corner_of(sprite: Image.Image, x: float, foot: float) -> tuple[int, int]:
    """Where to paste a sprite, in the canvas' pixels: the corner of a cell.

    Args:
        sprite: in its size on the canvas.
        x: about where its middle goes across.
        foot: about where its lower edge goes.
    """
    cell = round(CELL * CANVAS_PX)
    left, top = x * CANVAS_PX - sprite.width / 2, foot * CANVAS_PX - sprite.height
    return cell * round(left / cell), cell * round(top / cell)


class Painter:
    """A picture in the making and the generator that decides it.

    Lengths and positions are shares of the picture's side, x from the left and y from the top.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.show(Image.new("RGB", (CANVAS_PX, CANVAS_PX)))

    def show(self, image: Image.Image) -> None:
        """Go on painting on `image`."""
        self.image, self._draw = image, ImageDraw.Draw(image)

    def between(self, low: float, high: float) -> float:
        """A number at random between two."""
        return float(self.rng.uniform(low, high))

    def on_grid(self, low: float, high: float) -> float:
        """A place between two at random, moved to the edge of its nearest cell."""
        return snap(self.between(low, high))

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < share)

    def count(self, low: int, high: int) -> int:
        """A whole number at random, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, colours: tuple[RGB, ...], by: float = 14) -> RGB:
        """One of the colours, varied: each channel by `by`, and all together by as much."""
        moved = np.array(colours[self.rng.integers(len(colours))], float)
        moved += self.rng.uniform(-by, by, 3) + self.rng.uniform(-by, by)
        red, green, blue = (int(v) for v in np.clip(moved, 0, 255))
        return red, green, blue

    def gradient(self, top: float, bottom: float, above: RGB, below: RGB) -> None:
        """Rows between two heights, from one colour to another."""
        first, last = max(0, round(top * CANVAS_PX)), min(CANVAS_PX, round(bottom * CANVAS_PX))
        if last > first:
            share = np.linspace(0, 1, last - first)[:, None, None]
            rows = (np.array(above) + (np.array(below) - np.array(above)) * share).astype(np.uint8)
            self.image.paste(Image.fromarray(rows).resize((CANVAS_PX, last - first)), (0, first))

    def spot(self, x: float, y: float, rx: float, ry: float, colour: RGB, percent: float) -> None:
        """A soft spot, at most `percent` opaque."""
        size = max(2, round(2 * rx * CANVAS_PX)), max(2, round(2 * ry * CANVAS_PX))
        mask = _soft_mask(5 * max(1, min(20, round(percent / 5)))).resize(size)
        corner = round(x * CANVAS_PX - size[0] / 2), round(y * CANVAS_PX - size[1] / 2)
        self.image.paste(colour, corner, mask)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: RGB) -> None:
        """An ellipse."""
        corners = (x - rx, y - ry, x + rx, y + ry)
        self._draw.ellipse([CANVAS_PX * c for c in corners], fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: RGB) -> None:
        """A rectangle."""
        self._draw.rectangle([CANVAS_PX * c for c in (left, top, right, bottom)], fill=colour)

    def polygon(self, points: list[tuple[float, float]], colour: RGB) -> None:
        """A filled polygon."""
        self._draw.polygon([(CANVAS_PX * x, CANVAS_PX * y) for x, y in points], fill=colour)

    def hill(self, x: float, top: float, rx: float, colour: RGB, edge: RGB) -> None:
        """An ellipse that reaches below the picture, with a thin rim a little towards `edge`."""
        ry = 1.25 - top
        self.disc(x, top + ry, rx, ry, mix(colour, edge, 0.25))
        self.disc(x, top + ry + 0.012, rx, ry, colour)

    def planet(self, x: float, y: float, radius: float, colour: RGB) -> None:
        """A shaded ball."""
        self.disc(x, y, radius, radius, mix(colour, (0, 0, 0), 0.35))
        self.disc(x - 0.12 * radius, y - 0.12 * radius, 0.88 * radius, 0.88 * radius, colour)
        self.spot(x - 0.35 * radius, y - 0.35 * radius, radius / 2, radius / 2, WHITE, 45)

    def paste(self, sprite: Image.Image, x: float, foot: float, height: float) -> None:
        """A sprite of about this height, its lower edge near `foot`, mirrored half of the time."""
        height = snap(height, 2 * CELL)
        size = (
            max(2, round(sprite.width / sprite.height * height * CANVAS_PX)),
            max(2, round(height * CANVAS_PX)),
        )
        small = sprite.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
        small = ImageOps.mirror(small) if self.chance(0.5) else small
        self.image.paste(small, corner_of(small, x, foot), small)
