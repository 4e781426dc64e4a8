"""Checks the frames and durations that imageio passes, and converts them for GIF."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import cache
from itertools import repeat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdloop.show.film.gif_blocks import MOST
from sdloop.show.film.palette import IndexedFrame

Picture = IndexedFrame | NDArray[np.uint8]
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


def pictures_of(
    ndimage: Picture | ArrayLike | Iterable[Picture | ArrayLike], is_batch: bool | None
) -> Iterable[Picture | ArrayLike]:
    """Split a stack into pictures.

    Args:
        ndimage: One picture, an array of several, or an iterable of them, which is not read here.
        is_batch: Whether the array's first axis counts pictures. None decides by shape: it does
            with four axes, and with three if the last is not of length 1, 3 or 4.

    Returns:
        The pictures, unchanged.
    """
    if isinstance(ndimage, IndexedFrame):
        return [ndimage]
    if isinstance(ndimage, Iterable) and not hasattr(ndimage, "__array__"):
        return ndimage
    array = np.asarray(ndimage)
    if is_batch is None:
        is_batch = array.ndim > 3 or (array.ndim == 3 and array.shape[2] not in CHANNELS)
    return array if is_batch else [array]


def checked(picture: Picture | ArrayLike) -> Picture:
    """Check a picture and convert it to what a GIF can hold.

    Args:
        picture: Indexed, or uint8 (H, W), (H, W, 1), (H, W, 3) or opaque (H, W, 4).

    Returns:
        The indexed picture itself; a grey picture as an indexed one; or a copy in RGB, (H, W, 3),
        as the caller may change the array before it is compressed.

    Raises:
        ValueError: The picture has another type or shape, is transparent in places, or is too
            large for a GIF.
    """
    if isinstance(picture, IndexedFrame):
        _check_size(*picture.indices.shape)
        return picture
    array = np.asarray(picture)
    if array.dtype != np.uint8:
        raise ValueError(f"a frame is {array.dtype}; a GIF takes uint8, 0 to 255")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in CHANNELS:
        raise ValueError(
            f"a frame has the shape {array.shape}; a GIF takes (H, W), (H, W, 3) or (H, W, 4)"
        )
    height, width, channels = array.shape
    _check_size(height, width)
    if channels == 1:
        return IndexedFrame(array[..., 0].copy(), _greys())
    if channels == 4 and array[..., 3].min() < 255:
        raise ValueError("a frame is transparent in places; lay it on a background first")
    return array[..., :3].copy()


def timed(
    pictures: Iterable[Picture | ArrayLike], duration: float | Sequence[float]
) -> Iterator[tuple[Picture | ArrayLike, int]]:
    """Pair pictures with their durations.

    Args:
        pictures: Read one by one.
        duration: In milliseconds, one number or one per picture.

    Returns:
        Each picture with its duration in hundredths of a second, GIF's unit. A duration above 0
        is at least 1: viewers replace 0 by a default.

    Raises:
        ValueError: A duration is out of range, or the numbers of pictures and durations differ.
    """
    times_ms = np.asarray(duration, dtype=np.float64)
    if not ((times_ms >= 0) & (times_ms <= 10 * MOST)).all():
        raise ValueError(f"duration {duration}: a GIF holds 0 to {10 * MOST} ms a frame")
    hundredths = np.floor(times_ms / 10 + 0.5).astype(int)
    hundredths = np.where(times_ms > 0, np.maximum(hundredths, 1), 0)
    if hundredths.ndim == 0:
        return zip(pictures, repeat(int(hundredths)), strict=False)
    if isinstance(pictures, Sized) and len(pictures) != len(hundredths):
        raise ValueError(f"there are {len(pictures)} frames, but {len(hundredths)} durations")
    return zip(pictures, hundredths.tolist(), strict=True)


def _check_size(height: int, width: int) -> None:
    """Refuse sizes that the format cannot store."""
    if not (0 < height <= MOST and 0 < width <= MOST):
        raise ValueError(f"a frame is {width} x {height} px; a GIF holds 1 to {MOST} per side")


@cache
def _greys() -> NDArray[np.uint8]:
    """Return the palette of grey levels."""
    greys = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    greys.setflags(write=False)
    return greys
