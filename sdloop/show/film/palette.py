"""Reduces each picture to its own palette, without dithering.

Weighted k-means (Lloyd 1982) over the occupied cells of a colour histogram. The initial entries
follow the high-resolution theory of quantisers: their density is that of the colours to the power
d / (d + 2) = 3/5 (Zador 1982), along a Z-order curve (Morton 1966) through the RGB cube. This is
closer to the picture than median cut, and faster.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdloop.show.film.cells import Cells, Floats, Ints, count_cells, merge_cells, split_cells

COLORS = 256
BITS, FINE_BITS, ALL_BITS = 5, 6, 8  # per channel
MOST_CELLS = 7000  # in a noisier picture finer cells make no visible difference
FEW_CELLS, ENOUGH_CELLS = 4, 16  # per colour; low contrast fills few cells, which are split
MOVES = 4  # k-means rounds over coarse cells, before one over all
DENSITY_POWER = 0.6
BLOCK = 256  # small enough for the cache, and for BLAS to start no threads
MAP_STRIDE = 4  # beside a picture, a map uses every fourth colour


@dataclass(frozen=True)
class IndexedFrame:
    """One indexed picture, which a GIF holds exactly.

    Attributes:
        indices: uint8 (H, W), indices into the palette.
        palette: uint8 (colours, 3), 1 to 256 colours.

    Raises:
        ValueError: An array has another type or shape, or an index is out of range.
    """

    indices: NDArray[np.uint8]
    palette: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Refuse arrays that would make a broken file."""
        for name, array in (("indices", self.indices), ("palette", self.palette)):
            if array.dtype != np.uint8 or array.ndim != 2:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not uint8 in two axes")
        count, channels = self.palette.shape
        if channels != 3 or not 1 <= count <= COLORS:
            raise ValueError(f"palette is {self.palette.shape}, not (1 to {COLORS}, 3)")
        if count < COLORS and self.indices.size and self.indices.max() >= count:
            raise ValueError(f"an index is {self.indices.max()}, but there are {count} colours")


def quantize(image: NDArray[np.uint8], colors: int = COLORS) -> IndexedFrame:
    """Reduce one picture to its own palette.

    Args:
        image: (H, W, 3), uint8.
        colors: The palette's size, up to 256.

    Returns:
        The indexed picture; exact if the picture has at most that many colours.
    """
    cells, slot_of_pixel = count_cells(image, BITS)
    if len(cells) >= FEW_CELLS * colors:
        coarse = merge_cells(cells)
    else:
        while len(cells) < ENOUGH_CELLS * colors and cells.bits < ALL_BITS:
            coarse = cells
            cells, slot_of_pixel = split_cells(image, cells, slot_of_pixel)
    if len(cells) <= colors:  # split fully: each cell holds one colour
        centers = cells.means[np.argsort(cells.numbers)]
    else:
        centers = _fit(cells if len(coarse) < 2 * colors else coarse, cells, colors)
    palette = np.rint(centers).astype(np.uint8)
    if cells.bits == BITS and len(cells) <= MOST_CELLS:
        cells, slot_of_pixel = count_cells(image, FINE_BITS)
    index_of_slot = np.zeros(cells.slots[-1] + 1, dtype=np.uint8)
    index_of_slot[cells.slots] = _nearest(cells.means, palette.astype(np.float32))
    return IndexedFrame(index_of_slot[slot_of_pixel].reshape(image.shape[:2]), palette)


def beside(
    frame: NDArray[np.uint8], indices: NDArray[np.uint8], colormap: NDArray[np.uint8]
) -> IndexedFrame:
    """Place a picture beside a coloured map, with one palette for both.

    Args:
        frame: (H, W, 3), uint8.
        indices: (H, W), uint8, indices into `colormap`.
        colormap: (256, 3), uint8; every fourth colour is kept, leaving 192 for the picture.

    Returns:
        (H, 2 W), indexed.
    """
    kept = colormap[MAP_STRIDE // 2 :: MAP_STRIDE]
    left = quantize(frame, COLORS - len(kept))
    right = indices // MAP_STRIDE + np.uint8(len(left.palette))
    palette = np.concatenate([left.palette, kept])
    return IndexedFrame(np.concatenate([left.indices, right], axis=1), palette)


def _fit(coarse: Cells, cells: Cells, colors: int) -> Floats:
    """Fit a palette, (colours, 3), to coarse cells, then refine it on all."""
    centers = _spread(coarse, colors)
    for grid in (*[coarse] * MOVES, cells):
        centers = _move(centers, grid)
    return centers


def _spread(cells: Cells, colors: int) -> Floats:
    """Choose the initial palette, (colours, 3): equal shares of density^(3/5) on the curve."""
    curve = np.zeros(len(cells), dtype=np.intp)
    for bit in range(cells.bits):
        for channel in range(3):
            curve |= ((cells.numbers >> (cells.bits * channel + bit)) & 1) << (3 * bit + channel)
    order = np.argsort(curve)
    density = np.cumsum(cells.weights[order].astype(np.float64) ** DENSITY_POWER)
    shares = (np.arange(colors) + 0.5) / colors * density[-1]
    return cells.means[order][np.searchsorted(density, shares)]


def _nearest(colors: Floats, centers: Floats) -> Ints:
    """Find each colour's nearest centre; |x|^2, equal for all centres, is left out."""
    ones = np.ones((len(colors), 1), dtype=np.float32)
    colors = np.concatenate([colors, ones], axis=1)
    factors = np.concatenate([-2 * centers.T, np.square(centers).sum(axis=1)[None]])
    nearest = np.empty(len(colors), dtype=np.intp)
    for start in range(0, len(colors), BLOCK):
        block = slice(start, start + BLOCK)
        np.argmin(colors[block] @ factors, axis=1, out=nearest[block])
    return nearest


def _move(centers: Floats, cells: Cells) -> Floats:
    """Move each centre to the mean of its cells, or, if it has none, to the worst-fitted cell."""
    nearest = _nearest(cells.means, centers)
    count = len(centers)
    weights = np.bincount(nearest, cells.weights, count)
    sums = [np.bincount(nearest, cells.weights * channel, count) for channel in cells.means.T]
    lonely = weights == 0
    moved = np.stack(sums, axis=1) / np.where(lonely, 1, weights)[:, None]
    if lonely.any():
        error = cells.weights * np.square(cells.means - centers[nearest]).sum(axis=1)
        worst = np.argsort(-error, kind="stable")[: lonely.sum()]
        moved[lonely] = cells.means[worst]
    return moved.astype(np.float32)
