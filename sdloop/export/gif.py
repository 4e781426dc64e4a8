"""Indexed frames -> an animated GIF with one entry a frame, each with a palette of its own.

Each frame is compressed by imageio's Pillow plugin as a palette image; the entries are joined
here, because encoders of whole animations merge equal frames and share palettes.
Format: GIF89a specification, CompuServe 1990.
"""

import io
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from sdloop.export.palette import IndexedFrame
from sdloop.files import replacing

HEADER_BYTES = 13  # signature and logical screen descriptor


def enlarge(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Repeat each pixel `factor` times in both directions; (H, W) or (H, W, 3)."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def write_gif(
    path: Path, frames: Iterable[IndexedFrame], delays_ms: Sequence[int], scale: int = 1
) -> None:
    """Write an animation that loops for ever.

    Args:
        path: The GIF file.
        frames: All of one size.
        delays_ms: How long each frame is shown, a multiple of 10; one a frame.
        scale: Whole factor by which small pictures are enlarged.

    Raises:
        ValueError: There are not as many frames as delays.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        for number, (frame, delay_ms) in enumerate(zip(frames, delays_ms, strict=True)):
            indices = enlarge(frame.indices, scale)
            if number == 0:
                height, width = indices.shape
                file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
                file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # for ever
            file.write(struct.pack("<4sHBB", b"\x21\xf9\x04\x04", delay_ms // 10, 0, 0))
            file.write(_encode(indices, frame.palette))
        file.write(b"\x3b")


def hold_last(count: int, delay_ms: int, hold_ms: int) -> list[int]:
    """Return one delay a frame, the last one longer."""
    return [delay_ms] * (count - 1) + [hold_ms]


def _encode(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Compress one frame: image descriptor, local palette, data."""
    buffer = io.BytesIO()
    with iio.imopen(buffer, "w", plugin="pillow", extension=".gif") as writer:
        writer.write(indices, mode="P", interlace=0)
        # the writer's own `palette` option reorders the colours by those of a grey ramp
        writer.images_to_write[0].putpalette(palette.tobytes())
    whole = buffer.getvalue()
    size_bits = whole[10] & 0x07
    table_end = HEADER_BYTES + 3 * 2 ** (size_bits + 1)
    table = whole[HEADER_BYTES:table_end]
    descriptor = whole.index(b"\x2c", table_end)
    start = whole[descriptor : descriptor + 9] + bytes([0x80 | size_bits])
    return start + table + whole[descriptor + 10 : -1]
