"""Distil the start's VAE into a small decoder, for previews.

    python -m scripts.train.tiny FOLDER

learns from the VAE's own pictures (pairs.py), not from the scenes, and goes on from its checkpoint
in the working folder. At the end it writes the average of the weights to FOLDER, in half precision
and in the layout of diffusers' AutoencoderTiny, and measures it on pairs that it never saw.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from .autoencoder import reconstruction_loss
from .denoise import Stop
from .pairs import Pairs, PairStream, fresh_pairs
from .pictures import psnr_db, to_pictures
from .settings import Settings, TinySettings, add_settings, settings_of
from .training import Schedule, Training

REPORT_EVERY_S, SAVE_EVERY_S = 60, 300
FRESH_FILES = 2


def build_decoder(part: TinySettings) -> AutoencoderTiny:
    """A small decoder with fresh weights; its encoder is as small as can be, and nobody's."""
    stages = len(part.blocks)
    return AutoencoderTiny(
        encoder_block_out_channels=(8,) * stages,
        num_encoder_blocks=(0,) * stages,
        decoder_block_out_channels=(part.width,) * stages,
        num_decoder_blocks=part.blocks,
    )


def start_training(settings: Settings) -> Training:
    """The training as it begins."""
    part = settings.tiny
    torch.manual_seed(settings.seed)
    decoder = build_decoder(part).decoder.to(
        settings.machine.device, memory_format=torch.channels_last
    )
    fall = part.samples - part.samples // 2
    schedule = Schedule(part.pace.lr, part.warmup, part.samples // 2, fall)
    return Training(decoder.train(), schedule, part.ema)


def train_tiny(settings: Settings) -> Training:
    """Train until the rate has fallen to zero or the process is asked to stop."""
    part, machine = settings.tiny, settings.machine
    training, checkpoint = start_training(settings), settings.work / "tiny.pt"
    if checkpoint.exists():
        training.load(checkpoint)
    stream = PairStream(Pairs(settings), part.files)
    losses: list[torch.Tensor] = []
    saved = reported = time.monotonic()
    with Stop() as stop:
        while not training.schedule.is_over(training.samples) and not stop.asked:
            latents, pictures = (x.to(machine.device) for x in _take(stream, training, part))
            with machine.autocast():
                made = training.module(latents)
            loss = reconstruction_loss(made.float(), pictures)
            training.advance(loss, part.pace.batch)
            losses.append(loss.detach())
            now = time.monotonic()
            if now - reported >= REPORT_EVERY_S:
                mean, speed = torch.stack(losses).mean(), len(losses) * part.pace.batch
                print(
                    f"samples {training.samples} loss {mean:.5f} {speed / (now - reported):.1f}/s",
                    flush=True,
                )
                losses.clear()
                reported = now
            if now - saved >= SAVE_EVERY_S:
                training.save(checkpoint)
                saved = time.monotonic()
        training.save(checkpoint)
    return training


def _take(
    stream: PairStream, training: Training, part: TinySettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """The next batch, with the channels innermost."""
    latents, pictures = stream.take(training.samples, part.pace.batch)
    layout = torch.channels_last
    return latents.contiguous(memory_format=layout), pictures.contiguous(memory_format=layout)


@torch.no_grad()
def measure_psnr_db(
    decoder: torch.nn.Module, settings: Settings, files: int = FRESH_FILES
) -> tuple[float, float]:
    """The mean PSNR against the VAE's pictures of unseen scenes, and of z0_hats of unseen runs."""
    scenes, runs = [], []
    for latents, pictures in fresh_pairs(settings, files):
        made = to_pictures(decoder(latents.to(settings.machine.device)))
        each = torch.from_numpy(psnr_db(made, pictures.permute(0, 2, 3, 1).numpy()))
        half = settings.tiny.shard // 2
        scenes.append(each[:half])
        runs.append(each[half:])
    return float(torch.cat(scenes).mean()), float(torch.cat(runs).mean())


def export(decoder: torch.nn.Module, settings: Settings, folder: Path) -> int:
    """Write a decoder as AutoencoderTiny lays it out, without an encoder; returns its bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    build_decoder(settings.tiny).save_config(folder)
    weights = {
        f"decoder.{name}": weight.half().contiguous()
        for name, weight in decoder.state_dict().items()
    }
    path = folder / "diffusion_pytorch_model.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()), indent=2) + "\n")
    _note_hash(folder.parent / "sha256.json", path)
    return path.stat().st_size


def _note_hash(sums: Path, weights: Path) -> None:
    """Name the weights by their content where the model around them does so for its own."""
    if not sums.is_file():
        return
    name = weights.relative_to(sums.parent).as_posix()
    known = json.loads(sums.read_text()) | {name: hashlib.sha256(weights.read_bytes()).hexdigest()}
    sums.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")


def main() -> None:
    """Distil as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_settings(parser)
    parser.add_argument("folder", type=Path, help="the decoder's; emptied first")
    asked = parser.parse_args()
    settings = settings_of(asked)
    training = train_tiny(settings)
    if not training.schedule.is_over(training.samples):
        print(f"{training.samples} samples; the same command goes on")
        return
    size = export(training.average, settings, asked.folder)
    scenes_db, runs_db = measure_psnr_db(training.average, settings)
    print(f"{training.samples} samples, {size} bytes in {asked.folder}; against the VAE")
    print(f"{scenes_db:.2f} dB on scenes, {runs_db:.2f} dB on z0_hats")


if __name__ == "__main__":
    main()
