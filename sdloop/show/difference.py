"""Pictures -> differences between consecutive ones -> maps coloured by viridis.

The arithmetic is torch's, on the device that holds the pictures. Pictures in a NumPy array are
lent to torch, and their maps come back as NumPy arrays. `changes.py` takes pictures batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = TypeVar("Array", Tensor, NDArray[Any])
Reduction = Literal["mean", "max", "rms"]
Scale = Literal["image", "global"]


@dataclass(frozen=True)
class DifferenceMaps(Generic[Array]):
    """Differences as indices into viridis: tensors if the pictures were, else NumPy arrays.

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

    def to_numpy(self) -> DifferenceMaps[NDArray[Any]]:
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


def difference_maps(
    images: Array, reduce: Reduction = "mean", scale: Scale = "image"
) -> DifferenceMaps[Array]:
    """Colour the differences between consecutive pictures.

    Args:
        images: (frames, H, W, 3), in 8-bit levels, uint8 or, if they are not rounded, float32; at
            least two. A tensor on any device, where the maps are made without waiting for it, or a
            NumPy array.
        reduce: How three channels become one value; see `reduce_difference`.
        scale: "image" makes the largest value of each map yellow, "global" the largest of all.

    Returns:
        The maps: tensors on the device of `images`, NumPy arrays if `images` is one. They are
        equal on every device, but for the last bit of the roots of "rms". A map without any
        difference stays dark.
    """
    if isinstance(images, np.ndarray):
        return difference_maps(_as_tensor(images), reduce, scale).to_numpy()
    return color_values(absolute_difference(images, reduce), scale)


def color_values(values: Tensor, scale: Scale) -> DifferenceMaps[Tensor]:
    """Colour differences, float32 (rows, H, W); see `difference_maps`."""
    peaks = values.amax(dim=(1, 2))
    full_scale = peaks if scale == "image" else peaks.max().repeat(len(peaks))
    return DifferenceMaps(scale_to_indices(values, full_scale), values, full_scale)


def absolute_difference(images: Tensor, reduce: Reduction) -> Tensor:
    """Return |frame i+1 - frame i| in RGB, one value a pixel.

    Args:
        images: (frames, H, W, 3), uint8 or float32, in 8-bit levels, on any device.
        reduce: See `reduce_difference`.

    Returns:
        (frames - 1, H, W), float32, in 8-bit levels.
    """
    shape = (len(images) - 1, *images.shape[1:3])
    values = torch.empty(shape, dtype=torch.float32, device=images.device)
    for row, (before, after) in enumerate(pairwise(images)):
        values[row] = reduce_difference(before, after, reduce)
    return values


def reduce_difference(before: Tensor, after: Tensor, reduce: Reduction) -> Tensor:
    """Return how much each pixel changes.

    Args:
        before: (H, W, 3), uint8 or float32, in 8-bit levels, on any device.
        after: The next picture, as `before`.
        reduce: Over the channels: their mean, the largest, or the root of their mean square.

    Returns:
        (H, W), float32, in 8-bit levels.
    """
    red, green, blue = (after.float() - before.float()).abs().unbind(dim=-1)
    if reduce == "max":
        return torch.maximum(torch.maximum(red, green), blue)
    # CUDA turns division by a number into a product with its rounded reciprocal; not by a tensor
    three = torch.full((), 3, dtype=torch.float32, device=red.device)
    if reduce == "mean":
        return (red + green + blue) / three
    return ((red.square() + green.square() + blue.square()) / three).sqrt()


def scale_to_indices(values: Array, full_scale: Array) -> Array:
    """Turn differences into indices into viridis.

    Args:
        values: (rows, H, W), float32; a tensor on any device, or a NumPy array.
        full_scale: (rows,), float32, what 255 stands for in each map; a map of 0 stays dark. Of
            the same kind as `values`.

    Returns:
        (rows, H, W), uint8, of the same kind.
    """
    if isinstance(values, np.ndarray):
        return scale_to_indices(_as_tensor(values), _as_tensor(full_scale)).numpy()
    divisors = torch.where(full_scale > 0, full_scale, torch.ones_like(full_scale))
    factors = torch.full_like(divisors, 255) / divisors  # torch takes 255 / x for 255 * (1 / x)
    indices = torch.empty(values.shape, dtype=torch.uint8, device=values.device)
    for row, (value, factor) in enumerate(zip(values, factors, strict=True)):
        indices[row] = (value * factor).round()
    return indices


def to_numpy(array: Tensor | NDArray[Any]) -> NDArray[Any]:
    """Return a NumPy array; it shares the memory of a tensor on the CPU."""
    if isinstance(array, np.ndarray):
        return array
    return array.cpu().numpy()


def _as_tensor(array: NDArray[Any]) -> Tensor:
    """Lend an array to torch; copy one that torch refuses, as read-only or reversed ones."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))
