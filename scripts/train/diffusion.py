"""Train the text encoder and the UNet together on the latents of the composed pictures.

    python -m scripts.train.diffusion [--seconds 2880] [--from-model]

It goes on from the last checkpoint. With --from-model and no checkpoint it starts from the weights
in the model's folder, so a training can go on where only the repository is left.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .autoencoder import to_tensor
from .dataset import load_captions, load_pictures
from .denoiser import Denoiser, build_denoiser
from .scenes import vocabulary
from .settings import DiffusionSettings, Settings, parse_settings
from .tokenizer import write_tokenizer
from .training import Training

BETA_START, BETA_END, TRAIN_STEPS = 0.00085, 0.012, 1000
REPORT_EVERY, SAVE_EVERY = 50, 200


@torch.no_grad()
def encode_pictures(settings: Settings) -> torch.Tensor:
    """The scaled latents of every training picture, float16 (count, 4, h, w), kept in a file."""
    path = settings.work / "latents.pt"
    if path.exists():
        return torch.load(path)
    own = settings.work / "vae"
    vae = AutoencoderKL.from_pretrained(own if own.exists() else settings.model / "vae")
    vae.to(settings.device, torch.float32).eval()
    latents = []
    for batch in np.array_split(pictures := load_pictures(settings), len(pictures) // 32):
        with torch.autocast(settings.device, torch.bfloat16):
            mean = vae.encode(to_tensor(batch).to(settings.device)).latent_dist.mode()
        latents.append((mean.float() * vae.config.scaling_factor).half().cpu())
    torch.save(torch.cat(latents), path)
    return torch.cat(latents)


def loss_weights(alphas_cumprod: torch.Tensor, gamma: float) -> torch.Tensor:
    """Weights of the squared noise error by timestep: min(SNR, gamma) / SNR (Hang et al., 2023)."""
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return snr.clamp(max=gamma) / snr


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Tokens padded as a pipeline pads them, int64 (count, length)."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


def load_denoiser(settings: Settings) -> Denoiser:
    """The shipped text encoder and UNet, in float32."""
    return Denoiser(
        CLIPTextModel.from_pretrained(settings.model / "text_encoder", dtype=torch.float32),
        UNet2DConditionModel.from_pretrained(settings.model / "unet", torch_dtype=torch.float32),
    )


def train_diffusion(settings: Settings, from_model: bool) -> None:
    """Train until the seconds are spent, from the last checkpoint if there is one.

    Args:
        settings: sizes, seconds and folders.
        from_model: without a checkpoint, start from the model folder's weights.
    """
    part, device = settings.diffusion, torch.device(settings.device)
    torch.manual_seed(settings.seed)
    tokenizer = write_tokenizer(vocabulary(), settings.work / "tokenizer", part.text_length)
    latents = encode_pictures(settings).to(device)
    captions = tokenize(tokenizer, load_captions(settings)).to(device)
    empty = tokenize(tokenizer, [""]).to(device)
    denoiser = load_denoiser(settings) if from_model else build_denoiser(settings, tokenizer)
    training = Training(
        denoiser.to(device).train(),
        settings.work / "diffusion.pt",
        lr=part.lr,
        warmup_steps=part.warmup_steps,
        seconds=part.seconds,
        ema=part.ema,
    )
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_STEPS) ** 2
    alphas_cumprod = torch.cumprod(1 - betas, 0).to(device)
    weights = loss_weights(alphas_cumprod, part.snr_gamma)
    losses: list[torch.Tensor] = []
    while training.spent() < 1:
        draw = torch.Generator().manual_seed(settings.seed + 1_000_003 * (training.step + 1))
        z0, tokens, t, noise = draw_batch(latents, captions, empty, part, draw)
        alpha = alphas_cumprod[t][:, None, None, None]
        z = alpha.sqrt() * z0 + (1 - alpha).sqrt() * noise
        with torch.autocast(device.type, torch.bfloat16):
            output = denoiser(z, t, tokens)
        loss = (weights[t] * (output.float() - noise).square().mean((1, 2, 3))).mean()
        training.advance(loss)
        losses.append(loss.detach())
        if training.step % REPORT_EVERY == 0:
            mean = torch.stack(losses[-REPORT_EVERY:]).mean().item()
            print(f"{training.step} {training.spent_s:.0f}s loss {mean:.4f}", flush=True)
        if training.step % SAVE_EVERY == 0:
            training.save()
    training.save()


def draw_batch(
    latents: torch.Tensor,
    captions: torch.Tensor,
    empty: torch.Tensor,
    part: DiffusionSettings,
    draw: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clean latents, tokens (some of them empty), timesteps and noise for one step."""
    count, device = part.batch, latents.device
    chosen = torch.randint(len(latents), (count,), generator=draw).to(device)
    z0, tokens = latents[chosen].float(), captions[chosen].clone()
    tokens[(torch.rand(count, generator=draw) < part.empty_share).to(device)] = empty
    # One timestep from each of `count` equal stretches: the loss jumps about less.
    spread = (torch.arange(count) + torch.rand(count, generator=draw)) / count
    noise = torch.randn(z0.shape, generator=draw).to(device)
    return z0, tokens, (spread * TRAIN_STEPS).long().to(device), noise


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--from-model", action="store_true")
    settings, arguments = parse_settings(parser)
    if arguments.seconds:
        settings = replace(
            settings, diffusion=replace(settings.diffusion, seconds=arguments.seconds)
        )
    train_diffusion(settings, arguments.from_model)
