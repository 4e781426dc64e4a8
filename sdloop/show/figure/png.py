"""Pictures -> PNG files."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from sdloop.machine.files import AnyPath, as_path, replacing
from sdloop.machine.threads import in_threads
from sdloop.show.comment import PNG_KEYWORD
from sdloop.show.file_names import numbered_pictures


def write_png(path: Path, image: NDArray[np.uint8], comment: str = "") -> None:
    """Write one picture, whole or not at all; create its folder if missing.

    Args:
        path: The PNG file.
        image: (H, W, 3), uint8.
        comment: A text to keep in the file.
    """
    texts = PngInfo()
    if comment:
        texts.add_itxt(PNG_KEYWORD, comment)
    with replacing(path) as temporary, temporary.open("wb") as file:
        # a file, as imageio reads more into a path than its name: ~, .zip/
        iio.imwrite(file, image, plugin="pillow", extension=".png", pnginfo=texts)


def write_frames(
    folder: AnyPath,
    images: NDArray[np.uint8],
    colormap: NDArray[np.uint8] | None = None,
    comment: str = "",
) -> None:
    """Write each picture as a PNG: 000.png, 001.png, ...

    Args:
        folder: Created if missing.
        images: (frames, H, W, 3), uint8; with `colormap`, indices into it, (frames, H, W).
        colormap: (256, 3), uint8.
        comment: A text to keep in each file.
    """

    paths = numbered_pictures(as_path(folder, "folder"), len(images))

    def write(named: tuple[Path, NDArray[np.uint8]]) -> None:
        path, image = named
        write_png(path, image if colormap is None else colormap[image], comment)

    for _ in in_threads(write, zip(paths, images, strict=True)):
        pass
