"""What the page holds of the words' attention: small pictures of all maps of a step."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sdloop.show.measure.words import WordMeasures
from sdloop.show.page.packing import compress_exactly

LONGEST_SIDE = 32  # cells; finer maps are averaged


def word_facts(words: WordMeasures | None) -> list[dict[str, Any]] | None:
    """List the words of a run.

    Args:
        words: The run's; None if no attention was kept.

    Returns:
        `WordFacts` of web/data.js, begin and end among them.
    """
    if words is None:
        return None
    last = len(words.texts) - 1
    return [
        {
            "text": text,
            "apart": at in (0, last),
            "attention": f"{name}_attention",
            "change": f"{name}_change",
        }
        for at, (text, name) in enumerate(zip(words.texts, words.names, strict=True))
    ]


def pack_words(words: WordMeasures | None, rows: int) -> list[str | None]:
    """Put the maps of each step into one picture, word beside word.

    Args:
        words: The run's; None if no attention was kept.
        rows: How many the run has.

    Returns:
        For each row a WebP file in base64, (h, words w) in grey, 255 for the word's largest value
        of all rows; None where nothing was kept.
    """
    if words is None:
        return [None] * rows
    maps = _shrunk(words.maps)
    peaks = np.max([np.nan_to_num(row).max(axis=(1, 2)) for row in maps], axis=0)
    scale = (255 / np.where(peaks > 0, peaks, 1))[:, None, None]
    levels = (np.rint(np.nan_to_num(row) * scale).astype(np.uint8) for row in maps)
    files = compress_exactly(np.ascontiguousarray(np.concatenate(list(row), 1)) for row in levels)
    totals = words.attention.sum(axis=1).tolist()
    return [
        None if math.isnan(total) else base64.b64encode(file).decode()
        for file, total in zip(files, totals, strict=True)
    ]


def _shrunk(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average maps that are finer than the page needs."""
    high, wide = maps.shape[-2:]
    factor = max(1.0, max(high, wide) / LONGEST_SIDE)
    if factor == 1:
        return maps
    size = max(1, round(high / factor)), max(1, round(wide / factor))
    return F.adaptive_avg_pool2d(torch.from_numpy(maps), size).numpy()
