"""Which maps of cross-attention a UNet gives, told from its config."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdloop.model.config_files import UNetConfig

Size = tuple[int, int]


def attention_name(size: Size) -> str:
    """Name the maps of one resolution: "attention_16x16", height first."""
    return f"attention_{size[0]}x{size[1]}"


def attention_shapes(
    config: UNetConfig, tokens: int, height: int, width: int
) -> dict[str, tuple[int, int, int]]:
    """List the maps that a UNet's calls give, the finest first.

    Args:
        config: The UNet's; a loaded UNet's own config will do.
        tokens: Of the prompt, with begin, end and padding.
        height: Of the latents.
        width: Of the latents.

    Returns:
        Name -> (tokens, h, w); empty if no layer attends to the prompt.
    """
    last = len(config.down_block_types) - 1
    levels = {at for at, kind in enumerate(config.down_block_types) if _attends(kind)}
    levels |= {last - at for at, kind in enumerate(config.up_block_types) if _attends(kind)}
    levels |= {last} if config.mid_block_type is not None else set()
    sizes = (size_at(config, level, height, width) for level in sorted(levels))
    return {attention_name(size): (tokens, *size) for size in sizes}


def _attends(kind: str) -> bool:
    """Tell whether a block attends to the prompt."""
    return "CrossAttn" in kind


def size_at(config: UNetConfig, level: int, height: int, width: int) -> Size:
    """Halve the latents' sides, as a UNet's convolutions round them.

    Args:
        config: The UNet's.
        level: How often.
        height: Of the latents.
        width: Of the latents.

    Returns:
        (height, width) at this level.
    """
    extra = 1 if config.downsample_padding else 0
    for _ in range(level):
        height, width = (height + extra) // 2, (width + extra) // 2
    return height, width
