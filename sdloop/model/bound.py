"""A quick bound on what Stable Diffusion's networks hold, from their widths alone.

A count (`activations.count`) is exact and takes a second. A run that has more room than the bound
asks for need not wait for it. The factors are what a block of diffusers' holds at its fullest, in
multiples of the channels that it takes and gives, rounded up, with the count's margin in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sdloop.model.config_files import UNetConfig

UNET_BLOCK = 14  # a transformer's feed-forward, or a residual block that unfolds its input
SKIPS = 2  # the skip connections, and those that a block has taken already
DECODER_BLOCK = 4
UNFOLDING_BLOCK = 13
COPIES = 4  # of a layer's attention, while it is added up
KERNEL = 9  # the pixels of the largest one
COLORS = 40  # elements of a pixel on its way from a picture's colours to bytes


def unet_at_most(unet: UNetConfig, pixels: int, tokens: int) -> int:
    """Bound what the UNet holds for one sample of its batch.

    Args:
        unet: Its config.
        pixels: Of the latents.
        tokens: Of the prompt.

    Returns:
        Elements.
    """
    layers, widths = unet.layers_per_block, unet.block_out_channels
    most = layers if isinstance(layers, int) else max(layers)
    skips = (most + 1) * sum(wide / 4**level for level, wide in enumerate(widths))
    held = UNET_BLOCK * _widest_level(widths) + SKIPS * skips
    return int(held * (pixels + tokens)) + _largest_weight(widths)


def attention_at_most(unet: UNetConfig, shapes: Sequence[tuple[int, int, int]]) -> int:
    """Bound what a UNet holds beside, for one sample, where its cross-attention is kept.

    Args:
        unet: Its config.
        shapes: The (tokens, h, w) of what it keeps.

    Returns:
        Bytes.
    """
    given = unet.attention_head_dim  # by diffusers' history the number of heads
    heads = given if isinstance(given, int) else max(given)
    widths = unet.block_out_channels
    sizes = [tokens * high * wide for tokens, high, wide in shapes]
    queries = (max(high * wide for _, high, wide in shapes) + shapes[0][0]) * max(widths)
    return 4 * (COPIES * heads * max(sizes) + 4 * sum(sizes) + 4 * queries)


def decoder_at_most(widths: Sequence[int], pixels: int, unfolds: bool) -> int:
    """Bound what the VAE's decoder holds for one frame.

    Args:
        widths: The channels of its levels, from the picture's on.
        pixels: Of the picture.
        unfolds: Whether convolutions may unfold their inputs, in half precision on a CPU.

    Returns:
        Elements.
    """
    block = UNFOLDING_BLOCK if unfolds else DECODER_BLOCK
    return int((block * _widest_level(widths) + COLORS) * pixels) + _largest_weight(widths)


def widest_at_most(widths: Sequence[int], pixels: int) -> int:
    """Bound the largest tensor in the VAE's decoder for one frame; arguments as they are above."""
    return int(_widest_level(widths) * pixels)


def _widest_level(widths: Sequence[int]) -> float:
    """Return the most channels of a level and the one below, for each pixel of the first level."""
    pairs = pairwise((*widths, widths[-1]))
    return max((wide + below) / 4**level for level, (wide, below) in enumerate(pairs))


def _largest_weight(widths: Sequence[int]) -> int:
    """Return the size of the largest convolution, whose weights a CPU copies in each call."""
    return KERNEL * 2 * max(widths) ** 2
