"""Pictures -> differences between consecutive ones -> coloured maps."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Reduction = Literal["mean", "max", "rms"]
Scale = Literal["image", "global"]


@dataclass(frozen=True)
class DifferenceMaps:
    """Differences as indices into viridis.

    Attributes:
        indices: uint8 (frames - 1, H, W); 0 is the dark end, 255 the yellow.
        values: float32 (frames - 1, H, W), the reduced differences in 8-bit levels, 0 to 255.
        full_scale: float32 (frames - 1,), the value that 255 stands for in each map.
    """

    indices: NDArray[np.uint8]
    values: NDArray[np.float32]
    full_scale: NDArray[np.float32]

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """Return the maps in colour, (frames - 1, H, W, 3)."""
        return viridis()[self.indices]

    def rgb_of(self, row: int) -> NDArray[np.uint8]:
        """Return one map in colour, (H, W, 3)."""
        return viridis()[self.indices[row]]


@cache
def viridis() -> NDArray[np.uint8]:
    """Return viridis as 256 sRGB colours, uint8 (256, 3)."""
    from cmap import Colormap

    return np.rint(Colormap("viridis").lut(256)[:, :3] * 255).astype(np.uint8)


def absolute_difference(images: NDArray[np.uint8], reduce: Reduction) -> NDArray[np.float32]:
    """Return |frame i+1 - frame i| in RGB, one value a pixel.

    Args:
        images: (frames, H, W, 3), uint8.
        reduce: Over the channels: their mean, the largest, or the root of their mean square.

    Returns:
        (frames - 1, H, W), float32, in 8-bit levels.
    """
    values = np.empty((len(images) - 1, *images.shape[1:3]), dtype=np.float32)
    for row, (before, after) in enumerate(pairwise(images)):
        # the larger less the smaller: uint8 cannot wrap around
        difference = np.maximum(before, after) - np.minimum(before, after)
        if reduce == "mean":
            values[row] = difference.sum(axis=-1, dtype=np.uint16) / np.float32(3)
        elif reduce == "max":
            values[row] = difference.max(axis=-1)
        else:
            square = difference.astype(np.float32) ** 2
            values[row] = np.sqrt(square.mean(axis=-1))
    return values


def difference_maps(
    images: NDArray[np.uint8], reduce: Reduction = "mean", scale: Scale = "image"
) -> DifferenceMaps:
    """Colour the differences between consecutive pictures.

    Args:
        images: (frames, H, W, 3), uint8; at least two.
        reduce: How three channels become one value.
        scale: "image" makes the largest value of each map yellow, "global" the largest of all.

    Returns:
        The maps. A map without any difference stays dark.
    """
    values = absolute_difference(images, reduce)
    peaks = values.max(axis=(1, 2))
    full_scale = peaks if scale == "image" else np.full_like(peaks, peaks.max())
    divisor = np.where(full_scale > 0, full_scale, np.float32(1))
    indices = np.rint(values * (np.float32(255) / divisor)[:, None, None]).astype(np.uint8)
    return DifferenceMaps(indices, values, full_scale)
