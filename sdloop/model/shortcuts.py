"""What is the same in every row of a run: computed once, or for one half of the batch only.

Modules of the UNet are replaced for as long as a block lasts; the arithmetic stays the same.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sdloop.model.attention import AttentionSums, cross_attentions, names_of_layers

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import Attention

# what else may reach the halves of a batch, or the residual blocks, each by its own way
CONDITIONED_BY = (
    "addition_embed_type",
    "class_embed_type",
    "num_class_embeds",
    "encoder_hid_dim_type",
    "time_cond_proj_dim",
    "time_embedding_act_fn",
)


class Swaps:
    """Attributes that stand in for others while a `with` block lasts; may be entered again."""

    def __init__(self, lock: threading.Lock | None = None) -> None:
        """Begin with none.

        Args:
            lock: Held while the block lasts, so that no other thread sees the replacements.
        """
        self._lock = lock
        self._swaps: list[tuple[Any, str, Any, Any]] = []

    def add(self, owner: object, name: str, replacement: object) -> None:
        """Let `replacement` stand for an attribute of `owner`."""
        self._swaps.append((owner, name, getattr(owner, name), replacement))

    def __enter__(self) -> Swaps:
        """Put the replacements in."""
        if self._lock is not None:
            self._lock.acquire()
        for owner, name, _, replacement in self._swaps:
            setattr(owner, name, replacement)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put back what was there."""
        for owner, name, original, _ in reversed(self._swaps):
            setattr(owner, name, original)
        if self._lock is not None:
            self._lock.release()


class FixedPrompt:
    """A processor of cross-attention whose keys and values were computed before."""

    def __init__(self, attention: Attention, embeddings: Tensor) -> None:
        """Compute the keys and values, (batch, heads, tokens, width of a head)."""
        self.attention = attention
        self.key, self.value = self._project(embeddings)
        self._sums: tuple[AttentionSums, str] | None = None

    def count_in(self, sums: AttentionSums, name: str) -> None:
        """Add the attention of every call to the sums of this name; the output stays the same."""
        self._sums = sums, name

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
        query = by_head(attention.to_q(hidden_states), attention.heads)
        attended = nn.functional.scaled_dot_product_attention(query, self.key, self.value)
        if self._sums is not None:
            sums, name = self._sums
            sums.add(name, query, self.key, attention.scale)
        return joined(attention, attended)

    def _project(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Compute keys and values."""
        layers = (self.attention.to_k, self.attention.to_v)
        key, value = (by_head(layer(embeddings), self.attention.heads) for layer in layers)
        return key, value


def by_head(values: Tensor, heads: int) -> Tensor:
    """Split (batch, tokens, width) into heads, (batch, heads, tokens, width of a head)."""
    return values.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(attention: Attention, attended: Tensor) -> Tensor:
    """Project what all heads attended to: the layer's output, (batch, tokens, width)."""
    return attention.to_out[0](attended.transpose(1, 2).flatten(2))


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
    """Stands for the embedding of a timestep; gives all that was computed from it before."""

    def __init__(self, table: Tensor, row: Tensor) -> None:
        """Keep the outputs, (rows, width), and the row's number on their device, (1,), int64."""
        super().__init__()
        self.table, self.row = table, row

    def forward(self, timesteps: Tensor) -> Tensor:
        """Return the row's outputs for every sample, (batch, width); the times do not matter."""
        return self.table.index_select(0, self.row).expand(len(timesteps), -1)


class Columns(nn.Module):
    """Stands for a layer whose outputs are columns of what RowOfTable gives."""

    def __init__(self, start: int, stop: int) -> None:
        """Keep which columns."""
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, row: Tensor) -> Tensor:
        """Take them, as a view: (batch, width) -> (batch, stop - start)."""
        return row[:, self.start : self.stop]


class PassThrough(nn.Module):
    """Stands for a layer whose output nobody uses."""

    def forward(self, values: Tensor, *_: Tensor | None) -> Tensor:
        """Return the input."""
        return values


