"""What is the same in every row of a run: computed once, or for one half of the batch only.

The UNet's own modules are replaced for as long as a run lasts; the arithmetic stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import Attention


@contextmanager
def constants_of_run(
    unet: UNet2DConditionModel, embeddings: Tensor, guided: bool
) -> Iterator[UNet2DConditionModel]:
    """Let a UNet reuse what does not change while one prompt is sampled.

    The keys and values of the prompt in every cross-attention do not depend on z or the timestep.
    Both halves of [uncond, cond] start from the same z: up to the first cross-attention they are
    equal, and one is computed.

    Args:
        unet: Of Stable Diffusion's layout.
        embeddings: What every call in the block passes as `encoder_hidden_states`.
        guided: Whether the batch is twice the same z.

    Yields:
        The same UNet; its modules are as before when the block ends.
    """
    with ExitStack() as undo:
        fix_prompt(unet, embeddings, undo)
        if guided:
            share_halves(unet, undo)
        yield unet


class FixedPrompt:
    """A processor of cross-attention whose keys and values were computed before."""

    def __init__(self, attention: Attention, embeddings: Tensor) -> None:
        """Compute the keys and values, (batch, heads, tokens, width of a head)."""
        self.attention = attention
        self.key, self.value = self._project(embeddings)

    def change(self, embeddings: Tensor) -> None:
        """Take another prompt's keys and values, in the same place of the memory."""
        key, value = self._project(embeddings)
        self.key.copy_(key)
        self.value.copy_(value)

    def __call__(
        self,
        attention: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from (batch, pixels, width) to the prompt; the same shape."""
        query = self._by_head(attention.to_q(hidden_states), attention.heads)
        attended = nn.functional.scaled_dot_product_attention(query, self.key, self.value)
        return attention.to_out[0](attended.transpose(1, 2).flatten(2))

    def _project(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Compute keys and values."""
        layers = (self.attention.to_k, self.attention.to_v)
        key, value = (self._by_head(layer(embeddings), self.attention.heads) for layer in layers)
        return key, value

    @staticmethod
    def _by_head(values: Tensor, heads: int) -> Tensor:
        """Split the width into heads, (batch, heads, tokens, width of a head)."""
        return values.unflatten(-1, (heads, -1)).transpose(1, 2)


class OnOneHalf(nn.Module):
    """Runs a module on the first half of a batch whose halves are equal, and repeats the result."""

    def __init__(self, module: nn.Module) -> None:
        """Keep the module."""
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor | None, **options: Any) -> Tensor:  # noqa: ANN401 - passed on
        """Take what the module takes; tensors are (2 batch, ...)."""
        halves = [None if values is None else values[: len(values) // 2] for values in inputs]
        output = self.module(*halves, **options)
        return torch.cat([output, output])


class RowOfTable(nn.Module):
    """Stands for a layer whose outputs were computed before, one for each row of the schedule."""

    def __init__(self, table: Tensor, row: Tensor) -> None:
        """Keep the outputs, (rows, width), and the row's number on their device, (1,), int64."""
        super().__init__()
        self.table, self.row = table, row

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the row's output for every sample, (batch, width); the inputs do not matter."""
        return self.table.index_select(0, self.row).expand(len(inputs), -1)


class Passed(nn.Module):
    """Stands for a layer whose output nobody uses."""

    def forward(self, values: Tensor, *_: Tensor | None) -> Tensor:
        """Return the input."""
        return values


def fix_prompt(
    unet: UNet2DConditionModel, embeddings: Tensor, undo: ExitStack
) -> list[FixedPrompt]:
    """Give every plain cross-attention the keys and values of one prompt.

    Args:
        unet: Is changed.
        embeddings: (batch, tokens, width).
        undo: Gets what changes it back.

    Returns:
        What holds the keys and values.
    """
    prompts = []
    for module in unet.modules():
        attention = getattr(module, "attn2", None)
        if attention is not None and _is_plain(attention):
            prompts.append(FixedPrompt(attention, embeddings))
            undo.callback(attention.set_processor, attention.processor)
            attention.set_processor(prompts[-1])
    return prompts


def tabulate_times(
    unet: UNet2DConditionModel, timesteps: Tensor, row: Tensor, undo: ExitStack
) -> list[Tensor]:
    """Compute what every residual block adds for its timestep, for all rows at once.

    Args:
        unet: Is changed; calls of it ignore their timestep.
        timesteps: (rows,), int64, on the UNet's device.
        row: (1,), int64, there too: which row a call is for. It is read when a call runs.
        undo: Gets what changes it back.

    Returns:
        What was computed, one (rows, width) a block; it is read when a call runs.
    """
    tables = []
    embedded = unet.time_embedding(unet.time_proj(timesteps).to(unet.dtype))
    for module in list(unet.modules()):
        if getattr(module, "time_emb_proj", None) is not None:
            tables.append(module.time_emb_proj(module.nonlinearity(embedded)))
            _replace(module, "time_emb_proj", RowOfTable(tables[-1], row), undo)
    _replace(unet, "time_proj", Passed(), undo)
    _replace(unet, "time_embedding", Passed(), undo)
    return tables


def _is_plain(attention: Attention) -> bool:
    """Tell whether an attention does nothing beyond what FixedPrompt does."""
    extras = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k")
    return (
        not any(getattr(attention, name, None) for name in extras)
        and not attention.residual_connection
        and attention.rescale_output_factor == 1
    )


def share_halves(unet: UNet2DConditionModel, undo: ExitStack) -> None:
    """Run all modules that come before the first cross-attention on one half of the batch.

    Args:
        unet: Is changed.
        undo: Gets what changes it back.
    """

    def wrap(parent: nn.Module, name: str) -> None:
        _replace(parent, name, OnOneHalf(getattr(parent, name)), undo)

    wrap(unet, "conv_in")
    for block in unet.down_blocks:
        if getattr(block, "has_cross_attention", False):
            wrap(block.resnets, "0")
            transformer = block.attentions[0]
            wrap(transformer, "norm")
            wrap(transformer, "proj_in")
            first = transformer.transformer_blocks[0]
            wrap(first, "norm1")
            if not first.only_cross_attention:
                wrap(first, "attn1")
            return
        for modules in (block.resnets, block.downsamplers):
            for index in range(len(modules or ())):
                wrap(modules, str(index))


def _replace(parent: nn.Module, name: str, module: nn.Module, undo: ExitStack) -> None:
    """Put a module in another one's place until `undo` is closed."""
    undo.callback(setattr, parent, name, getattr(parent, name))
    setattr(parent, name, module)
