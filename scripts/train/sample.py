"""Sample the model folder in batches with DDIM, and lay prompts by seeds out in a grid.

python -m scripts.train.sample grid.png [--guidance 5] [--seeds 8] [--prompts "a cat" ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image

from .scenes import CONFIG_SCENES
from .settings import Settings, parse_settings

BATCH = 50


def load_pipeline(settings: Settings) -> StableDiffusionPipeline:
    """The model folder as diffusers sees it, with a DDIM scheduler."""
    pipeline = StableDiffusionPipeline.from_pretrained(settings.model, local_files_only=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(settings.device)


@torch.no_grad()
def sample(
    pipeline: StableDiffusionPipeline,
    captions: list[str],
    seeds: list[int],
    guidance: float,
    steps: int,
) -> np.ndarray:
    """One picture for each caption and seed: uint8 (count, height, width, 3)."""
    side = pipeline.unet.config.sample_size
    pictures = []
    for first in range(0, len(captions), BATCH):
        said = captions[first : first + BATCH]
        noise = torch.cat(
            [
                torch.randn((1, 4, side, side), generator=torch.Generator().manual_seed(seed))
                for seed in seeds[first : first + BATCH]
            ]
        )
        with torch.autocast(pipeline.device.type, torch.bfloat16):
            made = pipeline(
                said,
                latents=noise.to(pipeline.device),
                guidance_scale=guidance,
                num_inference_steps=steps,
                height=8 * side,
                width=8 * side,
                output_type="np",
            ).images
        pictures.append((np.asarray(made, np.float32) * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def lay_out(pictures: np.ndarray, columns: int) -> Image.Image:
    """Pictures (count, height, width, 3) in rows of `columns`."""
    count, height, width, _ = pictures.shape
    rows = pictures.reshape(count // columns, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(rows.reshape(count // columns * height, columns * width, 3))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid", type=Path)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--prompts", nargs="+", default=[caption for caption, _ in CONFIG_SCENES])
    settings, asked = parse_settings(parser)
    captions = [prompt for prompt in asked.prompts for _ in range(asked.seeds)]
    seeds = [seed for _ in asked.prompts for seed in range(asked.seeds)]
    made = sample(load_pipeline(settings), captions, seeds, asked.guidance, asked.steps)
    lay_out(made, asked.seeds).save(asked.grid)
