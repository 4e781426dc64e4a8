"""Pictures -> WebP files that fit a number of bytes: exact where they are small enough."""

import io
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdloop.machine.threads import in_threads

LOSSLESS = None
SIXTEENTHS = 16
QUALITIES = (LOSSLESS, 95, 90, 85, 80, 75, 70, 65, 60, 50, 40, 30, 20, 10)
Stack = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
PROBE_EVERY = 8  # the noise of the first frame costs the most, and is among the probes


@dataclass(frozen=True)
class Packed:
    """Stacks of pictures, compressed.

    Attributes:
        stacks: WebP files, in the order of the pictures.
        quality: Of all of them, 0 to 100; None is lossless.
    """

    stacks: tuple[tuple[bytes, ...], ...]
    quality: int | None

    @property
    def size_bytes(self) -> int:
        """Return the size of all files together."""
        return sum(len(file) for stack in self.stacks for file in stack)


def pack(
    stacks: Sequence[Stack], budget_bytes: int, qualities: Sequence[int | None] = QUALITIES
) -> Packed:
    """Compress pictures at the best quality that fits.

    Args:
        stacks: Each (pictures, H, W) in grey or (pictures, H, W, 3), or pictures of several sizes.
        budget_bytes: Of all of them together. The lowest quality is taken even if it does not fit.
        qualities: Those to choose from, the best first.

    Returns:
        Lossless files if those fit, else all of one quality.
    """
    probe_budget_bytes = budget_bytes * _probe_share(stacks)

    def seems_to_fit(quality: int | None) -> bool:
        return _compress(stacks, quality, PROBE_EVERY).size_bytes <= probe_budget_bytes

    best = bisect_left(qualities, True, key=seems_to_fit)
    for quality in qualities[best:-1]:
        packed = _compress(stacks, quality)
        if packed.size_bytes <= budget_bytes:
            return packed
    return _compress(stacks, qualities[-1])


def compress_exactly(pictures: Iterable[NDArray[np.uint8]]) -> tuple[bytes, ...]:
    """Compress pictures without loss."""
    return tuple(in_threads(partial(compress, quality=LOSSLESS), pictures))


def sixteenths_of(
    values: NDArray[np.float32], peaks: NDArray[np.float32]
) -> Iterator[NDArray[np.uint8]]:
    """Yield what rounding to a level takes from each difference.

    Level and sixteenths together are a fixed-point number of 12 bits. Its unit is 1/4080 of the
    step's largest difference, and it is at most half of that off.

    Args:
        values: (rows, H, W), in any unit.
        peaks: (rows,), the value that level 255 stands for in each.

    Yields:
        (H, W), sixteenths of a level above or below the rounded one, plus 8: 0 to 16.
    """
    for value, peak in zip(values, peaks, strict=True):
        levels = value * (np.float32(255) / (peak if peak > 0 else np.float32(1)))
        sixteenths = np.rint((levels - np.rint(levels)) * np.float32(SIXTEENTHS))
        yield (sixteenths + 8).astype(np.uint8)


def _compress(stacks: Sequence[Stack], quality: int | None, every: int = 1) -> Packed:
    """Compress each stack, or only every `every`-th picture of it."""
    encode = partial(compress, quality=quality)
    return Packed(tuple(tuple(in_threads(encode, stack[::every])) for stack in stacks), quality)


def _probe_share(stacks: Sequence[Stack]) -> float:
    """Tell which share of all pixels the probes are."""
    probes = sum(picture.size for stack in stacks for picture in stack[::PROBE_EVERY])
    return probes / sum(picture.size for stack in stacks for picture in stack)


def compress(picture: NDArray[np.uint8], quality: int | None) -> bytes:
    """Compress one picture; the quicker settings, as each costs a few percent of size only."""
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if quality is LOSSLESS:
        image.save(buffer, "WEBP", lossless=True, quality=50, method=0)
    else:
        image.save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()
