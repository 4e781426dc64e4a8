"""Pictures -> palettes of their own, without dithering.

Weighted k-means (Lloyd 1982) over the occupied cells of a colour histogram. The start is where the
high-resolution theory of quantisers puts the entries: as dense as the colours are, to the power
d / (d + 2) = 3/5 (Zador 1982), spread along a Z-order curve (Morton 1966) through the colour cube.
That is closer to the picture than a median cut, and sooner done.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLORS = 256
COARSE_BITS, BITS, FINE_BITS = 4, 5, 6  # a channel
MOST_CELLS = 7000  # a picture that fills more of them is too noisy to show finer ones
MORE = 1
MOVES = 4  # of the palette over coarse cells, before a last one over all
DENSITY_POWER = 0.6
BLOCK = 256  # products small enough for the cache, and for BLAS to need no threads of its own
MAP_STRIDE = 4  # a coloured map beside a picture gets by on every fourth colour

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class IndexedFrame:
    """One picture by palette: indices uint8 (H, W) into palette uint8 (colours, 3)."""

    indices: NDArray[np.uint8]
    palette: NDArray[np.uint8]


@dataclass(frozen=True)
class _Cells:
    """The occupied cells of the colour cube at `bits` a channel: number, pixels, mean colour."""

    bits: int
    numbers: Ints
    weights: Floats
    means: Floats

    def __len__(self) -> int:
        """Return how many are occupied."""
        return len(self.numbers)


def quantize(image: NDArray[np.uint8], colors: int = COLORS) -> IndexedFrame:
    """Reduce one picture to a palette of its own.

    Args:
        image: (H, W, 3), uint8.
        colors: The palette's size, up to 256.

    Returns:
        The indexed picture; exact if the picture has no more colours than that.
    """
    cells, cell_of_pixel = _count(image, BITS)
    if len(cells) <= colors:
        exact = _index_exactly(image, colors)
        if exact is not None:
            return exact
        colors = len(cells)
    coarse = _merge(cells, COARSE_BITS)
    if len(coarse) < 2 * colors:
        coarse = cells
    centers = _spread(coarse, colors)
    for grid in (*[coarse] * MOVES, *[cells] * (MORE if cells.bits > BITS else 1)):
        centers = _move(centers, grid)
    palette = np.rint(centers).astype(np.uint8)
    if len(cells) <= MOST_CELLS:
        cells, cell_of_pixel = _count(image, FINE_BITS)
    index_of_cell = np.zeros(1 << (3 * cells.bits), dtype=np.uint8)
    index_of_cell[cells.numbers] = _nearest(cells.means, palette.astype(np.float32))
    return IndexedFrame(index_of_cell[cell_of_pixel].reshape(image.shape[:2]), palette)


def beside(
    frame: NDArray[np.uint8], indices: NDArray[np.uint8], colormap: NDArray[np.uint8]
) -> IndexedFrame:
    """Put a picture beside a coloured map, in one palette.

    Args:
        frame: (H, W, 3), uint8.
        indices: (H, W), uint8, into `colormap`.
        colormap: (256, 3), uint8; every fourth colour is kept, the picture gets the other 192.

    Returns:
        (H, 2 W), indexed.
    """
    kept = colormap[MAP_STRIDE // 2 :: MAP_STRIDE]
    left = quantize(frame, COLORS - len(kept))
    right = indices // MAP_STRIDE + np.uint8(len(left.palette))
    palette = np.concatenate([left.palette, kept])
    return IndexedFrame(np.concatenate([left.indices, right], axis=1), palette)


def _count(image: NDArray[np.uint8], bits: int) -> tuple[_Cells, Ints]:
    """Sort the pixels into cells of 2^bits levels a channel; (H W,), the cell of each pixel."""
    pixels = image.reshape(-1, 3)
    red, green, blue = (pixels >> (8 - bits)).astype(np.intp).T
    cell_of_pixel = (red << (2 * bits)) | (green << bits) | blue
    counts = np.bincount(cell_of_pixel, minlength=1 << (3 * bits))
    return _occupied(bits, counts, cell_of_pixel, pixels), cell_of_pixel


def _merge(cells: _Cells, bits: int) -> _Cells:
    """Join cells into coarser ones."""
    channels = (cells.numbers >> (cells.bits * channel) for channel in (2, 1, 0))
    shift, levels = cells.bits - bits, (1 << bits) - 1
    red, green, blue = ((channel >> shift) & levels for channel in channels)
    merged = (red << (2 * bits)) | (green << bits) | blue
    counts = np.bincount(merged, cells.weights, 1 << (3 * bits))
    return _occupied(bits, counts, merged, cells.means * cells.weights[:, None])


def _occupied(
    bits: int, counts: NDArray[np.number], cell_of: Ints, colors: NDArray[np.number]
) -> _Cells:
    """Keep the cells that hold something, with the mean of the colours that they hold."""
    numbers = np.flatnonzero(counts)
    weights = counts[numbers].astype(np.float32)
    sums = [np.bincount(cell_of, channel, len(counts))[numbers] for channel in colors.T]
    return _Cells(bits, numbers, weights, (np.stack(sums, axis=1) / weights[:, None]).astype("f4"))


def _index_exactly(image: NDArray[np.uint8], colors: int) -> IndexedFrame | None:
    """Keep every colour of a picture that has few; None if it has too many."""
    red, green, blue = image.reshape(-1, 3).astype(np.uint32).T
    packed, indices = np.unique((red << 16) | (green << 8) | blue, return_inverse=True)
    if len(packed) > colors:
        return None
    palette = np.stack([packed >> 16, (packed >> 8) & 255, packed & 255], axis=1)
    return IndexedFrame(indices.astype(np.uint8).reshape(image.shape[:2]), palette.astype(np.uint8))


def _spread(cells: _Cells, colors: int) -> Floats:
    """Choose the first palette, (colours, 3): equal shares of density^(3/5) along the curve."""
    curve = np.zeros(len(cells), dtype=np.intp)
    for bit in range(cells.bits):
        for channel in range(3):
            curve |= ((cells.numbers >> (cells.bits * channel + bit)) & 1) << (3 * bit + channel)
    order = np.argsort(curve)
    density = np.cumsum(cells.weights[order].astype(np.float64) ** DENSITY_POWER)
    shares = (np.arange(colors) + 0.5) / colors * density[-1]
    return cells.means[order][np.searchsorted(density, shares)]


def _nearest(colors: Floats, centers: Floats) -> Ints:
    """Find each colour's nearest centre; |x|^2 is left out, as it is the same for all centres."""
    ones = np.ones((len(colors), 1), dtype=np.float32)
    colors = np.concatenate([colors, ones], axis=1)
    factors = np.concatenate([-2 * centers.T, np.square(centers).sum(axis=1)[None]])
    nearest = np.empty(len(colors), dtype=np.intp)
    for start in range(0, len(colors), BLOCK):
        block = slice(start, start + BLOCK)
        np.argmin(colors[block] @ factors, axis=1, out=nearest[block])
    return nearest


def _move(centers: Floats, cells: _Cells) -> Floats:
    """Move each centre to the mean of its cells; one without cells to the worst served cell."""
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
