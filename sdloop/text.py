"""Prompts -> text embeddings, [uncond, cond]."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer


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
    return text_encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
