"""The six drawn backgrounds: smooth shapes that a small autoencoder can hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .objects import PLAIN_COLOURS

RGB = tuple[int, int, int]
Sprite = Callable[[str, int], Image.Image]

# Fixed layouts: what stays in place is learnt at once, and a picture is no worse for it.
_LAYOUT = np.random.default_rng(7)
_STARS, _STAR_SIZES = _LAYOUT.random((26, 2)), _LAYOUT.random(26)
_FLAKES, _FLAKE_SIZES = _LAYOUT.random((18, 2)), _LAYOUT.random(18)
STARS = [(*_STARS[k], 0.004 + 0.006 * _STAR_SIZES[k]) for k in range(26)]
FLOWERS = [(0.07, 0.80), (0.20, 0.93), (0.90, 0.78), (0.80, 0.92), (0.12, 0.70), (0.95, 0.96)]
FLAKES = [(*_FLAKES[k], 0.008 + 0.007 * _FLAKE_SIZES[k]) for k in range(18)]


def _gradient(size: int, *stops: tuple[float, RGB]) -> Image.Image:
    """A vertical gradient through (height, colour) stops."""
    rows = np.linspace(0, 1, size)
    heights = [height for height, _ in stops]
    column = [np.interp(rows, heights, [c[k] for _, c in stops]) for k in range(3)]
    image = np.repeat(np.stack(column, -1)[:, None], size, axis=1)
    return Image.fromarray(image.astype(np.uint8))


def _glow(size: int, x: float, y: float, radius: float) -> np.ndarray:
    """A soft spot, 1 at its centre: (size, size)."""
    grid = (np.arange(size) + 0.5) / size
    squared = (grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2
    return np.exp(-squared / (2 * radius**2))


def _blend(image: Image.Image, colour: RGB, weight: np.ndarray) -> Image.Image:
    """`image` moved towards `colour` by `weight` (size, size)."""
    base = np.asarray(image, np.float32)
    return Image.fromarray((base + (np.array(colour) - base) * weight[..., None]).astype(np.uint8))


def _ellipse(
    image: Image.Image, x: float, y: float, rx: float, ry: float, fill: Image.Image | RGB
) -> None:
    """Fill an ellipse given in fractions of the picture with a colour or another picture."""
    size = image.width
    mask = Image.new("L", image.size)
    box = [size * (x - rx), size * (y - ry), size * (x + rx), size * (y + ry)]
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    image.paste(fill, (0, 0, size, size) if isinstance(fill, tuple) else (0, 0), mask)


def _cloud(image: Image.Image, x: float, y: float, scale: float) -> Image.Image:
    """A soft white cloud."""
    size = image.width
    weight = sum(
        _glow(size, x + dx * scale, y - dy * scale, r * scale)
        for dx, dy, r in ((-0.09, 0, 0.035), (0, 0.02, 0.05), (0.09, 0, 0.035))
    )
    return _blend(image, (255, 255, 255), np.clip(1.3 * weight, 0, 0.9))


def island(size: int, rng: np.random.Generator, sprite: Sprite) -> Image.Image:
    """Sky, sea and a sandy islet with a palm."""
    horizon = 0.54 + 0.02 * rng.uniform(-1, 1)
    image = _gradient(size, (0, (56, 160, 240)), (horizon, (205, 240, 255)))
    image = _cloud(image, 0.74 + 0.05 * rng.uniform(-1, 1), 0.17, 1.1)
    sea = _gradient(size, (horizon, (20, 130, 200)), (0.85, (72, 214, 214)))
    top = round(horizon * size)
    image.paste(sea.crop((0, top, size, size)), (0, top))
    _ellipse(image, 0.5, 1.06, 0.86, 0.36, (190, 244, 236))
    _ellipse(
        image, 0.5, 1.08, 0.82, 0.36, _gradient(size, (0.7, (255, 228, 160)), (1, (240, 190, 110)))
    )
    palm = sprite("palm", round(0.72 * size))
    image.paste(
        palm, (round((-0.16 + 0.015 * rng.uniform(-1, 1)) * size), round(0.10 * size)), palm
    )
    return image


def table(size: int, rng: np.random.Generator, _: Sprite) -> Image.Image:
    """A wooden table before a softly lit wall."""
    edge = 0.66 + 0.015 * rng.uniform(-1, 1)
    image = _gradient(size, (0, (108, 150, 160)), (edge, (160, 192, 190)))
    image = _blend(image, (250, 240, 215), 0.65 * _glow(size, 0.5, 0.35, 0.28))
    top = round(edge * size)
    wood = _gradient(size, (edge, (206, 140, 82)), (0.9, (172, 104, 54)), (1, (150, 88, 46)))
    draw = ImageDraw.Draw(wood)
    for foot in (-0.55, 0.05, 0.95, 1.55):
        at_edge = 0.5 + (foot - 0.5) * 0.55
        line = [(at_edge * size, top), (foot * size, size)]
        draw.line(line, fill=(140, 82, 44), width=max(1, size // 100))
    image.paste(wood.crop((0, top, size, size)), (0, top))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, top, size, top + round(0.018 * size)], fill=(232, 176, 118))
    return image


def space(size: int, rng: np.random.Generator, sprite: Sprite) -> Image.Image:
    """Deep blue with a nebula, stars and a ringed planet."""
    image = _gradient(size, (0, (12, 12, 44)), (1, (38, 22, 82)))
    image = _blend(image, (120, 50, 160), 0.6 * _glow(size, 0.2, 0.75, 0.24))
    image = _blend(image, (40, 100, 190), 0.5 * _glow(size, 0.8, 0.35, 0.22))
    shift = 0.01 * rng.uniform(-1, 1, 2)
    draw = ImageDraw.Draw(image)
    for x, y, r in STARS:
        x, y = x + shift[0], y + shift[1]
        box = [size * (x - r), size * (y - r), size * (x + r), size * (y + r)]
        draw.ellipse(box, fill=(255, 250, 225))
    planet = sprite("planet", round(0.30 * size))
    image.paste(planet, (round((0.69 + shift[0]) * size), round((0.03 + shift[1]) * size)), planet)
    return image


def meadow(size: int, rng: np.random.Generator, sprite: Sprite) -> Image.Image:
    """Green hills with flowers under a sunny sky."""
    image = _gradient(size, (0, (110, 190, 250)), (0.65, (226, 245, 255)))
    image = _cloud(image, 0.25 + 0.05 * rng.uniform(-1, 1), 0.2, 1.1)
    sun = sprite("sun", round(0.2 * size))
    image.paste(sun, (round(0.76 * size), round(0.05 * size)), sun)
    lift = 0.02 * rng.uniform(-1, 1)
    far = _gradient(size, (0.5, (150, 212, 96)), (0.9, (96, 176, 70)))
    near = _gradient(size, (0.6, (124, 200, 70)), (1, (58, 142, 50)))
    _ellipse(image, 0.1, 1.0 + lift, 0.75, 0.47, far)
    _ellipse(image, 0.95, 1.02 - lift, 0.6, 0.43, far)
    _ellipse(image, 0.5, 1.2, 1.0, 0.52, near)
    for k, (x, y) in enumerate(FLOWERS):
        _ellipse(image, x, y, 0.022, 0.022, [(255, 255, 255), (255, 120, 150)][k % 2])
        _ellipse(image, x, y, 0.009, 0.009, (255, 205, 60))
    return image


def _pine(image: Image.Image, x: float, foot: float, height: float) -> None:
    """A snowy pine of three tiers."""
    size = image.width
    draw = ImageDraw.Draw(image)
    for tier, colour in ((0.0, (44, 106, 92)), (0.28, (54, 122, 104)), (0.54, (232, 242, 250))):
        low, tip = foot - tier * height, foot - min(1.0, tier + 0.56) * height
        half = 0.26 * height * (1 - 0.8 * tier)
        draw.polygon(
            [
                (size * (x - half), size * low),
                (size * (x + half), size * low),
                (size * x, size * tip),
            ],
            fill=colour,
        )


def snow(size: int, rng: np.random.Generator, _: Sprite) -> Image.Image:
    """White hills, two pines and falling flakes."""
    image = _gradient(size, (0, (122, 158, 208)), (0.65, (212, 226, 244)))
    lift = 0.02 * rng.uniform(-1, 1)
    hill = _gradient(size, (0.5, (232, 240, 252)), (1, (196, 214, 238)))
    _ellipse(image, 0.85, 1.0 + lift, 0.8, 0.45, hill)
    _pine(image, 0.13, 0.74, 0.5)
    _pine(image, 0.90, 0.68, 0.38)
    _ellipse(
        image,
        0.3,
        1.2 - lift,
        1.1,
        0.52,
        _gradient(size, (0.65, (255, 255, 255)), (1, (214, 228, 246))),
    )
    for x, y, r in FLAKES:
        _ellipse(image, x, y, r, r, (255, 255, 255))
    return image


def plain(size: int, colour: str) -> Image.Image:
    """A studio background: one colour, lighter behind the object and darker at the floor."""
    image = Image.new("RGB", (size, size), PLAIN_COLOURS[colour])
    image = _blend(image, (255, 255, 255), 0.45 * _glow(size, 0.5, 0.42, 0.3))
    floor = np.clip((np.arange(size) / size - 0.75) / 0.25, 0, 1)[:, None] * np.ones(size)
    return _blend(image, (70, 70, 90), 0.16 * floor)


def soften(image: Image.Image, sigma_px: float) -> Image.Image:
    """A blurred and darkened-at-the-corners background, as behind a photographed object."""
    size = image.width
    image = image.filter(ImageFilter.GaussianBlur(sigma_px))
    return _blend(image, (10, 10, 20), 0.6 * (1 - _glow(size, 0.5, 0.5, 0.42)))


DRAWERS = {"island": island, "table": table, "space": space, "meadow": meadow, "snow": snow}
