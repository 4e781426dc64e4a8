"""What a picture of the bundled model shows, told by colour alone."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
SPHERES = {  # hue in degrees, from and to
    "red": (340, 375),
    "yellow": (40, 70),
    "green": (80, 160),
    "blue": (195, 250),
    "purple": (265, 320),
}
VIVID = (0.45, 60)  # saturation, and level of the brightest channel
LEAST_SPHERE = 0.02  # of the picture
BRIDGE_PX = 3  # a hat's parts that are no farther apart are one: its band lies between
HAT_AREA = (0.02, 0.25)  # of the picture


def _channels(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return red, green and blue."""
    return np.moveaxis(picture.astype(np.int64), -1, 0)


def _dark(picture: NDArray[np.uint8]) -> Mask:
    """Find black and the darkest purple."""
    return picture.max(axis=-1) < 105


def _golden(picture: NDArray[np.uint8]) -> Mask:
    """Find orange and gold."""
    red, green, blue = _channels(picture)
    return (red > 185) & (green > 95) & (red - green > 25) & (green - blue > 35)


def _blue(picture: NDArray[np.uint8]) -> Mask:
    """Find blue."""
    red, green, blue = _channels(picture)
    return (blue - red > 60) & (blue > green) & (blue > 120)


def _figure(picture: NDArray[np.uint8]) -> Mask:
    """Find what is not the white background: colours, what is darker, and what they surround."""
    brightest = picture.max(axis=-1).astype(np.int64)
    return _filled((brightest - picture.min(axis=-1) > 30) | (brightest < 205))


def _straw(picture: NDArray[np.uint8]) -> Mask:
    """Find straw's tan, and the red of its band."""
    red, green, blue = _channels(picture)
    tan = (red > 180) & (red - green > 20) & (green - blue > 15)
    return tan | ((red > 140) & (green < 90) & (blue < 110))


HATS: dict[str, Callable[[NDArray[np.uint8]], Mask]] = {
    "top hat": _dark,
    "crown": _golden,
    "cap": _blue,
    "straw hat": _straw,
}


def shows(picture: NDArray[np.uint8], color: str) -> bool:
    """Tell whether a picture shows a sphere of a colour: 2 % of it in vivid hues of that.

    Args:
        picture: uint8 (H, W, 3), before a background without colour.
        color: One of SPHERES.
    """
    low, high = SPHERES[color]
    saturated, bright = VIVID
    hits = 0
    for red, green, blue in picture.reshape(-1, 3)[::4] / 255:
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        degrees = 360 * hue + (360 if 360 * hue < low - 340 + 15 and high > 360 else 0)
        hits += saturation > saturated and 255 * value > bright and low <= degrees < high
    return hits / (picture.shape[0] * picture.shape[1] / 4) > LEAST_SPHERE


def hat_and_animal(picture: NDArray[np.uint8], hat: str) -> NDArray[np.bool_] | None:
    """Find the hat, by its colour, and the animal: what else is not background.

    The hat is the highest patch of its colour, with what lies between, such as its band.

    Args:
        picture: uint8 (H, W, 3).
        hat: One of HATS.

    Returns:
        bool (2, H, W), the hat's mask and the animal's; None where the hat is not told apart.
    """
    figure = _figure(picture)
    colored = HATS[hat](picture) & figure
    near = _grown(colored, BRIDGE_PX)
    patch = np.zeros_like(colored)
    for row in np.flatnonzero(colored.sum(axis=1) > 2):
        patch[row] = colored[row]
        break
    while True:
        wider = _grown(patch, 1) & near
        if (wider == patch).all():
            break
        patch = wider
    mask = _between(patch & colored, axis=0)
    low, high = HAT_AREA
    if not low < mask.mean() < high:
        return None
    return np.stack([mask, figure & ~mask])


def _grown(mask: Mask, by: int) -> Mask:
    """Grow a mask in all directions."""
    for _ in range(by):
        padded = np.pad(mask, 1)
        mask = (
            padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1]
            | padded[1:-1, :-2] | padded[1:-1, 2:]
        )  # fmt: skip
    return mask


def _filled(mask: Mask) -> Mask:
    """Fill what a mask surrounds: pixels with mask to the left and right, above and below."""
    return _between(mask, axis=0) & _between(mask, axis=1)


def _between(mask: Mask, axis: int) -> Mask:
    """Fill what has mask on both of its sides along an axis."""
    before = np.logical_or.accumulate(mask, axis=axis)
    return before & np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
