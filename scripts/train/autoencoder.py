"""Fine-tune the start's VAE on composed scenes.

    python -m scripts.train.autoencoder [--decoder-only]

Latents stay close to the start's, so that a denoiser trained on those can go on. With
--decoder-only they stay the same: that may run beside the denoiser's training, or after it.
It goes on from its checkpoint; the model folder it writes, WORK/vae, is the average of the weights.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from .pictures import decode, encode, load_vae, psnr_db, to_tensor
from .scene.compose import Composer
from .scene.sprites import load_sprites
from .settings import Settings, add_settings, settings_of
from .shards import compose_scene
from .training import Schedule, Training

# Seeds beside the denoiser's own, so that no picture is measured that was trained on.
TRAIN_SEED, FRESH_SEED = 1_000_001, 1_000_002
FRESH_SCENES = 256
REPORT_EVERY_S, SAVE_EVERY_S = 60, 300


def reconstruction_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Absolute and squared error, and that of the gradients, which keeps edges sharp."""
    edges = sum(F.l1_loss(made.diff(dim=d), real.diff(dim=d)) for d in (-1, -2))
    return F.l1_loss(made, real) + 6 * F.mse_loss(made, real) + 0.3 * edges


def fresh_scenes(composer: Composer, count: int = FRESH_SCENES) -> np.ndarray:
    """Pictures that no training sees, uint8 (count, height, width, 3)."""
    return np.stack([compose_scene(composer, FRESH_SEED, k)[0] for k in range(count)])


def measure_psnr_db(vae: AutoencoderKL, pictures: np.ndarray, settings: Settings) -> float:
    """The mean PSNR of pictures that go through the VAE and back."""
    latents = encode(vae, pictures, settings.machine)
    return float(psnr_db(decode(vae, latents, settings.machine), pictures).mean())


def train_autoencoder(
    settings: Settings, *, decoder_only: bool, samples: int, fresh: int = FRESH_SCENES
) -> None:
    """Train until the rate has fallen to zero, and write WORK/vae.

    Args:
        settings: pace and folders.
        decoder_only: whether the encoder, and so every latent, stays as it is in WORK/vae.
        samples: how many pictures to see; the rate falls over the second half.
        fresh: on how many scenes the PSNR is measured.
    """
    part, machine = settings.autoencoder, settings.machine
    source = settings.vae if decoder_only else settings.start / "vae"
    torch.manual_seed(settings.seed)
    anchor, vae = load_vae(source, machine), load_vae(source, machine)
    trained = (vae.decoder, vae.post_quant_conv)
    for module in trained if decoder_only else (vae,):
        module.requires_grad_(True).train()
    schedule = Schedule(part.pace.lr, part.warmup, samples // 2, samples - samples // 2)
    training = Training(vae, schedule, part.ema)
    checkpoint = settings.work / ("decoder.pt" if decoder_only else "autoencoder.pt")
    if checkpoint.exists():
        training.load(checkpoint)
    composer = Composer(load_sprites(settings.sprites))
    saved = reported = time.monotonic()
    errors = []
    while not schedule.is_over(training.samples):
        count = part.pace.batch
        numbers = range(training.samples, training.samples + count)
        pictures = np.stack([compose_scene(composer, TRAIN_SEED, k)[0] for k in numbers])
        real = to_tensor(pictures).to(machine.device)
        scale = vae.config.scaling_factor
        with machine.autocast():
            z = vae.encode(real).latent_dist.mode() * scale
            with torch.no_grad():
                old = z if decoder_only else anchor.encode(real).latent_dist.mode() * scale
            generator = torch.Generator().manual_seed(settings.seed + training.step)
            noise = torch.randn(z.shape, generator=generator).to(machine.device)
            made = vae.decode((z + part.latent_noise * noise) / scale).sample.float()
        drift = F.mse_loss(z.float(), old.float())
        loss = reconstruction_loss(made, real) + part.anchor * drift
        training.advance(loss, count)
        errors.append(F.mse_loss(made.detach().clamp(-1, 1), real).item())
        now = time.monotonic()
        if now - reported >= REPORT_EVERY_S:
            noisy_db = -10 * np.log10(np.mean(errors) / 4)
            speed = len(errors) * count / (now - reported)
            print(
                f"samples {training.samples} noisy_psnr_db {noisy_db:.2f} {speed:.1f}/s", flush=True
            )
            errors.clear()
            reported = now
        if now - saved >= SAVE_EVERY_S:
            training.save(checkpoint)
            saved = time.monotonic()
    training.save(checkpoint)
    average: AutoencoderKL = training.average
    unseen = fresh_scenes(composer, fresh)
    print(f"PSNR {measure_psnr_db(load_vae(source, machine), unseen, settings):.2f} dB before,")
    print(f"{measure_psnr_db(average, unseen, settings):.2f} dB after {training.samples} samples")
    average.save_pretrained(settings.work / "vae")


def main() -> None:
    """Train as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_settings(parser)
    parser.add_argument("--decoder-only", action="store_true", help="keep the latents as they are")
    parser.add_argument("--samples", type=int, help="pictures to see, instead of the config's")
    asked = parser.parse_args()
    settings = settings_of(asked)
    samples = settings.autoencoder.samples if asked.samples is None else asked.samples
    train_autoencoder(settings, decoder_only=asked.decoder_only, samples=samples)


if __name__ == "__main__":
    main()
