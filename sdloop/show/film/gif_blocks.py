"""The blocks of an animated GIF, with a palette per frame.

Pillow compresses each frame as a separate picture and this module joins them, because Pillow's
animation encoder merges equal frames and shares palettes.
Format: GIF89a specification, CompuServe 1990; Netscape's looping extension.
"""

import struct
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdloop.machine.files import naming

HEADER_BYTES = 13  # signature and logical screen descriptor
TRAILER = b"\x3b"
MOST = 65_535  # pixels per side, loops, hundredths of a second


def header(width: int, height: int, loop: int | None, comment: str = "") -> bytes:
    """Return the start of a file.

    Args:
        width: In pixels.
        height: In pixels.
        loop: How often a viewer repeats the animation; 0: forever, None: never.
        comment: A text to keep in the file.

    Returns:
        Everything before the first entry.
    """
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0)
    said = _comment(comment) if comment else b""
    if loop is None:
        return screen + said
    return screen + b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", loop, 0) + said


def _comment(text: str) -> bytes:
    """Return a comment extension: the text in blocks of up to 255 bytes."""
    data = text.encode()
    parts = (data[at : at + 255] for at in range(0, len(data), 255))
    return b"\x21\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\x00"


def entry(indices: NDArray[np.uint8], palette: NDArray[np.uint8], hundredths: int) -> bytes:
    """Compress one frame.

    Args:
        indices: (H, W), uint8, indices into the palette.
        palette: (colours, 3), uint8, up to 256 colours.
        hundredths: How long to show it, in hundredths of a second.

    Returns:
        Its graphic control extension (the delay), image descriptor, palette and pixels.
    """
    picture = Image.fromarray(indices, "P")
    picture.putpalette(palette.tobytes())
    # Pillow releases the GIL when it writes to a real file
    with naming(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as file:
        picture.save(file, "GIF", interlace=0)
        file.seek(0)
        whole = file.read()
    size_bits = whole[10] & 0x07
    table_end = HEADER_BYTES + 3 * 2 ** (size_bits + 1)
    descriptor = whole.index(b"\x2c", table_end)
    control = struct.pack("<4sHBB", b"\x21\xf9\x04\x04", hundredths, 0, 0)
    start = whole[descriptor : descriptor + 9] + bytes([0x80 | size_bits])
    table = whole[HEADER_BYTES:table_end]
    return control + start + table + whole[descriptor + 10 : -1]
