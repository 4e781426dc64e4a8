"""Pictures -> an animated WebP with one entry a frame.

Each frame is compressed by Pillow as a picture of its own; the entries are joined here, because
encoders of whole animations merge equal frames. Format: RFC 9649.
"""

import io
import struct
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdloop.machine.files import replacing
from sdloop.machine.threads import in_threads
from sdloop.show.film.gif import enlarge

QUALITY = 90
RIFF_BYTES = 12  # "RIFF", size, "WEBP"
ANIMATED, REPLACES = 0x02, 0x02  # of the file's flags; of a frame's


def write_webp(
    path: Path,
    images: Iterable[NDArray[np.uint8]],
    delays_ms: Sequence[int],
    scale: int = 1,
    lossless: bool = False,
) -> None:
    """Write an animation that loops for ever.

    Args:
        path: The WebP file.
        images: (H, W, 3), uint8, all of one size.
        delays_ms: How long each frame is shown; one a frame.
        scale: Whole factor by which small pictures are enlarged.
        lossless: Keep every pixel exactly.

    Raises:
        ValueError: There are not as many frames as delays.
    """
    stills = in_threads(partial(_encode, scale=scale, lossless=lossless), images)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for number, ((size, still), delay_ms) in enumerate(zip(stills, delays_ms, strict=True)):
            if number == 0:
                file.write(_riff_head(0))
                file.write(_chunk(b"VP8X", bytes([ANIMATED, 0, 0, 0]) + size))
                file.write(_chunk(b"ANIM", struct.pack("<IH", 0, 0)))  # background; for ever
            header = bytes(6) + size + _int24(delay_ms) + bytes([REPLACES])
            file.write(_chunk(b"ANMF", header + still))
        size_bytes = file.tell()
        file.seek(0)
        file.write(_riff_head(size_bytes))


def _encode(picture: NDArray[np.uint8], scale: int, lossless: bool) -> tuple[bytes, bytes]:
    """Compress one frame: its size as the format writes it, its chunks."""
    buffer = io.BytesIO()
    image = Image.fromarray(enlarge(picture, scale))
    image.save(buffer, "WEBP", lossless=lossless, quality=50 if lossless else QUALITY, method=2)
    size = _int24(image.width - 1) + _int24(image.height - 1)
    return size, buffer.getvalue()[RIFF_BYTES:]


def _riff_head(file_bytes: int) -> bytes:
    """Begin the file; its size counts from behind itself."""
    return b"RIFF" + struct.pack("<I", max(0, file_bytes - 8)) + b"WEBP"


def _chunk(name: bytes, payload: bytes) -> bytes:
    """Wrap a payload; an odd one is padded."""
    return name + struct.pack("<I", len(payload)) + payload + bytes(len(payload) % 2)


def _int24(value: int) -> bytes:
    """Write three bytes, the least first."""
    return value.to_bytes(3, "little")
