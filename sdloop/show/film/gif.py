"""Indexed frames -> an animated GIF with one entry a frame, each with a palette of its own.

Each frame is compressed by Pillow as a picture of its own; the entries are joined here, because
encoders of whole animations merge equal frames and share palettes.
Format: GIF89a specification, CompuServe 1990.
"""

import struct
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdloop.machine.files import naming, replacing
from sdloop.machine.threads import in_threads
from sdloop.show.film.palette import IndexedFrame

HEADER_BYTES = 13  # signature and logical screen descriptor


def enlarge(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Repeat each pixel `factor` times in both directions; (H, W) or (H, W, 3)."""
    if factor == 1:
        return image
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def write_gif(
    path: Path, frames: Iterable[IndexedFrame], delays_ms: Sequence[int], scale: int = 1
) -> None:
    """Write an animation that loops for ever.

    Args:
        path: The GIF file.
        frames: All of one size; they are taken one by one and compressed in threads.
        delays_ms: How long each frame is shown, a multiple of 10; one a frame.
        scale: Whole factor by which small pictures are enlarged.

    Raises:
        ValueError: There are not as many frames as delays.
    """
    entries = in_threads(partial(_encode, scale=scale), frames)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for number, (entry, delay_ms) in enumerate(zip(entries, delays_ms, strict=True)):
            if number == 0:
                width, height = struct.unpack("<HH", entry[5:9])  # of its image descriptor
                file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
                file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # for ever
            file.write(struct.pack("<4sHBB", b"\x21\xf9\x04\x04", delay_ms // 10, 0, 0))
            file.write(entry)
        file.write(b"\x3b")


def hold_last(count: int, delay_ms: int, hold_ms: int) -> list[int]:
    """Return one delay a frame, the last one longer."""
    return [delay_ms] * (count - 1) + [hold_ms]


def _encode(frame: IndexedFrame, scale: int) -> bytes:
    """Compress one frame: image descriptor, local palette, data."""
    picture = Image.fromarray(enlarge(frame.indices, scale), "P")
    picture.putpalette(frame.palette.tobytes())
    # into a real file Pillow compresses without the GIL
    with naming(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as file:
        picture.save(file, "GIF", interlace=0)
        file.seek(0)
        whole = file.read()
    size_bits = whole[10] & 0x07
    table_end = HEADER_BYTES + 3 * 2 ** (size_bits + 1)
    table = whole[HEADER_BYTES:table_end]
    descriptor = whole.index(b"\x2c", table_end)
    start = whole[descriptor : descriptor + 9] + bytes([0x80 | size_bits])
    return start + table + whole[descriptor + 10 : -1]
