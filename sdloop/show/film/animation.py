"""Writes a run's three animations in the requested formats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdloop.machine.threads import in_threads
from sdloop.show.difference import DifferenceMaps, viridis
from sdloop.show.file_names import DIFFERENCE, EVOLUTION, FRAMES, animation_file
from sdloop.show.film.film import write_apng, write_mp4, write_webp
from sdloop.show.film.gif import hold_last, write_gif
from sdloop.show.film.palette import IndexedFrame, beside


def write_animations(
    folder: Path,
    images: NDArray[np.uint8],
    maps: DifferenceMaps,
    formats: Sequence[str],
    delay_ms: int,
    hold_ms: int,
    scale: int = 1,
    comment: str = "",
) -> None:
    """Write the frames, their differences, and each frame beside its difference.

    Args:
        folder: Where to write one file per format and animation.
        images: (frames, H, W, 3), uint8.
        maps: The differences between frames, as NumPy arrays.
        formats: Any of "gif", "webp", "apng", "mp4".
        delay_ms: How long to show each frame, a multiple of 10.
        hold_ms: How long to show the last one.
        scale: Whole factor by which to enlarge small pictures.
        comment: A text to keep in each file.
    """
    delays_ms = hold_last(len(images), delay_ms, hold_ms)
    for suffix in dict.fromkeys(formats):
        write = _write_gifs if suffix == "gif" else partial(_write_films, suffix)
        write(folder, images, maps, delays_ms, scale, comment)


def _write_gifs(
    folder: Path,
    images: NDArray[np.uint8],
    maps: DifferenceMaps,
    delays_ms: Sequence[int],
    scale: int,
    comment: str,
) -> None:
    """Write the GIFs, whose frames are indexed."""
    colormap = viridis()
    write_gif(folder / animation_file(FRAMES, "gif"), images, delays_ms, scale, comment)
    differences = (IndexedFrame(indices, colormap) for indices in maps.indices)
    write_gif(
        folder / animation_file(DIFFERENCE, "gif"), differences, delays_ms[1:], scale, comment
    )
    pairs = zip(images[1:], maps.indices, strict=True)
    both = in_threads(lambda pair: beside(*pair, colormap), pairs)
    write_gif(folder / animation_file(EVOLUTION, "gif"), both, delays_ms[1:], scale, comment)


def _write_films(
    suffix: str,
    folder: Path,
    images: NDArray[np.uint8],
    maps: DifferenceMaps,
    delays_ms: Sequence[int],
    scale: int,
    comment: str,
) -> None:
    """Write the animations in a true-colour format."""
    write = {"webp": write_webp, "apng": write_apng, "mp4": write_mp4}[suffix]
    exactly = partial(write_webp, lossless=True) if suffix == "webp" else write
    pairs = zip(images[1:], maps.colored(), strict=True)
    both = (np.concatenate(pair, axis=1) for pair in pairs)
    write(folder / animation_file(FRAMES, suffix), images, delays_ms, scale, comment)
    colored = maps.colored()
    exactly(folder / animation_file(DIFFERENCE, suffix), colored, delays_ms[1:], scale, comment)
    write(folder / animation_file(EVOLUTION, suffix), both, delays_ms[1:], scale, comment)
