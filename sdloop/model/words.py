"""A prompt's words, and which tokens stand for each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import TYPE_CHECKING

from sdloop.model.text import expand

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

LINKS = "-'’"  # inside a word they belong to it
WORD = re.compile(r"w+(?:-w+)*|[-p]+")  # of the kinds of characters

Word = tuple[str, tuple[int, ...]]


def words_of(tokenizer: CLIPTokenizer, prompt: str) -> list[Word]:
    """Find a prompt's words among its tokens, by the tokenizer's own offsets.

    A word is a run of letters and digits, with hyphens and apostrophes inside; other characters
    that stand together, such as a comma, are one too. A token that reaches over several joins
    them, and so do the vectors of one textual inversion.

    Args:
        tokenizer: The model's.
        prompt: Any text.

    Returns:
        Words in order, each with the numbers of its tokens, counted from 0; the first, "", is the
        token that begins the text and the last, "", the one that ends it, with the padding behind.
        A word of which the limit leaves no token is not there.
    """
    text = expand(tokenizer, prompt)
    limit = tokenizer.model_max_length
    encoded = tokenizer(
        text,
        padding="max_length",
        max_length=limit,
        truncation=True,
        return_offsets_mapping=True,
    )
    spans = [match.span() for match in WORD.finditer("".join(map(_kind, text)))]
    places = [
        (token, start, end)
        for token, (start, end) in enumerate(encoded.offset_mapping)
        if end > start
    ]
    words: list[tuple[int, int, list[int]]] = []  # start, end, tokens
    for token, start, end in places:
        touched = [span for span in spans if span[0] < end and start < span[1]] or [(start, end)]
        low, high = touched[0][0], touched[-1][1]
        if words and low < words[-1][1]:
            low, _, tokens = words.pop()
            words.append((low, max(high, end), [*tokens, token]))
        else:
            words.append((low, high, [token]))
    named = [(text[low:high], tuple(tokens)) for low, high, tokens in words]
    last = places[-1][0] if places else 0
    ends = tuple(range(last + 1, limit))
    return [("", (0,)), *_joined(named, tokenizer.added_tokens_encoder.keys()), ("", ends)]


def _kind(char: str) -> str:
    """Tell letters with their marks (w), links (-), spaces and all else (p) apart."""
    if char.isalnum() or char == "_" or unicodedata.category(char).startswith("M"):
        return "w"
    return "-" if char in LINKS else " " if char.isspace() else "p"


def _joined(words: list[Word], added: Collection[str]) -> list[Word]:
    """Put the vectors of a textual inversion, <cat> <cat>_1 <cat>_2, together."""
    joined: list[Word] = []
    for text, tokens in words:
        before, _, number = text.rpartition("_")
        same = joined and number.isdecimal() and before == joined[-1][0]
        if same and text in added and before in added:
            joined[-1] = (before, joined[-1][1] + tokens)
        else:
            joined.append((text, tokens))
    return joined
