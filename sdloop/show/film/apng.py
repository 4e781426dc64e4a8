"""Pictures -> an animated PNG, exact to the pixel, with one entry a frame.

Each frame is compressed by Pillow as a picture of its own; the entries are joined here, because
encoders of whole animations merge equal frames. Format: PNG, third edition (W3C, 2025).
"""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdloop.machine.files import replacing
from sdloop.machine.threads import in_threads
from sdloop.show.film.gif import enlarge

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER, SIZE = slice(16, 29), slice(16, 24)  # the payload of IHDR, which comes first; in it


def write_apng(
    path: Path, images: Iterable[NDArray[np.uint8]], delays_ms: Sequence[int], scale: int = 1
) -> None:
    """Write an animation that loops for ever.

    Args:
        path: The file, by custom `.apng` or `.png`.
        images: (H, W, 3), uint8, all of one size.
        delays_ms: How long each frame is shown, a multiple of 10; one a frame.
        scale: Whole factor by which small pictures are enlarged.

    Raises:
        ValueError: There are not as many frames as delays.
    """
    stills = in_threads(partial(_encode, scale=scale), images)
    number = count()  # of every chunk that belongs to the animation
    with replacing(path) as temporary, temporary.open("wb") as file:
        for frame, (still, delay_ms) in enumerate(zip(stills, delays_ms, strict=True)):
            if frame == 0:
                file.write(SIGNATURE + _chunk(b"IHDR", still[HEADER]))
                file.write(_chunk(b"acTL", struct.pack(">II", len(delays_ms), 0)))  # 0: for ever
            control = (next(number), still[SIZE], delay_ms // 10, 100, 0, 0)
            file.write(_chunk(b"fcTL", struct.pack(">I8s8xHHBB", *control)))
            data = _data_of(still)
            if frame == 0:
                file.write(_chunk(b"IDAT", data))
            else:
                file.write(_chunk(b"fdAT", struct.pack(">I", next(number)) + data))
        file.write(_chunk(b"IEND", b""))


def _encode(picture: NDArray[np.uint8], scale: int) -> bytes:
    """Compress one frame to a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(enlarge(picture, scale)).save(buffer, "PNG")
    return buffer.getvalue()


def _data_of(still: bytes) -> bytes:
    """Join the payloads of a PNG file's IDAT chunks."""
    data, at = b"", len(SIGNATURE)
    while at < len(still):
        (length,) = struct.unpack(">I", still[at : at + 4])
        if still[at + 4 : at + 8] == b"IDAT":
            data += still[at + 8 : at + 8 + length]
        at += length + 12
    return data


def _chunk(name: bytes, payload: bytes) -> bytes:
    """Wrap a payload."""
    checksum = struct.pack(">I", zlib.crc32(name + payload))
    return struct.pack(">I", len(payload)) + name + payload + checksum
