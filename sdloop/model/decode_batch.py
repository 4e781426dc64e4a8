"""How many frames the VAE decodes at once, and what they take: arithmetic on its config alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sdloop.machine.memory import SHARE_OF_FREE
from sdloop.model.activations import decoder_elements, widest_decoder_layer

LARGEST_BATCH = 16  # beyond it kernels gain nothing more, and memory only costs
LAYER_ELEMENTS = 2**31  # many kernels count with 32 bits
MARGIN = 1.15  # over what the networks' tensors hold: workspaces, alignment
COLOR_BYTES = 24  # a pixel's, as float32 on its way to uint8, twice


def frame_bytes(config: Mapping[str, Any], height: int, width: int, item_bytes: int) -> int:
    """Return what decoding takes for each frame of a batch.

    Args:
        config: The content of vae/config.json.
        height: Of the latents.
        width: Likewise.
        item_bytes: Of a number in the VAE's dtype.

    Returns:
        Bytes, at the decoder's fullest.
    """
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    colors = COLOR_BYTES * height * width * factor**2
    return int(MARGIN * item_bytes * decoder_elements(config, height, width)) + colors


def largest_batch(config: Mapping[str, Any], height: int, width: int) -> int:
    """Return how many frames keep every layer of the decoder below 2^31 elements."""
    return max(1, (LAYER_ELEMENTS - 1) // widest_decoder_layer(config, height, width))


def choose_batch(
    config: Mapping[str, Any],
    shape: tuple[int, int, int],
    item_bytes: int,
    free_bytes: int | None,
) -> int:
    """Choose how many frames to decode at once.

    Args:
        config: The content of vae/config.json.
        shape: (frames, height, width) of the latents.
        item_bytes: Of a number in the VAE's dtype.
        free_bytes: Of which a batch takes up to half; None if it is not known.

    Returns:
        A size of which as few batches as possible hold all frames evenly.
    """
    frames, height, width = shape
    largest = min(LARGEST_BATCH, largest_batch(config, height, width))
    if free_bytes is not None:
        fitting = int(free_bytes * SHARE_OF_FREE)
        largest = min(largest, fitting // frame_bytes(config, height, width, item_bytes))
    return math.ceil(frames / math.ceil(frames / max(1, largest)))
