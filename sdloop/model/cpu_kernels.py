"""A UNet's self-attention and gates in bfloat16 on a CPU, in pieces that its caches hold.

torch's own attention is made for many cores, and takes half of Stable Diffusion's step at 512 px.
Here the scores of some rows of one head are made, normalised and used before the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sdloop.model.shortcuts import Swaps, by_head, is_plain, joined

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.activations import GEGLU
    from diffusers.models.attention_processor import Attention

SCORES = 2 * 2**20  # at once: 4 MB in bfloat16
SAMPLED = 16  # every so many keys are looked at for a row's largest score


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute softmax(Q K^T / sqrt(d)) V, some rows of one head after the other.

    bfloat16 has three digits, too few for scores of 20 or 30. So each row's scores are first
    lowered by about their largest, which changes no softmax: an estimate of it, from some of the
    keys, is one more column of Q against a column of ones in K, and is subtracted before a product
    is rounded.

    Args:
        query: (batch, heads, rows, width of a head).
        key: (batch, heads, keys, width of a head).
        value: As the keys.

    Returns:
        (batch, heads, rows, width of a head), laid out as (batch, rows, heads, width).
    """
    batch, heads, rows, width = query.shape
    keys = key.shape[2]
    query = query * width**-0.5
    seen = key[:, :, ::SAMPLED].transpose(-1, -2)
    top = torch.matmul(query, seen).amax(dim=-1, keepdim=True)
    query = torch.cat([query, -top], dim=-1)
    key = nn.functional.pad(key, (0, 1), value=1.0).transpose(-1, -2).contiguous()
    value = value.contiguous()
    output = query.new_empty(batch, rows, heads, width).transpose(1, 2)
    many = max(1, SCORES // keys)  # rows of scores at once
    heads_at_once, rows_at_once = max(1, min(heads, many // rows)), min(rows, many)
    for sample in range(batch):
        for head in range(0, heads, heads_at_once):
            some = slice(head, head + heads_at_once)
            for row in range(0, rows, rows_at_once):
                here = slice(row, row + rows_at_once)
                scores = torch.bmm(query[sample, some, here], key[sample, some])
                output[sample, some, here] = torch.bmm(scores.softmax(-1), value[sample, some])
    return output


class SelfAttention:
    """A processor of plain self-attention, by `attend`."""

    def __call__(
        self,
        attention: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from (batch, pixels, width) to themselves; the same shape."""
        layers = (attention.to_q, attention.to_k, attention.to_v)
        query, key, value = (by_head(layer(hidden_states), attention.heads) for layer in layers)
        # torch.compile has kernels of its own, and would write every piece out
        by_torch = nn.functional.scaled_dot_product_attention
        attended = (by_torch if torch.compiler.is_compiling() else attend)(query, key, value)
        return joined(attention, attended)


class Gate(nn.Module):
    """Stands for GEGLU: its two halves are products of their own.

    Two halves of one product lie between each other in memory, which makes GELU several times
    as slow.
    """

    def __init__(self, gate: GEGLU) -> None:
        """Keep the layer that both halves come from."""
        super().__init__()
        self.gate = gate

    def forward(self, values: Tensor) -> Tensor:
        """Take what GEGLU takes, (..., width), and return the same."""
        projection = self.gate.proj
        halves = projection.weight.chunk(2)
        biases = (None, None) if projection.bias is None else projection.bias.chunk(2)
        kept, gate = (
            nn.functional.linear(values, weight, bias)
            for weight, bias in zip(halves, biases, strict=True)
        )
        return kept.mul_(nn.functional.gelu(gate))


def use_cpu_kernels(unet: UNet2DConditionModel, swaps: Swaps) -> None:
    """Let a UNet in bfloat16 on a CPU use the functions of this module; others stay as they are.

    Args:
        unet: Whose modules are to be swapped, without gradients.
        swaps: Gets them.
    """
    from diffusers.models.activations import GEGLU
    from diffusers.models.attention_processor import Attention

    if unet.device.type != "cpu" or unet.dtype != torch.bfloat16:
        return
    for module in unet.modules():
        if isinstance(module, Attention):
            if not module.is_cross_attention and is_plain(module):
                swaps.add(module, "processor", SelfAttention())
            continue
        for name, child in module.named_children():
            if isinstance(child, GEGLU):
                swaps.add(module, name, Gate(child))
