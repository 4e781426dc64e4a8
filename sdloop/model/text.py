"""Prompts -> text embeddings, [uncond, cond]."""

from __future__ import annotations

import textwrap
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sdloop.machine.errors import UserError

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

LONGEST_QUOTE = 60  # of a prompt in an error


def words_cut(tokenizer: CLIPTokenizer, prompt: str) -> list[str]:
    """List the words at a prompt's end that the tokenizer's limit cuts off, wholly or in part.

    Args:
        tokenizer: The model's tokenizer.
        prompt: Any text.

    Returns:
        The words; empty if the whole prompt is used.
    """
    limit = tokenizer.model_max_length - 2  # begin and end of text
    words = prompt.split()

    def is_cut(used: int) -> bool:
        text = " ".join(words[:used])
        return len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids) > limit

    # a word more never makes fewer tokens
    return words[bisect_left(range(1, len(words) + 1), True, key=is_cut) :]


@torch.no_grad()
def encode_prompts(
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    prompts: Sequence[str],
    negative_prompts: Sequence[str] | None = None,
) -> torch.Tensor:
    """Encode prompts as Stable Diffusion does: padded, cut at the limit, last hidden state.

    Args:
        tokenizer: The model's tokenizer.
        text_encoder: The model's text encoder; its device and dtype are used.
        prompts: One prompt a sample, B of them.
        negative_prompts: What guidance leads away from, one a sample ("" for nothing). None leaves
            the unconditional half out, for guidance_scale 1.

    Returns:
        (2 B, tokens, width), all unconditional rows first, or (B, tokens, width).

    Raises:
        UserError: The embedding of a prompt is not finite.
    """
    texts = [*(negative_prompts or ()), *prompts]
    tokens = tokenizer(
        texts,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).to(text_encoder.device)
    uses_mask = getattr(text_encoder.config, "use_attention_mask", False)
    mask = tokens.attention_mask if uses_mask else None
    embeddings = text_encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
    finite = torch.isfinite(embeddings).flatten(1).all(dim=1).tolist()
    for text, is_finite in zip(texts, finite, strict=True):
        if not is_finite:
            shortened = textwrap.shorten(text, LONGEST_QUOTE, placeholder=" ...")
            raise UserError(
                f"text: the embedding of {shortened!r} has values that are not finite in "
                f"{str(embeddings.dtype).removeprefix('torch.')}; try dtype=float32"
            )
    return embeddings
