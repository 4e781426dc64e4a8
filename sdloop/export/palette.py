"""Pictures -> palettes of their own, without dithering.

Weighted k-means (Lloyd 1982) over the occupied cells of a histogram of colours, started from a
median cut (Heckbert 1982) of a thumbnail: closer to the picture than a median cut of all its
pixels, and sooner done.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLORS = 256
ITERATIONS = 6
CELL_BITS = (6, 5)  # a channel; the coarser cells where a picture fills too many of the finer
MOST_CELLS = 6000
SEED_PX = 64
MAP_STRIDE = 4  # a coloured map beside a picture gets by on every fourth colour

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class IndexedFrame:
    """One picture by palette: indices uint8 (H, W) into palette uint8 (colours, 3)."""

    indices: NDArray[np.uint8]
    palette: NDArray[np.uint8]


@dataclass(frozen=True)
class _Histogram:
    """The occupied cells of the colour cube, and which of them each pixel lies in."""

    cell_of_pixel: NDArray[np.int64]
    occupied: NDArray[np.int64]
    counts: Floats
    means: Floats


def quantize(image: NDArray[np.uint8], colors: int = COLORS) -> IndexedFrame:
    """Reduce one picture to a palette of its own.

    Args:
        image: (H, W, 3), uint8.
        colors: The palette's size, up to 256.

    Returns:
        The indexed picture; exact if the picture has no more colours than that.
    """
    for bits in CELL_BITS:
        histogram = _count(image, bits)
        if len(histogram.occupied) <= MOST_CELLS:
            break
    if len(histogram.occupied) <= colors:
        exact = _index_exactly(image, colors)
        if exact is not None:
            return exact
    centers = _seed(image, min(colors, len(histogram.occupied)))
    for _ in range(ITERATIONS):
        centers = _move(centers, histogram)
    palette = np.rint(centers).astype(np.uint8)
    index_of_cell = np.zeros(1 << (3 * bits), dtype=np.uint8)
    index_of_cell[histogram.occupied] = _nearest(histogram.means, palette.astype(np.float32))
    return IndexedFrame(index_of_cell[histogram.cell_of_pixel].reshape(image.shape[:2]), palette)


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


def _count(image: NDArray[np.uint8], bits: int) -> _Histogram:
    """Sort the pixels into cells of 2^bits levels a channel."""
    red, green, blue = (image >> (8 - bits)).reshape(-1, 3).astype(np.int64).T
    cell_of_pixel = (red << (2 * bits)) | (green << bits) | blue
    counts = np.bincount(cell_of_pixel, minlength=1 << (3 * bits))
    occupied = np.flatnonzero(counts)
    sums = [
        np.bincount(cell_of_pixel, weights=channel, minlength=len(counts))[occupied]
        for channel in image.reshape(-1, 3).T
    ]
    means = np.stack(sums, axis=1) / counts[occupied, None]
    return _Histogram(
        cell_of_pixel, occupied, counts[occupied].astype(np.float32), means.astype(np.float32)
    )


def _index_exactly(image: NDArray[np.uint8], colors: int) -> IndexedFrame | None:
    """Keep every colour of a picture that has few; None if it has too many."""
    red, green, blue = image.reshape(-1, 3).astype(np.uint32).T
    packed, indices = np.unique((red << 16) | (green << 8) | blue, return_inverse=True)
    if len(packed) > colors:
        return None
    palette = np.stack([packed >> 16, (packed >> 8) & 255, packed & 255], axis=1)
    return IndexedFrame(indices.astype(np.uint8).reshape(image.shape[:2]), palette.astype(np.uint8))


def _seed(image: NDArray[np.uint8], colors: int) -> Floats:
    """Start from the median cut of a thumbnail, (colours, 3)."""
    stride = max(1, min(image.shape[:2]) // SEED_PX)
    thumbnail = Image.fromarray(np.ascontiguousarray(image[::stride, ::stride]))
    reduced = thumbnail.quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.array(reduced.getpalette("RGB"), dtype=np.float32).reshape(-1, 3)[:colors]


def _nearest(colors: Floats, centers: Floats) -> NDArray[np.int64]:
    """Find each colour's nearest centre; |x|^2 is left out, as it is the same for all centres."""
    distances = colors @ (-2 * centers.T)
    distances += (centers * centers).sum(axis=1)
    return distances.argmin(axis=1)


def _move(centers: Floats, histogram: _Histogram) -> Floats:
    """Move each centre to the mean of its cells; one without cells to the worst served cell."""
    nearest = _nearest(histogram.means, centers)
    count = len(centers)
    weights = np.bincount(nearest, weights=histogram.counts, minlength=count)
    sums = [
        np.bincount(nearest, weights=histogram.counts * channel, minlength=count)
        for channel in histogram.means.T
    ]
    lonely = weights == 0
    moved = np.stack(sums, axis=1) / np.where(lonely, 1, weights)[:, None]
    if lonely.any():
        error = histogram.counts * np.square(histogram.means - centers[nearest]).sum(axis=1)
        worst = np.argsort(-error, kind="stable")[: lonely.sum()]
        moved[np.flatnonzero(lonely)[: len(worst)]] = histogram.means[worst]
    return moved.astype(np.float32)
