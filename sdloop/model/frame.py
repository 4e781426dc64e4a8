"""One call of a decoder, the VAE or a small one: latents -> pictures, and what a frame holds."""

from __future__ import annotations

import json
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from sdloop.machine.tf32 import full_float32

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderTiny

    from sdloop.model.activations import Held

    Decoder: TypeAlias = AutoencoderKL | AutoencoderTiny


def decode_batch(vae: Decoder, latents: Tensor, padded_to: int = 0) -> tuple[Tensor, Tensor]:
    """Decode one batch.

    Args:
        vae: Its device and dtype are used.
        latents: (frames, channels, h, w), in the UNet's scale, on any device.
        padded_to: The VAE is called with at least so many frames.

    Returns:
        (frames, H, W, 3), float32, sRGB in 8-bit levels, from 0 to 255 but not rounded, and
        (frames,), bool: finite; both on the VAE's device.
    """
    frames = len(latents)
    if frames < padded_to:
        latents = torch.cat([latents, latents[-1:].expand(padded_to - frames, -1, -1, -1)])
    z = latents.to(vae.device, torch.float32) / vae.config.scaling_factor
    if vae.config.shift_factor is not None:
        z = z + vae.config.shift_factor
    with full_float32(z.device):
        images = vae.decode(z.to(vae.dtype)).sample[:frames].float()
    are_finite = torch.isfinite(images).flatten(1).all(dim=1)
    levels = (images / 2 + 0.5).clamp(0, 1) * 255
    return levels.permute(0, 2, 3, 1), are_finite


def factor_of(vae: Decoder) -> int:
    """Return how many pixels a latent covers in each direction."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def frame_of(vae: Decoder, height: int, width: int) -> Held:
    """Count what decoding one frame holds, on the VAE's device.

    Args:
        vae: It is not called.
        height: The latents' height.
        width: The latents' width.

    Returns:
        What it holds beside the weights. The same count is made only once.
    """
    return _frame_of_config(vae.to_json_string(), height, width, vae.dtype, vae.device.type)


@lru_cache
def _frame_of_config(
    config_json: str, height: int, width: int, dtype: torch.dtype, device_type: str
) -> Held:
    """Count what decoding one frame holds, for a decoder of a config."""
    import diffusers

    config = json.loads(config_json)
    with torch.device("meta"):
        outline = getattr(diffusers, config["_class_name"]).from_config(config)
    return count_frame(outline, height, width, dtype, device_type)


def count_frame(
    outline: Decoder, height: int, width: int, dtype: torch.dtype, device_type: str
) -> Held:
    """Count what decoding one frame holds.

    Args:
        outline: The VAE, on the meta device.
        height: The latents' height.
        width: The latents' width.
        dtype: Of the VAE that is to run.
        device_type: Where it is to run.

    Returns:
        The count.
    """
    from sdloop.model.activations import count

    z = torch.empty((1, outline.config.latent_channels, height, width), device="meta")
    decode = partial(decode_batch, outline)
    return count(outline, decode, z, dtype=dtype, device_type=device_type)
