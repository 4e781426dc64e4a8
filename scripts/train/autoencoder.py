"""Train the autoencoder: pictures to 4-channel latents of an eighth of the size, and back.

python -m scripts.train.autoencoder [--seconds 2160]
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from .dataset import load_pictures
from .settings import AutoencoderSettings, Settings, parse_settings
from .training import Training

WARMUP_STEPS, REPORT_EVERY, SAVE_EVERY = 100, 50, 500
# Stable Diffusion's own: latents are made to have unit variance after it, so nothing else differs.
SCALING_FACTOR = 0.18215


def build_autoencoder(settings: Settings) -> AutoencoderKL:
    """An untrained AutoencoderKL: no attention, since it trains on crops and runs on pictures."""
    channels = settings.autoencoder.channels
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=settings.size_px,
        scaling_factor=SCALING_FACTOR,
    )


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in -1..1."""
    return torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def draw_batch(
    pictures: np.ndarray, part: AutoencoderSettings, crops: bool, rng: np.random.Generator
) -> torch.Tensor:
    """Random crops, or whole pictures of as many pixels together."""
    size, crop = pictures.shape[1], part.crop_px
    if not crops:
        return to_tensor(
            pictures[rng.integers(len(pictures), size=max(1, part.batch * crop**2 // size**2))]
        )
    batch = []
    for k in rng.integers(len(pictures), size=part.batch):
        y, x = rng.integers(size - crop + 1, size=2)
        batch.append(pictures[k, y : y + crop, x : x + crop])
    return to_tensor(np.stack(batch))


def reconstruction_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """L1, squares, and L1 of the gradients, which keeps edges sharp."""
    gradients = F.l1_loss(made.diff(dim=-1), real.diff(dim=-1)) + F.l1_loss(
        made.diff(dim=-2), real.diff(dim=-2)
    )
    return F.l1_loss(made, real) + 2 * F.mse_loss(made, real) + 0.5 * gradients


@torch.no_grad()
def standardise_latents(vae: AutoencoderKL, pictures: np.ndarray) -> None:
    """Fold into the 1x1 convolutions what gives each scaled channel mean zero and variance one."""
    device = next(vae.parameters()).device
    means = torch.cat(
        [
            vae.encode(to_tensor(part).to(device)).latent_dist.mode()
            for part in np.array_split(pictures, -(-len(pictures) // 32))
        ]
    )
    shift = means.mean((0, 2, 3))
    stretch = 1 / (means.std((0, 2, 3)) * SCALING_FACTOR)
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:4] *= stretch[:, None, None, None]
    into.bias[:4] = (into.bias[:4] - shift) * stretch
    into.bias[4:] += 2 * stretch.log()
    out.bias += (out.weight[:, :, 0, 0] @ shift[:, None])[:, 0]
    out.weight /= stretch[None, :, None, None]


def train_autoencoder(settings: Settings) -> None:
    """Train until the seconds are spent, from the last checkpoint if there is one.

    The finished model goes to the working folder's vae/.
    """
    part, device = settings.autoencoder, torch.device(settings.device)
    torch.manual_seed(settings.seed)
    pictures = load_pictures(settings)
    vae = build_autoencoder(settings).to(device)
    training = Training(
        vae,
        settings.work / "autoencoder.pt",
        lr=part.lr,
        warmup_steps=WARMUP_STEPS,
        seconds=part.seconds,
        ema=part.ema,
    )
    while (spent := training.spent()) < 1:
        rng = np.random.default_rng((settings.seed, 1, training.step))
        real = draw_batch(pictures, part, spent < part.crop_share, rng).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            posterior = vae.encode(real).latent_dist
            made = vae.decode(posterior.sample()).sample.float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        loss = reconstruction_loss(made, real) + part.kl * kl
        training.advance(loss)
        if training.step % REPORT_EVERY == 0:
            psnr = -10 * torch.log10(F.mse_loss(made.detach().clamp(-1, 1), real) / 4)
            facts = f"loss {loss.item():.4f} kl {kl.item():.2f} psnr {psnr:.2f}"
            print(f"{training.step} {training.spent_s:.0f}s {facts}", flush=True)
        if training.step % SAVE_EVERY == 0:
            training.save()
    training.save()
    finished = copy.deepcopy(training.average)
    standardise_latents(finished, pictures[:1024])
    finished.save_pretrained(settings.work / "vae")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float)
    settings, arguments = parse_settings(parser)
    if arguments.seconds:
        settings = replace(
            settings, autoencoder=replace(settings.autoencoder, seconds=arguments.seconds)
        )
    train_autoencoder(settings)
