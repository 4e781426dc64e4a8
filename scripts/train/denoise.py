"""Train the text encoder and the UNet together on the latents of composed scenes.

    python -m scripts.train.denoise [--samples 2000000]

goes on from the checkpoint in the working folder, or starts from --start. It may be stopped at
any time (Ctrl-C or SIGTERM saves first). The rate stays level, so that training can always go on;

    python -m scripts.train.denoise --fall 20000

copies the checkpoint and lets the copy's rate fall to zero over so many samples: that copy is
what one judges and exports.
"""

from __future__ import annotations

import argparse
import csv
import signal
import time
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from .networks import build_denoiser, make_fast, take_over
from .scene.captions import vocabulary
from .settings import Settings, add_settings, settings_of
from .shards import Shards, Stream
from .tokenizer import write_tokenizer
from .training import Schedule, Training

REPORT_EVERY_S, SAVE_EVERY_S = 60, 300
# Stable Diffusion's own noise levels.
NOISE_LEVELS = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
_STEP_SEEDS = 1_000_003


def loss_weights(alphas_cumprod: torch.Tensor, gamma: float) -> torch.Tensor:
    """Weights of the squared noise error by timestep: min(SNR, gamma) / SNR (Hang et al., 2023)."""
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return snr.clamp(max=gamma) / snr


class Task:
    """The loss of one step: which scenes, noise and timesteps, by the training's counters alone."""

    def __init__(self, settings: Settings, tokenizer: CLIPTokenizer) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._stream = Stream(Shards(settings))
        device = settings.machine.device
        self._alphas = DDPMScheduler(**NOISE_LEVELS).alphas_cumprod.to(device)
        self._weights = loss_weights(self._alphas, settings.denoiser.snr_gamma)

    def loss(self, training: Training) -> torch.Tensor:
        """The weighted squared error of the predicted noise over the next batch."""
        part, machine = self._settings.denoiser, self._settings.machine
        count = part.pace.batch
        draw = torch.Generator().manual_seed(
            self._settings.seed + _STEP_SEEDS * (training.step + 1)
        )
        latents, captions = self._stream.take(training.samples, count)
        empty = torch.rand(count, generator=draw) < part.empty_share
        said = ["" if leave else text for text, leave in zip(captions, empty, strict=True)]
        tokens = tokenize(self._tokenizer, said).to(machine.device)
        # One timestep from each of `count` equal stretches: the loss jumps about less.
        share = (torch.arange(count) + torch.rand(count, generator=draw)) / count
        t = (share * len(self._alphas)).long().to(machine.device)
        z0 = latents.to(machine.device).float()
        noise = torch.randn(z0.shape, generator=draw).to(machine.device)
        alpha = self._alphas[t][:, None, None, None]
        z = alpha.sqrt() * z0 + (1 - alpha).sqrt() * noise
        with machine.autocast():
            output = training.module(z.contiguous(memory_format=torch.channels_last), t, tokens)
        return (self._weights[t] * (output.float() - noise).square().mean((1, 2, 3))).mean()


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Tokens padded as a pipeline pads them, int64 (count, length)."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


def start_training(settings: Settings, tokenizer: CLIPTokenizer) -> Training:
    """The training as it begins, with the start's weights."""
    part = settings.denoiser
    torch.manual_seed(settings.seed)
    denoiser = build_denoiser(part, tokenizer)
    take_over(denoiser, tokenizer, settings.start)
    make_fast(denoiser, settings.machine.device).train()
    return Training(denoiser, Schedule(part.pace.lr, part.warmup), part.ema)


class Stop:
    """Whether the process was asked to end, while it is entered; then signals are as before."""

    def __enter__(self) -> Stop:
        self.asked = False
        self._before = [
            (number, signal.signal(number, self._ask)) for number in (signal.SIGINT, signal.SIGTERM)
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


def write_snapshot(training: Training, folder: Path) -> None:
    """The averaged weights in half precision, named by the samples seen."""
    folder.mkdir(exist_ok=True)
    weights = {k: v.half().contiguous() for k, v in training.average.state_dict().items()}
    save_file(weights, folder / f"{training.samples:08d}.safetensors")


def append_history(path: Path, row: dict[str, object]) -> None:
    """Print a row and add it to a CSV file."""
    print(*(f"{key} {value}" for key, value in row.items()), flush=True)
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def train(settings: Settings, samples: int, fall: int = 0) -> Path:
    """Train until so many samples are seen, the rate has fallen, or the process is asked to stop.

    Args:
        settings: sizes, pace and folders.
        samples: how many to see in all.
        fall: over how many samples a copy's rate falls to zero; 0 trains on.

    Returns:
        The checkpoint.
    """
    part, work = settings.denoiser, settings.work
    tokenizer = write_tokenizer(vocabulary(), work / "tokenizer", part.text_length)
    training = start_training(settings, tokenizer)
    checkpoint = work / "denoiser.pt"
    if checkpoint.exists():
        training.load(checkpoint)
    if fall:
        checkpoint = work / f"fallen-{training.samples:08d}.pt"
        training.fall(fall)
        if checkpoint.exists():
            training.load(checkpoint)
    task = Task(settings, tokenizer)
    losses: list[torch.Tensor] = []
    saved = reported = time.monotonic()
    with Stop() as stop:
        while training.samples < samples and not training.schedule.is_over(training.samples):
            if stop.asked:
                break
            before = training.samples // part.snapshot_every
            loss = task.loss(training)
            training.advance(loss, part.pace.batch)
            losses.append(loss.detach())
            if training.samples // part.snapshot_every > before and not fall:
                write_snapshot(training, work / "snapshots")
            now = time.monotonic()
            if now - reported >= REPORT_EVERY_S:
                row = {
                    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "samples": training.samples,
                    "loss": f"{torch.stack(losses).mean().item():.5f}",
                    "rate": f"{training.schedule.rate(training.samples):.2e}",
                    "samples_per_s": f"{len(losses) * part.pace.batch / (now - reported):.1f}",
                }
                append_history(checkpoint.with_suffix(".csv"), row)
                losses.clear()
                reported = now
            if now - saved >= SAVE_EVERY_S:
                training.save(checkpoint)
                saved = time.monotonic()
        training.save(checkpoint)
    print(f"{training.samples} samples in {checkpoint}", flush=True)
    return checkpoint


def main() -> None:
    """Train as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_settings(parser)
    parser.add_argument("--samples", type=int, default=10_000_000, help="stop after so many in all")
    parser.add_argument("--fall", type=int, default=0, help="end a copy over so many samples")
    asked = parser.parse_args()
    train(settings_of(asked), asked.samples, asked.fall)


if __name__ == "__main__":
    main()
