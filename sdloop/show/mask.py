"""The picture that says where the object is -> a mask."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdloop.machine.errors import UserError, reason_of

MASK_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # others' readers run programs, or are rare


def read_mask(path: Path, height: int, width: int) -> NDArray[np.bool_]:
    """Read the picture that says where the object is.

    Args:
        path: A PNG, JPEG, WebP, BMP or GIF.
        height: The run's, in pixels.
        width: Likewise.

    Returns:
        bool (height, width), true where the picture is lighter than mid grey.

    Raises:
        UserError: It is not there, no picture, or of another size.
    """
    from PIL import Image

    key = f"measure.mask = {path}"
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{key}: is no file")
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(path, formats=MASK_FORMATS) as picture,
        ):
            # the size is in the header, and another than the run's is refused by it
            found = picture.size
            levels = np.asarray(picture.convert("L")) if found == (width, height) else None
    except FileNotFoundError:
        raise UserError(f"{key}: is not there") from None
    except UserError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        raise UserError(f"{key}: is not a picture that can be read: {reason_of(error)}") from None
    if levels is None:
        raise UserError(
            f"{key}: is {found[0]} x {found[1]} px; allowed: the run's size, {width} x {height}"
        )
    return levels > 127
