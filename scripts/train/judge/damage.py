"""Damage of the kinds that undertrained models draw: warps, smears and holes, in an object."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from ..scene.compose import Placed

Damage = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def blob(size: int, placed: Placed, rng: np.random.Generator) -> np.ndarray:
    """A soft spot inside an object, float64 (size, size) in 0..1."""
    reach = placed.reach * size
    x = placed.x * size + rng.uniform(-0.28, 0.28) * reach
    y = placed.y * size + rng.uniform(-0.28, 0.28) * reach
    rx, ry = rng.uniform(0.14, 0.34, 2) * reach
    across, down = np.meshgrid(np.arange(size), np.arange(size))
    away = np.hypot((across - x) / rx, (down - y) / ry)
    return np.clip(1.6 - 1.6 * away, 0, 1)


def warp(picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bend what the mask covers."""
    size = len(picture)
    waves = rng.normal(0, 1, (2, 6, 6))
    shift = np.stack([_enlarge(wave, size) for wave in waves])
    shift *= rng.uniform(5, 11) * mask / max(1e-6, np.abs(shift * mask).max())
    at = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij")) + shift
    y, x = np.clip(at.round().astype(int), 0, size - 1)
    return picture[y, x]


def smear(picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur what the mask covers."""
    blurred = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(rng.uniform(3, 6)))
    return _mix(picture, np.asarray(blurred), mask)


def hole(picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put another part of the picture where the mask is."""
    dy, dx = rng.integers(len(picture) // 4, 3 * len(picture) // 4, 2)
    return _mix(picture, np.roll(picture, (dy, dx), (0, 1)), np.clip(2 * mask, 0, 1))


DAMAGES: tuple[Damage, ...] = (warp, smear, hole)


def damage(picture: np.ndarray, placed: tuple[Placed, ...], rng: np.random.Generator) -> np.ndarray:
    """A picture with one to three damages in one of its objects, uint8 of the same shape."""
    for _ in range(rng.integers(1, 4)):
        mask = blob(len(picture), placed[rng.integers(len(placed))], rng)
        picture = DAMAGES[rng.integers(len(DAMAGES))](picture, mask, rng)
    return picture


def _enlarge(wave: np.ndarray, size: int) -> np.ndarray:
    """A coarse grid as a smooth one."""
    image = Image.fromarray(wave.astype(np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), np.float64)


def _mix(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`b` where the mask is one, `a` where it is zero."""
    return (a + (b.astype(float) - a) * mask[..., None]).round().astype(np.uint8)
