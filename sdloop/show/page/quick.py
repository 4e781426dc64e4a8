"""A step of a run that is under way, as its page holds it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdloop.show.difference import scale_to_indices
from sdloop.show.page.packing import compress
from sdloop.show.page.text import finite, in_base64


def quick_step(
    frame: NDArray[np.uint8],
    difference: NDArray[np.float32],
    z0_hat: NDArray[np.uint8],
    numbers: Sequence[float],
    quality: int,
) -> dict[str, Any]:
    """Put one step of a run that is under way together.

    Args:
        frame: (H, W, 3).
        difference: (H, W), to the frame before, in 8-bit levels.
        z0_hat: (H, W, 3).
        numbers: In the order of the columns.
        quality: Of the WebP files, 0 to 100.

    Returns:
        `StepData` of web/data.js.
    """
    peak = difference.max(keepdims=True).reshape(1)
    levels = scale_to_indices(difference[None], peak)[0]
    files = [in_base64(compress(picture, quality)) for picture in (frame, levels, z0_hat)]
    return {
        "frame": files[0],
        "difference": files[1],
        "sixteenths": None,
        "z0_hat": files[2],
        "peak": float(peak[0]),
        "numbers": [finite(value) for value in numbers],
        "attention": None,
    }


def quick_picture(picture: NDArray[np.uint8], quality: int) -> str:
    """Compress a picture, (H, W, 3), as the page holds it."""
    return in_base64(compress(picture, quality))
