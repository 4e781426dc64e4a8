"""Latents -> uint8 pictures, in batches: the only caller of the VAE."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdloop.errors import UserError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

LARGEST_BATCH = 16  # beyond it kernels gain nothing more, and memory only costs
CACHED_ELEMENTS = 2**22  # of the widest layer on a CPU: larger batches leave its cache
LAYER_ELEMENTS = 2**31  # many kernels count with 32 bits
LIVE_COPIES = 5  # of the widest layer: input, normed, convolved, residual, workspace
SHARE_OF_FREE = 0.5
UNKNOWN_FREE_BYTES = 2**32


class DecodeError(UserError):
    """The VAE cannot decode: no memory even for one frame, or values that are not finite."""


@torch.inference_mode()
def decode_latents(
    vae: AutoencoderKL,
    latents: Tensor,
    batch_size: int | None = None,
    on_frames: Callable[[int], None] | None = None,
) -> Tensor:
    """Decode every latent to a picture.

    A batch for which the device has no memory is halved and tried again. A half-precision batch
    whose pictures are not finite is decoded once more in float32. The host waits for the device
    once, after the last batch.

    Args:
        vae: Its device and dtype are used.
        latents: (frames, 4, h, w), in the UNet's scale, on any device.
        batch_size: Frames at once; None takes batches of equal size that fit half of the free
            memory.
        on_frames: Called with the number of frames after each batch was issued.

    Returns:
        (frames, H, W, 3), uint8, sRGB, on the VAE's device.

    Raises:
        DecodeError: Not even one frame fits, or a frame is not finite in float32 either.
    """
    frames, _, height, width = latents.shape
    limit = largest_batch(vae, height, width)
    size = min(batch_size or _even_batch(frames, _fitting_batch(vae, latents)), limit)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (frames, height * factor, width * factor, 3)
    images = torch.empty(shape, dtype=torch.uint8, device=vae.device)
    done: list[slice] = []
    finite: list[Tensor] = []
    start = 0
    while start < frames:
        # on CUDA kernels are chosen for each new size, which costs more than a few frames
        padded_to = size if vae.device.type == "cuda" else 0
        batch = slice(start, min(start + size, frames))
        try:
            images[batch], is_finite = _decode_batch(vae, latents[batch], padded_to)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if size == 1:
                raise DecodeError(
                    f"decode: {vae.device} has no memory for one frame of "
                    f"{width} x {height} latents; take a smaller size"
                ) from None
            size = size // 2
            if vae.device.type == "cuda":
                torch.cuda.empty_cache()  # what is left of the larger batch is in pieces
            continue
        done.append(batch)
        finite.append(is_finite)
        start = batch.stop
        if on_frames is not None:
            on_frames(batch.stop - batch.start)
    for batch, was_finite in zip(done, torch.stack(finite).tolist(), strict=True):
        if not was_finite:
            images[batch] = _decode_in_float32(vae, latents[batch], batch)
    return images


def largest_batch(vae: AutoencoderKL, latent_height: int, latent_width: int) -> int:
    """Return how many frames keep every layer of the decoder below 2^31 elements."""
    return max(1, (LAYER_ELEMENTS - 1) // _widest_layer(vae, latent_height, latent_width))


def _widest_layer(vae: AutoencoderKL, latent_height: int, latent_width: int) -> int:
    """Count the elements of the decoder's widest layer for one frame.

    Each up block works at twice the size of the one before, and its up-sampling convolution gives
    the next size in its own width.
    """
    widths = list(reversed(vae.config.block_out_channels))
    pixels = latent_height * latent_width
    layers = [width * pixels * 4**level for level, width in enumerate(widths)]
    layers += [width * pixels * 4 ** (level + 1) for level, width in enumerate(widths[:-1])]
    return max(layers)


def _fitting_batch(vae: AutoencoderKL, latents: Tensor) -> int:
    """Choose a batch size from the free memory, on the CPU from its cache too."""
    widest = _widest_layer(vae, latents.shape[-2], latents.shape[-1])
    frame_bytes = widest * LIVE_COPIES * vae.dtype.itemsize
    fitting = int(_free_bytes(vae.device) * SHARE_OF_FREE) // frame_bytes
    if vae.device.type == "cpu":
        fitting = min(fitting, CACHED_ELEMENTS // widest)
    return max(1, min(LARGEST_BATCH, fitting))


def _even_batch(frames: int, largest: int) -> int:
    """Spread the frames evenly over as few batches as hold them."""
    return math.ceil(frames / math.ceil(frames / largest))


def _free_bytes(device: torch.device) -> int:
    """Ask how much memory is free."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # only Linux tells in this way
        return UNKNOWN_FREE_BYTES
    return int(available.split()[1]) * 1024


def _decode_batch(vae: AutoencoderKL, latents: Tensor, padded_to: int = 0) -> tuple[Tensor, Tensor]:
    """Decode one batch to uint8 (frames, H, W, 3), with a flag: all finite."""
    frames = len(latents)
    if frames < padded_to:
        latents = torch.cat([latents, latents[-1:].expand(padded_to - frames, -1, -1, -1)])
    z = latents.to(vae.device, torch.float32) / vae.config.scaling_factor
    images = vae.decode(z.to(vae.dtype)).sample[:frames].float()
    all_finite = torch.isfinite(images).all()
    levels = ((images / 2 + 0.5).clamp(0, 1) * 255).round()
    # a NaN has no uint8; it is decoded again, so any level will do until then
    return torch.nan_to_num(levels).to(torch.uint8).permute(0, 2, 3, 1), all_finite


def _decode_in_float32(vae: AutoencoderKL, latents: Tensor, batch: slice) -> Tensor:
    """Decode one batch again at full precision, and give the VAE its dtype back."""
    dtype = vae.dtype
    finite = torch.tensor(False)
    if dtype != torch.float32:
        # the class's own `to` warns of modules that it would rather cast itself; there are none
        torch.nn.Module.to(vae, torch.float32)
        images, finite = _decode_batch(vae, latents)
        torch.nn.Module.to(vae, dtype)
    if not finite.item():
        raise DecodeError(
            f"decode: frames {batch.start} to {batch.stop - 1} hold values that are not "
            "finite; try dtype=float32"
        )
    return images


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Tell the devices' ways of saying that memory ran out from every other error."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "not enough memory" in text or "can't allocate" in text
