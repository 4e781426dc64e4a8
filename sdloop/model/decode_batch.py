"""How many frames the VAE decodes at once: arithmetic on what one frame needs."""

from __future__ import annotations

import math

from sdloop.machine.memory import SHARE_OF_FREE

LARGEST_BATCH = 16  # beyond it kernels gain nothing more, and memory only costs
LAYER_ELEMENTS = 2**31  # many kernels count with 32 bits


def ignores_batch(device_type: str) -> bool:
    """Tell whether frames are decoded one by one, whatever batch was asked for.

    On a CPU a batch is hardly faster than its frames, and torch and oneDNN choose kernels and share
    out sums by its size: one by one, a frame's bytes depend on nothing but the frame.
    """
    return device_type == "cpu"


def largest_batch(widest: int) -> int:
    """Return how many frames keep a layer of so many elements a frame below 2^31."""
    return max(1, (LAYER_ELEMENTS - 1) // widest)


def choose_batch(
    frames: int,
    frame_bytes: int,
    widest: int,
    free_bytes: int | None,
    wanted: int | None = None,
) -> int:
    """Choose how many frames to decode at once.

    Args:
        frames: How many there are in all.
        frame_bytes: What decoding one of them needs.
        widest: Elements of the largest tensor of one frame.
        free_bytes: Of which a batch takes up to half; None if it is not known.
        wanted: The size that the user asked for. It is taken unless a layer would be too large.

    Returns:
        The wanted size, or one of which as few batches as possible hold all frames evenly.
    """
    if wanted is not None:
        return min(wanted, largest_batch(widest))
    largest = min(LARGEST_BATCH, largest_batch(widest))
    if free_bytes is not None:
        largest = min(largest, int(free_bytes * SHARE_OF_FREE) // frame_bytes)
    return math.ceil(frames / math.ceil(frames / max(1, largest)))
