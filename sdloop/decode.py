"""Latents -> uint8 pictures, in batches: the only caller of the VAE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdloop.errors import UserError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

LARGEST_BATCH = 16  # beyond it kernels gain nothing more, and memory only costs
LAYER_ELEMENTS = 2**31  # many kernels count with 32 bits
LIVE_COPIES = 5  # of the widest layer: input, normed, convolved, residual, workspace
SHARE_OF_FREE = 0.5
UNKNOWN_FREE_BYTES = 2**32


class DecodeError(UserError):
    """The VAE cannot decode: no memory even for one frame, or values that are not finite."""


@torch.inference_mode()
def decode(
    vae: AutoencoderKL,
    latents: Tensor,
    batch_size: int | None = None,
    on_frames: Callable[[int], None] | None = None,
) -> NDArray[np.uint8]:
    """Decode every latent to a picture.

    A batch for which the device has no memory is halved and tried again. A half-precision batch
    whose pictures are not finite is decoded once more in float32.

    Args:
        vae: Its device and dtype are used.
        latents: (frames, 4, h, w), in the UNet's scale, on any device.
        batch_size: Frames at once; None takes what fits half of the free memory.
        on_frames: Called with the number of frames after each batch.

    Returns:
        (frames, H, W, 3), uint8, sRGB, on the CPU.

    Raises:
        DecodeError: Not even one frame fits, or a frame is not finite in float32 either.
    """
    limit = largest_batch(vae, latents.shape[-2], latents.shape[-1])
    size = min(batch_size or _fitting_batch(vae, latents), limit)
    batches: list[Tensor] = []
    finite: list[Tensor] = []
    starts: list[int] = []
    start = 0
    while start < len(latents):
        batch = latents[start : start + size]
        try:
            images, all_finite = _decode_batch(vae, batch)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if size == 1:
                raise DecodeError(
                    f"decode: {vae.device} has no memory for one frame of "
                    f"{latents.shape[-1]} x {latents.shape[-2]} latents; take a smaller size"
                ) from None
            size = size // 2
            if vae.device.type == "cuda":
                torch.cuda.empty_cache()  # what is left of the larger batch is in pieces
            continue
        batches.append(images)
        finite.append(all_finite)
        starts.append(start)
        start += len(batch)
        if on_frames is not None:
            on_frames(len(batch))
    for index in np.flatnonzero(~torch.stack(finite).cpu().numpy()):
        first = starts[index]
        count = len(batches[index])
        batches[index] = _decode_in_float32(vae, latents[first : first + count], first)
    return torch.cat(batches).numpy()


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
    """Choose a batch size from the free memory."""
    widest = _widest_layer(vae, latents.shape[-2], latents.shape[-1])
    frame_bytes = widest * LIVE_COPIES * vae.dtype.itemsize
    fitting = int(_free_bytes(vae.device) * SHARE_OF_FREE) // frame_bytes
    return max(1, min(LARGEST_BATCH, fitting))


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


def _decode_batch(vae: AutoencoderKL, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Decode one batch to uint8 (frames, H, W, 3) on the CPU, with a flag: all finite."""
    z = latents.to(vae.device, torch.float32) / vae.config.scaling_factor
    images = vae.decode(z.to(vae.dtype)).sample.float()
    all_finite = torch.isfinite(images).all()
    levels = ((images / 2 + 0.5).clamp(0, 1) * 255).round()
    # a NaN has no uint8; it is decoded again, so any level will do until then
    levels = torch.nan_to_num(levels).to(torch.uint8).permute(0, 2, 3, 1)
    return levels.cpu(), all_finite


def _decode_in_float32(vae: AutoencoderKL, latents: Tensor, first: int) -> Tensor:
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
            f"decode: frames {first} to {first + len(latents) - 1} hold values that are not "
            "finite; try dtype=float32"
        )
    return images


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Tell the devices' ways of saying that memory ran out from every other error."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "not enough memory" in text or "can't allocate" in text
