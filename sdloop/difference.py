"""Pictures -> differences between consecutive ones -> coloured maps.

Works on NumPy arrays and on torch tensors, on whatever device these are: the few functions it
needs have the same names and meaning in both. torch itself is not imported here.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = Any  # a NumPy array or a torch tensor
Reduction = Literal["mean", "max", "rms"]
Scale = Literal["image", "global"]


@dataclass(frozen=True)
class DifferenceMaps:
    """Differences as indices into viridis; arrays of the library that the pictures came in.

    Attributes:
        indices: uint8 (frames - 1, H, W); 0 is the dark end, 255 the yellow.
        values: float32 (frames - 1, H, W), the reduced differences in 8-bit levels, 0 to 255.
        full_scale: float32 (frames - 1,), the value that 255 stands for in each map.
    """

    indices: Array
    values: Array
    full_scale: Array

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """Return the maps in colour, (frames - 1, H, W, 3), as a NumPy array."""
        return viridis()[to_numpy(self.indices)]

    def colored(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the maps in colour one by one, (H, W, 3), as NumPy arrays."""
        return (viridis()[indices] for indices in to_numpy(self.indices))

    def to_numpy(self) -> "DifferenceMaps":
        """Return the same maps as NumPy arrays."""
        return DifferenceMaps(
            to_numpy(self.indices), to_numpy(self.values), to_numpy(self.full_scale)
        )


@cache
def viridis() -> NDArray[np.uint8]:
    """Return viridis as 256 sRGB colours, uint8 (256, 3), which all callers share: read-only."""
    from cmap import Colormap

    colors = np.rint(Colormap("viridis").lut(256)[:, :3] * 255).astype(np.uint8)
    colors.setflags(write=False)
    return colors


def absolute_difference(images: Array, reduce: Reduction) -> Array:
    """Return |frame i+1 - frame i| in RGB, one value a pixel.

    Args:
        images: (frames, H, W, 3), uint8.
        reduce: Over the channels: their mean, the largest, or the root of their mean square.

    Returns:
        (frames - 1, H, W), float32, in 8-bit levels.
    """
    xp = library_of(images)
    shape = (len(images) - 1, *images.shape[1:3])
    values = xp.empty(shape, dtype=xp.float32, device=images.device)
    for row, (before, after) in enumerate(pairwise(images)):
        # the larger less the smaller: uint8 cannot wrap around
        difference = xp.maximum(before, after) - xp.minimum(before, after)
        levels = xp.asarray(difference, dtype=xp.float32)
        red, green, blue = levels[..., 0], levels[..., 1], levels[..., 2]
        if reduce == "mean":
            values[row] = (red + green + blue) / 3
        elif reduce == "max":
            values[row] = xp.maximum(xp.maximum(red, green), blue)
        else:
            values[row] = xp.sqrt((red**2 + green**2 + blue**2) / 3)
    return values


def difference_maps(
    images: Array, reduce: Reduction = "mean", scale: Scale = "image"
) -> DifferenceMaps:
    """Colour the differences between consecutive pictures.

    Args:
        images: (frames, H, W, 3), uint8; at least two. A NumPy array, or a torch tensor, on whose
            device the maps are made without waiting for it.
        reduce: How three channels become one value.
        scale: "image" makes the largest value of each map yellow, "global" the largest of all.

    Returns:
        The maps. A map without any difference stays dark.
    """
    xp = library_of(images)
    values = absolute_difference(images, reduce)
    peaks = xp.amax(values, (1, 2))
    full_scale = peaks if scale == "image" else xp.zeros_like(peaks) + peaks.max()
    return DifferenceMaps(scale_to_indices(values, full_scale), values, full_scale)


def scale_to_indices(values: Array, full_scale: Array) -> Array:
    """Turn differences into indices into viridis.

    Args:
        values: (rows, H, W), float32.
        full_scale: (rows,), float32, what 255 stands for in each map; a map of 0 stays dark.

    Returns:
        (rows, H, W), uint8.
    """
    xp = library_of(values)
    divisors = xp.where(full_scale > 0, full_scale, xp.ones_like(full_scale))
    factors = xp.full_like(divisors, 255) / divisors  # torch takes 255 / x for 255 * (1 / x)
    indices = xp.empty(values.shape, dtype=xp.uint8, device=values.device)
    for row, (value, factor) in enumerate(zip(values, factors, strict=True)):
        indices[row] = xp.round(value * factor)
    return indices


def to_numpy(array: Array) -> NDArray[Any]:
    """Return a NumPy array; a torch tensor on the CPU is shared, one on a device is copied."""
    if isinstance(array, np.ndarray):
        return array
    if array.is_cuda:  # into memory that the device can write to by itself
        host = library_of(array).empty(array.shape, dtype=array.dtype, pin_memory=True)
        return host.copy_(array).numpy()
    return array.cpu().numpy()


def library_of(array: Array) -> ModuleType:
    """Return the library whose array this is; torch is there if it made the array."""
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]
