"""What a small decoder holds, bounded by its config alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdloop.model.bound import decoder_at_most
from sdloop.model.decode_batch import LARGEST_BATCH, ignores_batch

if TYPE_CHECKING:
    import torch

    from sdloop.model.tiny_source import TinySource


def bound_tiny(
    tiny: TinySource,
    shape: tuple[int, int, int, int],
    batch_size: int | None,
    device: torch.device,
    dtype: torch.dtype,
) -> int:
    """Bound what decoding by a small decoder holds beside weights and pictures.

    Args:
        tiny: What `find_tiny` returned.
        shape: (frames, channels, h, w) of the latents.
        batch_size: Frames at once; None lets the memory decide.
        device: Where it runs.
        dtype: Of its weights.

    Returns:
        Bytes, no less than a count would give.
    """
    frames, _, height, width = shape
    pixels, alone = height * width * tiny.config.factor**2, ignores_batch(device.type)
    frame = decoder_at_most(
        tiny.config.decoder_block_out_channels, pixels, unfolds=alone and dtype.itemsize == 2
    )
    batch = 1 if alone else batch_size or min(frames, LARGEST_BATCH)
    return batch * frame * dtype.itemsize
