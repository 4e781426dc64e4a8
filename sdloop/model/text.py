"""Prompts -> text embeddings, [uncond, cond]."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import count, takewhile
from typing import TYPE_CHECKING

import torch

from sdloop.machine.device import in_dtype
from sdloop.machine.errors import UserError
from sdloop.machine.tf32 import full_float32

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

LONGEST_QUOTE = 60  # of a prompt in an error
LONGEST_EXPANDED = 1_000_000  # characters


def text_cut(tokenizer: CLIPTokenizer, prompt: str) -> str:
    """Spell what the tokenizer's limit cuts off a prompt's end.

    Args:
        tokenizer: The model's tokenizer.
        prompt: Any text.

    Returns:
        The text of the tokens that are left out, in the tokenizer's spelling; empty if the whole
        prompt is used.
    """
    limit = tokenizer.model_max_length - 2  # begin and end of text
    text = expand(tokenizer, prompt)
    tokens = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return tokenizer.decode(tokens[limit:]).strip()


def expand(tokenizer: CLIPTokenizer, prompt: str) -> str:
    """Write out the tokens of textual inversions that have several vectors.

    As diffusers' TextualInversionLoaderMixin.maybe_convert_prompt, but for hostile tokenizers whose
    tokens multiply each other, and in the prompt's order.

    Args:
        tokenizer: The model's; it may hold added tokens such as <cat>, <cat>_1, <cat>_2.
        prompt: Any text.

    Returns:
        The text with <cat> <cat>_1 <cat>_2 for <cat>.

    Raises:
        UserError: The text grows beyond any use.
    """
    added = tokenizer.added_tokens_encoder
    for token in dict.fromkeys(tokenizer.tokenize(prompt, verbose=False)):
        if f"{token}_1" not in added or token not in added:
            continue
        numbered = takewhile(added.__contains__, (f"{token}_{i}" for i in count(1)))
        prompt = prompt.replace(token, " ".join([token, *numbered]))
        if len(prompt) > LONGEST_EXPANDED:
            raise UserError(
                f"text: the model's tokenizer writes its added tokens out to more than "
                f"{LONGEST_EXPANDED} characters"
            )
    return prompt


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
        [expand(tokenizer, text) for text in texts],
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).to(text_encoder.device)
    uses_mask = getattr(text_encoder.config, "use_attention_mask", False)
    mask = tokens.attention_mask if uses_mask else None
    with full_float32(text_encoder.device):
        embeddings = text_encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
    finite = torch.isfinite(embeddings).flatten(1).all(dim=1).tolist()
    for text, is_finite in zip(texts, finite, strict=True):
        if not is_finite:
            shortened = textwrap.shorten(text, LONGEST_QUOTE, placeholder=" ...")
            raise UserError(
                f"text: the embedding of {shortened!r} has values that are not finite in "
                f"{in_dtype(embeddings.dtype)}"
            )
    return embeddings
