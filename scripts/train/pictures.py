"""Pictures as tensors, and through the VAE."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from .machine import Machine

# Few enough for a CPU's caches: there four decode a quarter faster, each, than sixteen at once.
_BATCH = {"cpu": 4, "cuda": 16}


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (count, height, width, 3) to float32 (count, 3, height, width) in -1..1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def to_pictures(images: torch.Tensor) -> np.ndarray:
    """float (count, 3, height, width) in -1..1 to uint8 (count, height, width, 3)."""
    levels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def load_vae(folder: Path, machine: Machine) -> AutoencoderKL:
    """A VAE in float32, ready to encode and decode."""
    vae = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)
    vae.to(machine.device, memory_format=torch.channels_last)
    return vae.eval().requires_grad_(False)


def encoder_digest(vae: AutoencoderKL) -> str:
    """Names the encoder: latents of two VAEs that share it are the same."""
    digest = hashlib.sha256()
    for part in (vae.encoder, vae.quant_conv):
        for weight in part.state_dict().values():
            digest.update(weight.cpu().numpy().tobytes())
    return digest.hexdigest()[:8]


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: np.ndarray, machine: Machine) -> torch.Tensor:
    """The scaled latents of uint8 pictures, float32 (count, 4, height / 8, width / 8)."""
    made = []
    count = _BATCH[machine.device.type]
    for first in range(0, len(pictures), count):
        images = to_tensor(pictures[first : first + count]).to(machine.device)
        with machine.autocast():
            mode = vae.encode(images).latent_dist.mode()
        made.append(mode.float().cpu() * vae.config.scaling_factor)
    return torch.cat(made)


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor, machine: Machine) -> np.ndarray:
    """uint8 pictures of scaled latents."""
    made = []
    for z in latents.split(_BATCH[machine.device.type]):
        with machine.autocast():
            images = vae.decode(z.to(machine.device) / vae.config.scaling_factor).sample
        made.append(to_pictures(images))
    return np.concatenate(made)


def psnr_db(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Each picture's PSNR in dB, over its uint8 values."""
    error = np.square(made.astype(np.float32) - real).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1e-9))
