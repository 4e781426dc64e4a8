"""A colour histogram: pixels counted in cells of the RGB cube."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Cells:
    """The occupied cells of an RGB cube with 2^bits levels per channel.

    Attributes:
        bits: Bits per channel.
        numbers: (cells,), each cell's place in the cube: red, green and blue, `bits` each.
        slots: (cells,), ascending: each cell's place in the histogram.
        weights: (cells,), the number of pixels in each cell.
        means: (cells, 3), the mean colour of each cell.
    """

    bits: int
    numbers: Ints
    slots: Ints
    weights: Floats
    means: Floats

    def __len__(self) -> int:
        """Return the number of occupied cells."""
        return len(self.slots)


def count_cells(image: NDArray[np.uint8], bits: int) -> tuple[Cells, Ints]:
    """Sort the pixels into cells.

    Args:
        image: (H, W, 3), uint8.
        bits: Bits per channel. The histogram has a slot for every cell, occupied or not.

    Returns:
        The cells, and each pixel's slot, (H W,).
    """
    pixels = image.reshape(-1, 3)
    slot_of_pixel = _join((pixels >> (8 - bits)).astype(np.intp).T, bits)
    counts = np.bincount(slot_of_pixel, minlength=1 << (3 * bits))
    slots = np.flatnonzero(counts)
    return _describe(bits, slots, slots, counts, slot_of_pixel, pixels), slot_of_pixel


def split_cells(image: NDArray[np.uint8], cells: Cells, slot_of_pixel: Ints) -> tuple[Cells, Ints]:
    """Split each occupied cell into eight.

    Args:
        image: (H, W, 3), uint8.
        cells: The picture's cells.
        slot_of_pixel: (H W,), each pixel's slot in their histogram.

    Returns:
        The smaller cells and each pixel's slot. Their histogram has slots only for the children
        of occupied cells, so it stays small where the whole cube would take megabytes.
    """
    pixels, bits = image.reshape(-1, 3), cells.bits + 1
    rank_of_slot = np.empty(cells.slots[-1] + 1, dtype=np.intp)
    rank_of_slot[cells.slots] = np.arange(len(cells))
    octant_of_pixel = _join(((pixels >> (8 - bits)) & 1).astype(np.intp).T, 1)
    slot_of_pixel = 8 * rank_of_slot[slot_of_pixel] + octant_of_pixel
    counts = np.bincount(slot_of_pixel, minlength=8 * len(cells))
    slots = np.flatnonzero(counts)
    parents, octants = _part(cells.numbers[slots // 8], cells.bits), _part(slots % 8, 1)
    numbers = _join(
        [2 * parent + half for parent, half in zip(parents, octants, strict=True)], bits
    )
    return _describe(bits, numbers, slots, counts, slot_of_pixel, pixels), slot_of_pixel


def merge_cells(cells: Cells) -> Cells:
    """Merge cells into cells twice as wide in each channel."""
    bits = cells.bits - 1
    slot_of_cell = _join([channel // 2 for channel in _part(cells.numbers, cells.bits)], bits)
    counts = np.bincount(slot_of_cell, cells.weights, 1 << (3 * bits))
    slots, sums = np.flatnonzero(counts), cells.means * cells.weights[:, None]
    return _describe(bits, slots, slots, counts, slot_of_cell, sums)


def _join(channels: Sequence[Ints] | Ints, bits: int) -> Ints:
    """Pack three channels of `bits` each into one number."""
    red, green, blue = channels
    return (red << (2 * bits)) | (green << bits) | blue


def _part(numbers: Ints, bits: int) -> list[Ints]:
    """Undo `_join`."""
    return [(numbers >> (bits * channel)) & ((1 << bits) - 1) for channel in (2, 1, 0)]


def _describe(
    bits: int,
    numbers: Ints,
    slots: Ints,
    counts: NDArray[np.number],
    slot_of_color: Ints,
    colors: NDArray[np.number],
) -> Cells:
    """Make cells of a histogram's occupied slots, with the mean colour of each."""
    weights = counts[slots].astype(np.float32)
    sums = [np.bincount(slot_of_color, channel, len(counts))[slots] for channel in colors.T]
    means = (np.stack(sums, axis=1) / weights[:, None]).astype(np.float32)
    return Cells(bits, numbers, slots, weights, means)
