"""Cross-attention that is kept: how much each place of the picture looks at each token.

A map holds, for one token, softmax(Q K^T / sqrt(d)) summed over the heads and over all layers of
one resolution, in the conditional half of the batch. The layers' own outputs stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdloop.model.attention_names import attention_name, size_at

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import Attention


class AttentionSums:
    """Adds up the attention of one call, and gives it in half precision.

    Every tensor stays at its place, so that a CUDA graph may capture what is done to it.

    Attributes:
        stored: Name -> float16 (samples, tokens, h, w), the sums of the call that `store` ended.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, int, int]], samples: int, device: torch.device
    ) -> None:
        """Take the memory.

        Args:
            shapes: What `attention_shapes` returned.
            samples: How many there are, without the unconditional half.
            device: Of the network.
        """
        self._sums = {
            name: torch.zeros((samples, high * wide, tokens), device=device)
            for name, (tokens, high, wide) in shapes.items()
        }
        self.stored = {
            name: torch.zeros((samples, *shape), device=device, dtype=torch.float16)
            for name, shape in shapes.items()
        }

    @property
    def sums(self) -> dict[str, Tensor]:
        """Return the sums so far, float32, shaped as `stored`."""
        return {
            name: each.transpose(1, 2).unflatten(2, self.stored[name].shape[2:])
            for name, each in self._sums.items()
        }

    def clear(self) -> None:
        """Begin a call."""
        for each in self._sums.values():
            each.zero_()

    def add(self, name: str, query: Tensor, key: Tensor, scale: float) -> None:
        """Add the attention of a layer.

        It is computed in float32, whatever the network is in.

        Args:
            name: Of the layer's resolution.
            query: (batch, heads, pixels, width of a head), the conditional half last.
            key: (batch, heads, tokens, width of a head).
            scale: 1 / sqrt(d), what the products are multiplied by.
        """
        total = self._sums[name]
        asked, answers = (each[-len(total) :].float() for each in (query, key))
        scores = torch.matmul(asked, (answers * scale).transpose(-1, -2))
        total.add_(scores.softmax(dim=-1).sum(dim=1))

    def store(self) -> None:
        """End a call: round its sums to half precision."""
        for name, each in self.sums.items():
            self.stored[name].copy_(each)

    def taken(self) -> dict[str, Tensor]:
        """Return a copy of what is stored, which the next call leaves alone."""
        return {name: each.clone() for name, each in self.stored.items()}


def cross_attentions(unet: UNet2DConditionModel) -> Iterator[tuple[Attention, int]]:
    """Yield every layer that attends to the prompt, and its level.

    Args:
        unet: Of Stable Diffusion's layout.

    Yields:
        The layer, and how often the latents' sides were halved before it.
    """
    last = len(unet.down_blocks) - 1
    up = ((last - at, block) for at, block in enumerate(unet.up_blocks))
    for level, block in (*enumerate(unet.down_blocks), (last, unet.mid_block), *up):
        for transformer in getattr(block, "attentions", None) or ():
            for inner in getattr(transformer, "transformer_blocks", ()):
                if inner.only_cross_attention:
                    yield inner.attn1, level
                yield inner.attn2, level


def names_of_layers(
    unet: UNet2DConditionModel, height: int, width: int
) -> list[tuple[Attention, str]]:
    """Pair every layer that attends to the prompt with the name of its resolution's maps."""
    return [
        (layer, attention_name(size_at(unet.config, level, height, width)))
        for layer, level in cross_attentions(unet)
    ]