def check_takes_shortcuts(unet: UNet2DConditionModel) -> None:
    """Refuse a UNet for which the shortcuts would be wrong.

    With added conditioning, as Stable Diffusion XL has, the halves of a guided batch differ from
    the first layer on.

    Raises:
        ValueError: Names the key of its config.
    """
    for key in CONDITIONED_BY:
        value = getattr(unet.config, key, None)
        if value is not None:
            raise ValueError(f"the shortcuts do not hold for a UNet with {key} = {value!r}")


def fix_prompt(unet: UNet2DConditionModel, embeddings: Tensor, swaps: Swaps) -> list[FixedPrompt]:
    """Give every plain cross-attention the keys and values of one prompt.

    They depend neither on z nor on the timestep.

    Args:
        unet: Whose processors are to be swapped.
        embeddings: (batch, tokens, width), what every call passes as `encoder_hidden_states`.
        swaps: Gets them.

    Returns:
        What holds the keys and values.
    """
    prompts = []
    for attention, _ in cross_attentions(unet):
        if is_plain(attention):
            prompts.append(FixedPrompt(attention, embeddings))
            swaps.add(attention, "processor", prompts[-1])
    return prompts


def count_attention(
    unet: UNet2DConditionModel,
    prompts: Sequence[FixedPrompt],
    sums: AttentionSums,
    size: tuple[int, int],
) -> None:
    """Let the layers that attend to a prompt add their attention up in every call.

    Args:
        unet: Theirs.
        prompts: What `fix_prompt` returned.
        sums: Gets the attention.
        size: (height, width) of the latents.

    Raises:
        ValueError: A layer is not among them, as it does more than attend.
    """
    fixed = {id(prompt.attention): prompt for prompt in prompts}
    for attention, name in names_of_layers(unet, *size):
        if id(attention) not in fixed:
            raise ValueError("the attention of a UNet whose layers do more cannot be kept")
        fixed[id(attention)].count_in(sums, name)


def tabulate_times(
    unet: UNet2DConditionModel, timesteps: Tensor, row: Tensor, swaps: Swaps
) -> None:
    """Compute what every residual block adds for its timestep, for all rows at once.

    A call looks its row up once; the blocks take their columns of it.

    Args:
        unet: Whose layers are to be swapped; its calls then ignore their timestep.
        timesteps: (rows,), on the UNet's device.
        row: int64 (1,), there too: which row a call is for. It is read when a call runs.
        swaps: Gets them.
    """
    check_takes_shortcuts(unet)
    embedded = unet.time_embedding(unet.time_proj(timesteps).to(unet.dtype))
    added: list[Tensor] = []
    start = 0
    for module in unet.modules():
        if getattr(module, "time_emb_proj", None) is None:
            continue
        activated = embedded if module.skip_time_act else module.nonlinearity(embedded)
        added.append(module.time_emb_proj(activated))
        stop = start + added[-1].shape[1]
        swaps.add(module, "time_emb_proj", Columns(start, stop))
        swaps.add(module, "skip_time_act", True)  # the columns are behind it
        start = stop
    swaps.add(unet, "time_proj", RowOfTable(torch.cat(added, dim=1), row))
    swaps.add(unet, "time_embedding", PassThrough())


def share_halves(unet: UNet2DConditionModel, swaps: Swaps) -> None:
    """Run all modules before the first cross-attention on one half of the batch.

    Both halves of [uncond, cond] start from the same z: until then they are equal.

    Args:
        unet: Whose modules are to be swapped.
        swaps: Gets them.
    """
    check_takes_shortcuts(unet)

    def wrap(parent: nn.Module, name: str) -> None:
        swaps.add(parent, name, OnOneHalf(getattr(parent, name)))

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


def is_plain(attention: Attention) -> bool:
    """Tell whether an attention does nothing beyond what FixedPrompt does."""
    extras = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k")
    return (
        not isinstance(attention.processor, nn.Module)
        and not any(getattr(attention, name, None) for name in extras)
        and not attention.residual_connection
        and attention.rescale_output_factor == 1
    )
