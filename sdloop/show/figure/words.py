"""A figure of the words of a prompt: where each was attended, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdloop.show.figure.figure import ColorBar, color_of
from sdloop.show.figure.sheet import Side, write_sheet

if TYPE_CHECKING:
    from sdloop.show.measure.words import WordMeasures

SHOWN_THROUGH = 0.4  # how much of a picture is seen through its map
MOST_PIXELS = 2**24  # of all cells together
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def write_words(
    path: Path,
    words: WordMeasures,
    images: NDArray[np.uint8],
    stages: Sequence[int],
    comment: str = "",
) -> None:
    """Draw each word's map over the picture: a row a word, a column a stage.

    What begins and ends the text stands below the words. The largest value of each row of maps is
    yellow.

    Args:
        path: The PNG file.
        words: The run's.
        images: uint8 (frames, H, W, 3).
        stages: The steps to show, counted from 0: stage k is frame k + 1.
        comment: A text to keep in the file.
    """
    pictures = _as_small_as_needed(images, stages, len(words.texts))
    order = [*range(1, len(words.texts) - 1), 0, len(words.texts) - 1]
    shown = np.nan_to_num(words.maps[list(stages)])  # of rows without any, nothing
    cells = [
        [
            overlay(picture, shown[column, word] / (shown[:, word].max() or 1))
            for column, picture in enumerate(pictures)
        ]
        for word in order
    ]
    captions = [[_caption(words, stage, word) for stage in stages] for word in order]
    write_sheet(
        path,
        cells,
        "Where each word was attended",
        Side("word", tuple(words.texts[word] for word in order)),
        Side(
            "below each map: the word's share of all attention, and how its places changed, "
            "1 being chance",
            tuple(f"step {stage}" for stage in stages),
        ),
        ColorBar("0", "most", "of the row"),
        captions,
        comment,
    )


def overlay(picture: NDArray[np.uint8], shares: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Lay a map over a picture, which shows through it in grey.

    Args:
        picture: uint8 (H, W, 3).
        shares: (h, w), from 0 for the dark end to 1 for the yellow.

    Returns:
        uint8 (H, W, 3); each value of the map covers its share of the picture.
    """
    height, width = picture.shape[:2]
    down = np.arange(height) * len(shares) // height
    across = np.arange(width) * shares.shape[1] // width
    colored = color_of(shares)[down[:, None], across]
    grey = (picture.astype(np.float32) @ LUMA)[..., None]
    return np.rint(SHOWN_THROUGH * grey + (1 - SHOWN_THROUGH) * colored).astype(np.uint8)


def _as_small_as_needed(
    images: NDArray[np.uint8], stages: Sequence[int], words: int
) -> list[NDArray[np.uint8]]:
    """Return the stages' pictures, smaller where all cells together would be very large."""
    height, width = images.shape[1:3]
    factor = min(1.0, (MOST_PIXELS / (words * len(stages) * height * width)) ** 0.5)
    if factor == 1:
        return [images[stage + 1] for stage in stages]
    size = max(1, round(factor * width)), max(1, round(factor * height))
    return [
        np.asarray(Image.fromarray(images[stage + 1]).resize(size, Image.Resampling.BOX))
        for stage in stages
    ]


def _caption(words: WordMeasures, stage: int, word: int) -> str:
    """Write a word's numbers in a step."""
    share, change = words.attention[stage, word], words.change[stage, word]
    if np.isnan(share):
        return "not kept"
    return f"{share:.1%}" + ("" if np.isnan(change) else f" · {change:.2f}")
