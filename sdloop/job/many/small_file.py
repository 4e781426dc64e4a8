"""A run's small pictures, to and from its folder: what the sweep's page is made of."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sdloop.machine.documents import read_file
from sdloop.machine.errors import UserError, reason_of
from sdloop.machine.files import replacing
from sdloop.show.page.small import Small, atlas_of, pictures_of
from sdloop.show.page.sweep_data import BEST_QUALITY

SMALL_FILE = "small.safetensors"
LARGEST_BYTES = 2**27


def save_small(path: Path, small: Small) -> None:
    """Write a run's small pictures, whole or not at all: WebP files, one per kind."""
    kinds = {"frames": small.frames, "differences": small.differences, "z0_hat": small.z0_hat}
    arrays = {name: _compressed(one) for name, one in kinds.items() if one is not None}
    with replacing(path) as temporary:
        temporary.write_bytes(save(arrays | {"peaks": small.peaks}))


def load_small(path: Path) -> Small:
    """Read what `save_small` wrote.

    Raises:
        UserError: The file does not exist, is damaged, or does not hold a run's small pictures.
    """
    content = read_file(path, str(path), LARGEST_BYTES)
    try:
        arrays = load(content)
        rows = len(arrays["peaks"])
        return Small(
            _pictures(arrays["frames"], rows + 1),
            _pictures(arrays["differences"], rows)[..., 0],
            arrays["peaks"],
            _pictures(arrays["z0_hat"], rows) if "z0_hat" in arrays else None,
        )
    except (SafetensorError, OSError, ValueError, KeyError, ZeroDivisionError) as error:
        raise UserError(f"{path}: is damaged: {reason_of(error)}") from None


def _compressed(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay pictures out in one, and compress that."""
    buffer = io.BytesIO()
    Image.fromarray(atlas_of(pictures)).save(buffer, "WEBP", quality=BEST_QUALITY, method=2)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _pictures(file: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Take the pictures out again, with three channels."""
    with Image.open(io.BytesIO(file.tobytes()), formats=["WEBP"]) as atlas:
        return pictures_of(np.asarray(atlas.convert("RGB")), count)
