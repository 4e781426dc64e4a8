"""Shapes that the composer draws itself: shiny balls and cubes, in RGBA."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw

from .painter import WHITE, mix
from .things import SHAPE_COLOURS

SHAPE_PX = 256
# How many ways a shape is lit or turned.
TURNS = 5


@functools.cache
def draw_sphere(colour: str, turn: int) -> Image.Image:
    """A shiny ball, lit from the left (0) to the right (4)."""
    grid = (np.arange(SHAPE_PX) + 0.5) / SHAPE_PX * 2 - 1
    x, y = np.meshgrid(grid, grid)
    radius, side = np.hypot(x, y), 0.25 * turn - 0.5
    z = np.sqrt(np.clip(1 - radius**2, 0, 1))
    lit = np.clip(side * x - 0.6 * y + 0.66 * z, 0, 1)
    bounced = np.clip(0.3 * x + 0.8 * y, 0, 1) ** 2 * (1 - z)
    rgb = np.array(SHAPE_COLOURS[colour]) * (0.30 + 0.78 * lit + 0.45 * bounced)[..., None]
    away = np.hypot((x - 0.8 * side) / 1.15, y + 0.44)
    shine = np.clip((0.24 - away) / 0.12, 0, 1) * 0.92 + 0.25 * np.exp(-((away / 0.4) ** 2))
    rgb += (255 - rgb) * np.clip(shine, 0, 1)[..., None]
    alpha = np.clip((1 - radius) * SHAPE_PX / 2, 0, 1) * 255
    rgba = np.concatenate([np.clip(rgb, 0, 255), alpha[..., None]], -1)
    return Image.fromarray(rgba.astype(np.uint8))


@functools.cache
def draw_cube(colour: str, turn: int) -> Image.Image:
    """A box seen from above; its near edge stands left (0) to right (4)."""
    image = Image.new("RGBA", (2 * SHAPE_PX, 2 * SHAPE_PX), (0, 0, 0, 0))
    draw, base, edge = ImageDraw.Draw(image), SHAPE_COLOURS[colour], 150 + 53 * turn
    near, left, right, far = (edge, 200), (20, 120), (492, 120), (512 - edge, 40)
    below = {corner: (corner[0], corner[1] + 290) for corner in (near, left, right)}
    draw.polygon([left, near, below[near], below[left]], fill=mix(base, (0, 0, 0), 0.12))
    draw.polygon([near, right, below[right], below[near]], fill=mix(base, (0, 0, 0), 0.42))
    draw.polygon([left, far, right, near], fill=mix(base, WHITE, 0.35))
    draw.line([left, near, right], fill=mix(base, WHITE, 0.6), width=6)
    image = image.resize((SHAPE_PX, SHAPE_PX), Image.Resampling.BOX)
    return image.crop(image.getchannel("A").getbbox())


DRAWN = {"sphere": draw_sphere, "cube": draw_cube}
