"""A run's three animations, in the formats asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdloop.machine.threads import in_threads
from sdloop.show.difference import DifferenceMaps, viridis
from sdloop.show.film.apng import write_apng
from sdloop.show.film.gif import hold_last, write_gif
from sdloop.show.film.mp4 import write_mp4
from sdloop.show.film.palette import IndexedFrame, beside, quantize
from sdloop.show.film.webp import write_webp


def write_animations(
    folder: Path,
    images: NDArray[np.uint8],
    maps: DifferenceMaps,
    formats: Sequence[str],
    delay_ms: int,
    hold_ms: int,
    scale: int = 1,
) -> None:
    """Write the frames, their differences, and each frame beside its difference.

    Args:
        folder: Gets one file a format and animation.
        images: (frames, H, W, 3), uint8.
        maps: The frames' differences, as NumPy arrays.
        formats: Of "gif", "webp", "apng", "mp4".
        delay_ms: How long each frame is shown, a multiple of 10.
        hold_ms: How long the last one is.
        scale: Whole factor by which small pictures are enlarged.
    """
    delays_ms = hold_last(len(images), delay_ms, hold_ms)
    if "gif" in formats:
        _write_gifs(folder, images, maps, delays_ms, scale)
    others = [suffix for suffix in formats if suffix != "gif"]
    for suffix in others:
        both = (
            np.concatenate(pair, axis=1) for pair in zip(images[1:], maps.colored(), strict=True)
        )
        _write(folder / f"frames.{suffix}", images, delays_ms, scale)
        _write(folder / f"difference.{suffix}", maps.colored(), delays_ms[1:], scale)
        _write(folder / f"evolution.{suffix}", both, delays_ms[1:], scale)


def _write(
    path: Path, pictures: Iterable[NDArray[np.uint8]], delays_ms: Sequence[int], scale: int
) -> None:
    """Write one animation in the format that its name says."""
    if path.suffix == ".webp":
        write_webp(path, pictures, delays_ms, scale, lossless=path.stem == "difference")
    elif path.suffix == ".apng":
        write_apng(path, pictures, delays_ms, scale)
    else:
        write_mp4(path, pictures, delays_ms, scale)


def _write_gifs(
    folder: Path,
    images: NDArray[np.uint8],
    maps: DifferenceMaps,
    delays_ms: Sequence[int],
    scale: int,
) -> None:
    """Write the GIFs, which have palettes instead of colours."""
    colormap = viridis()
    write_gif(folder / "frames.gif", in_threads(quantize, images), delays_ms, scale)
    differences = (IndexedFrame(indices, colormap) for indices in maps.indices)
    write_gif(folder / "difference.gif", differences, delays_ms[1:], scale)
    pairs = zip(images[1:], maps.indices, strict=True)
    both = in_threads(lambda pair: beside(*pair, colormap), pairs)
    write_gif(folder / "evolution.gif", both, delays_ms[1:], scale)
