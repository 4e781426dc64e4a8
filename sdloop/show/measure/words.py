"""Where each word was attended, how much, and whether the picture changed there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sdloop.sampler.trajectory import Word

LONGEST_NAME = 24  # of a word in a column's name
BEGIN, END = "begin", "end"


@dataclass(frozen=True)
class WordMeasures:
    """The attention of a run, word by word; NaN for rows of which none was kept.

    Attributes:
        names: What each word's columns begin with: begin, word_1_panda, ..., end.
        texts: Each as written; "begin" and "end" for what begins and ends the text.
        maps: float32 (rows, words, h, w), the share of each place's attention that a word has, on
            the finest grid that was kept; 0 to 1. The words of a place sum to 1.
        attention: float64 (rows, words), the mean of each map: the word's share of all attention.
        change: float64 (rows, words), how much of the row's change falls where the word is
            attended, over what chance would give: 1 if either is even, 2 twice that. NaN where
            nothing changed.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    maps: NDArray[np.float32]
    attention: NDArray[np.float64]
    change: NDArray[np.float64]

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Return a number for each step: name -> (rows,)."""
        return {
            f"{name}_{kind}": values[:, at]
            for kind, values in (("attention", self.attention), ("change", self.change))
            for at, name in enumerate(self.names)
        }


def measure_words(
    captured: Mapping[str, Tensor], words: Sequence[Word], differences: Tensor
) -> WordMeasures:
    """Turn the attention of tokens into that of words, and hold it against what changed.

        m_w(x) = sum of the word's tokens, all resolutions enlarged / the same sum of all tokens
        attention_w = mean over x of m_w(x)
        change_w = (sum over x of d(x) m_w(x) / sum over x of d(x)) / attention_w

    d is the row's difference, averaged over the places of the finest resolution. So `change_w` is
    how strongly the word is attended where the picture changes, over how strongly it is attended
    anywhere: 1 for a word that is attended evenly, as for a change that is even.

    Args:
        captured: A trajectory's: name -> float16 (rows, tokens, h, w), the finest first.
        words: Its prompt's, with begin and end.
        differences: float32 (rows, H, W), the reduced absolute differences, on any device.

    Returns:
        The measures, on the CPU.
    """
    high, wide = next(iter(captured.values())).shape[-2:]
    size = (high, wide)
    rows = len(differences)
    changes = F.adaptive_avg_pool2d(differences.cpu()[:, None], size)[:, 0].double()
    maps = torch.empty((rows, len(words), *size))
    attention, there = torch.empty((2, rows, len(words)), dtype=torch.float64)
    for row in range(rows):
        maps[row] = _maps_of_row(captured, words, size, row)
        exact = maps[row].double()
        attention[row] = exact.mean(dim=(1, 2))
        there[row] = torch.einsum("whx,hx->w", exact, changes[row])
    totals = changes.sum(dim=(1, 2))
    there /= torch.where(totals > 0, totals, torch.nan)[:, None]
    return WordMeasures(
        tuple(_name(at, word, len(words)) for at, word in enumerate(words)),
        tuple(_text(at, word, len(words)) for at, word in enumerate(words)),
        maps.numpy(),
        attention.numpy(),
        (there / torch.where(attention > 0, attention, torch.nan)).numpy(),
    )


def _maps_of_row(
    captured: Mapping[str, Tensor], words: Sequence[Word], size: tuple[int, int], row: int
) -> Tensor:
    """Return each word's share of every place's attention, float32 (words, h, w)."""
    total = torch.zeros(size)
    shares = torch.zeros((len(words), *size))
    for tokens in (each[row].float() for each in captured.values()):
        by_word = torch.stack([tokens[list(word.tokens)].sum(dim=0) for word in words])
        both = torch.cat([by_word, tokens.sum(dim=0, keepdim=True)])
        if both.shape[-2:] != size:
            both = F.interpolate(both[None], size, mode="bilinear")[0]
        shares += both[:-1]
        total += both[-1]
    return shares / torch.where(total > 0, total, torch.nan)


def _text(at: int, word: Word, count: int) -> str:
    """Return a word as it is shown."""
    return word.text or (BEGIN if at == 0 else END if at == count - 1 else "")


def _name(at: int, word: Word, count: int) -> str:
    """Name a word's columns, as an identifier that no other word has."""
    if not word.text:
        return _text(at, word, count)
    plain = "".join(char if f"a{char}".isidentifier() else " " for char in word.text)
    text = re.sub(r"\s+", "_", plain.strip())[:LONGEST_NAME]
    return f"word_{at}_{text}" if text else f"word_{at}"
