"""Reads the picture that marks the object as a mask."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sdloop.machine.errors import UserError, reason_of

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # EXIF tag, and its values for a quarter turn
MASK_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # other readers run programs, or are rare


def read_mask(path: Path, height: int, width: int) -> NDArray[np.bool_]:
    """Read the picture that marks the object.

    Args:
        path: A PNG, JPEG, WebP, BMP or GIF.
        height: The run's height in pixels.
        width: The run's width in pixels.

    Returns:
        bool (height, width), true where the picture is lighter than mid grey. Transparent pixels
        count as black. If all pixels have one colour, the mask is the alpha channel, if any.

    Raises:
        UserError: The file is missing, is not a picture, or has another size.
    """
    from PIL import Image, ImageOps

    key = f"measure.mask = {path}"
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{key}: not a regular file")
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(path, formats=MASK_FORMATS) as picture,
        ):
            # the header has the size: refuse a wrong one before decoding
            turned = picture.getexif().get(ORIENTATION, 1) in TURNED
            found = picture.size[::-1] if turned else picture.size
            upright = ImageOps.exif_transpose(picture) if found == (width, height) else None
            light = None if upright is None else _lightness(upright)
    except FileNotFoundError:
        raise UserError(f"{key}: no such file") from None
    except UserError:
        raise
    except Exception as error:  # decoders may raise anything on damaged files
        raise UserError(f"{key}: is not a picture that can be read: {reason_of(error)}") from None
    if light is None:
        raise UserError(
            f"{key}: is {found[0]} x {found[1]} px; allowed: the run's size, {width} x {height}"
        )
    return light > 0.5


def _lightness(picture: Image.Image) -> NDArray[np.float32]:
    """Return each pixel's lightness over black, (H, W), from 0 to 1."""
    if picture.mode.startswith("I;16") or picture.mode == "I":  # 16 bits, which "L" would clip
        return np.asarray(picture, dtype=np.float32) / np.float32(65535)
    light = np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)
    if not picture.has_transparency_data:
        return light
    opaque = np.asarray(picture.convert("RGBA").getchannel("A"), dtype=np.float32) / np.float32(255)
    return opaque if light.min() == light.max() else light * opaque
