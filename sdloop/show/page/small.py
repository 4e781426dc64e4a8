"""A run's pictures made small, for a page of many runs, each kind side by side in one picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sdloop.show.difference import scale_to_indices

LARGEST_PX = 128  # of a small picture's longer side
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Small:
    """A run in small pictures; each pixel is the mean of a block of pixels.

    Attributes:
        frames: uint8 (rows + 1, h, w, 3).
        differences: uint8 (rows, h, w), in levels of each difference's own largest value.
        peaks: float32 (rows,), these largest values, in 8-bit levels.
        z0_hat: uint8 (rows, h, w, 3); None where there are none.
    """

    frames: NDArray[np.uint8]
    differences: NDArray[np.uint8]
    peaks: NDArray[np.float32]
    z0_hat: NDArray[np.uint8] | None

    @classmethod
    def of(
        cls,
        images: NDArray[np.uint8],
        values: NDArray[np.float32],
        z0_hat: NDArray[np.uint8] | None,
    ) -> Small:
        """Make a run's pictures small.

        Args:
            images: uint8 (rows + 1, H, W, 3), the frames.
            values: float32 (rows, H, W), the differences in 8-bit levels.
            z0_hat: uint8 (rows, H, W, 3), or None.

        Returns:
            Pictures of `LARGEST_PX` at most.
        """
        factor = ceil(max(images.shape[1:3]) / LARGEST_PX)
        means = shrunk(values, factor)
        return cls(
            _rounded(images, factor),
            *_in_levels(means),
            None if z0_hat is None else _rounded(z0_hat, factor),
        )

    def smaller(self, factor: int) -> Small:
        """Make the pictures smaller still, by a whole factor."""
        if factor == 1:
            return self
        scale = (self.peaks / np.float32(255))[:, None, None]
        differences, peaks = _in_levels(shrunk(self.differences, factor) * scale)
        return replace(
            self,
            frames=_rounded(self.frames, factor),
            differences=differences,
            peaks=peaks,
            z0_hat=None if self.z0_hat is None else _rounded(self.z0_hat, factor),
        )


def shrunk(pictures: NDArray[Number], factor: int) -> NDArray[np.float32]:
    """Take the mean of blocks of pixels; incomplete blocks at the edges are dropped.

    Args:
        pictures: (count, H, W) or (count, H, W, 3).
        factor: The height and width of a block.

    Returns:
        (count, H // factor, W // factor) or with 3 channels.
    """
    return np.stack([_block_means(picture, factor) for picture in pictures])


def atlas_of(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay pictures out in rows of equally many, in one picture that is about as high as wide.

    Args:
        pictures: (count, h, w) or (count, h, w, 3).

    Returns:
        (rows * h, columns * w) or with 3 channels; what is left over is black.
    """
    count, height, width, *channels = pictures.shape
    columns = columns_of(count)
    rows = ceil(count / columns)
    filled = np.zeros((rows * columns, height, width, *channels), np.uint8)
    filled[:count] = pictures
    lines = filled.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    return lines.reshape(rows * height, columns * width, *channels)


def pictures_of(atlas: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Take the pictures out of what `atlas_of` made of so many."""
    columns = columns_of(count)
    rows = ceil(count / columns)
    high, wide, *channels = atlas.shape
    height, width = high // rows, wide // columns
    lines = atlas.reshape(rows, height, columns, width, *channels).swapaxes(1, 2)
    return lines.reshape(rows * columns, height, width, *channels)[:count]


def columns_of(count: int) -> int:
    """Return how many of so many pictures an atlas has side by side."""
    return ceil(sqrt(count))


def _block_means(picture: NDArray[Number], factor: int) -> NDArray[np.float32]:
    """Take block means of one picture."""
    height, width, *channels = picture.shape
    high, wide = height // factor, width // factor
    cut = picture[: high * factor, : wide * factor].astype(np.float32)
    return cut.reshape(high, factor, wide, factor, *channels).mean(axis=(1, 3))


def _rounded(pictures: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Take block means of all pictures, rounded."""
    if factor == 1:
        return pictures
    return np.stack([np.rint(_block_means(one, factor)).astype(np.uint8) for one in pictures])


def _in_levels(values: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return differences in levels of their own largest value, and these values."""
    peaks = values.max(axis=(1, 2))
    return scale_to_indices(values, peaks), peaks
