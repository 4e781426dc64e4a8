"""What a UNet or a VAE of Stable Diffusion's layout holds at once, from its config alone.

Counts are in elements, for one sample of a batch and without gradients. diffusers' blocks are
walked in their order: what a block is working on, the tensors that its caller still holds, and the
skip connections that wait. Attention is counted as what it is today, without a matrix of all pixel
pairs (Dao et al. 2022, arXiv:2205.14135).
"""

from collections.abc import Mapping
from typing import Any

WIDENED = 4  # a transformer's inner width over its outer one
KEPT_BY_TRANSFORMER = 3  # its input, the block's input, the normed one


def unet_elements(config: Mapping[str, Any], height: int, width: int) -> int:
    """Count what the UNet holds at its fullest.

    Args:
        config: The content of unet/config.json.
        height: Of the latents.
        width: Likewise.

    Returns:
        Elements for one sample; guidance makes two of each.
    """
    widths = config["block_out_channels"]
    depth = config.get("layers_per_block", 2)
    layers = [depth] * len(widths) if isinstance(depth, int) else list(depth)
    pixels, channels, peak = height * width, widths[0], 0
    skips = [channels * pixels]
    for level, (kind, wide) in enumerate(zip(config["down_block_types"], widths, strict=True)):
        entered = channels * pixels
        for _ in range(layers[level]):
            peak = max(peak, sum(skips) + entered + _layer(kind, channels, wide, pixels))
            channels = wide
            skips.append(channels * pixels)
        if level < len(widths) - 1:
            pixels = _halved(height, width, level + 1)
            skips.append(channels * pixels)
    peak = max(peak, sum(skips) + _layer("CrossAttn", channels, channels, pixels))
    for level, kind in enumerate(config["up_block_types"]):
        wide, count = widths[-1 - level], layers[-1 - level] + 1
        entered, taken = channels * pixels, skips[-count:]
        for skip in reversed(taken):
            joined = channels + skip // pixels
            held = sum(skips) + entered
            peak = max(peak, held + channels * pixels + _layer(kind, joined, wide, pixels))
            channels = wide
        del skips[-count:]
        if level < len(widths) - 1:
            smaller, pixels = pixels, _halved(height, width, len(widths) - 2 - level)
            held = sum(skips) + sum(taken) + entered
            peak = max(peak, held + channels * (smaller + 2 * pixels))
    return peak


def decoder_elements(config: Mapping[str, Any], height: int, width: int) -> int:
    """Count what the VAE's decoder holds at its fullest.

    Args:
        config: The content of vae/config.json.
        height: Of the latents.
        width: Likewise.

    Returns:
        Elements for one frame.
    """
    widths = config["block_out_channels"][::-1]
    channels, pixels = widths[0], height * width
    attends = config.get("mid_block_add_attention", True)
    peak = _layer("Attn" if attends else "", channels, channels, pixels)
    for level, wide in enumerate(widths):
        entered = channels * pixels
        for number in range(config.get("layers_per_block", 1) + 1):
            held = entered if number > 0 else 0  # the first one's input is what entered
            peak = max(peak, held + _layer("", channels, wide, pixels))
            channels = wide
        if level < len(widths) - 1:
            smaller, pixels = pixels, pixels * 4
            peak = max(peak, entered + channels * (smaller + 2 * pixels))
    return max(peak, 3 * channels * pixels)


def widest_decoder_layer(config: Mapping[str, Any], height: int, width: int) -> int:
    """Count the elements of the decoder's widest layer for one frame.

    Each up block works at twice the size of the one before, and its up-sampling convolution gives
    the next size in its own width. Arguments as of `decoder_elements`.
    """
    widths = config["block_out_channels"][::-1]
    pixels = height * width
    layers = [channels * pixels * 4**level for level, channels in enumerate(widths)]
    layers += [channels * pixels * 4 ** (level + 1) for level, channels in enumerate(widths[:-1])]
    return max(layers)


def _layer(kind: str, channels: int, wide: int, pixels: int) -> int:
    """Count a residual block's elements and, where the kind has one, its transformer's."""
    with_shortcut = 4 if channels != wide else 3
    peak = channels + max(2 * channels, with_shortcut * wide)
    if "CrossAttn" in kind:  # its feed-forward: gate and values, one through GELU, their product
        peak = max(peak, (KEPT_BY_TRANSFORMER + 4 * WIDENED) * wide)
    elif "Attn" in kind:  # input, normed, query, key, value, attended, projected
        peak = max(peak, 7 * wide)
    return peak * pixels


def _halved(height: int, width: int, times: int) -> int:
    """Count the pixels after down-sampling, which rounds up."""
    return -(-height // 2**times) * -(-width // 2**times)
