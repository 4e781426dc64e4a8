"""The blocks of a GIF file that holds an animation, each frame with a palette of its own.

Pillow compresses each frame as a picture of its own and the entries are joined here, because
encoders of whole animations merge equal frames and share palettes.
Format: GIF89a specification, CompuServe 1990; Netscape's extension for loops.
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
MOST = 65_535  # of pixels a side, loops, hundredths of a second


def header(width: int, height: int, loop: int | None) -> bytes:
    """Begin a file.

    Args:
        width: In pixels, as `height`.
        height: See `width`.
        loop: How often a viewer plays it again; 0 is for ever, None not at all.

    Returns:
        What stands before the first entry.
    """
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0)
    if loop is None:
        return screen
    return screen + b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", loop, 0)


def entry(indices: NDArray[np.uint8], palette: NDArray[np.uint8], hundredths: int) -> bytes:
    """Compress one frame.

    Args:
        indices: (H, W), uint8, into the palette.
        palette: (colours, 3), uint8, up to 256.
        hundredths: How long it is shown, in hundredths of a second.

    Returns:
        Its delay, image descriptor, palette and pixels.
    """
    picture = Image.fromarray(indices, "P")
    picture.putpalette(palette.tobytes())
    # into a real file Pillow compresses without the GIL
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
