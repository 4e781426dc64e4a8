"""Sample a model folder, and lay prompts by seeds out in a grid.

python -m scripts.train.sample MODEL grid.png [--seeds 8] [--prompts "a cat" "a dog"]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    SchedulerMixin,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from .denoise import tokenize
from .machine import Machine, choose_machine
from .pictures import decode, load_vae

SAMPLERS = {"ddim": (DDIMScheduler, 25), "pndm": (PNDMScheduler, 50)}
GUIDANCE = 3.5
GRID_PROMPTS = (
    "an astronaut relaxing on a tropical island",
    "a portrait of a panda wearing a top hat, cartoon",
    "a fox in a forest",
    "a red car on a table",
    "a robot in space, pop art",
    "a green sphere in the snow",
    "a cat wearing a crown",
    "a panda and a birthday cake on a table",
    "a pizza on a table, photo",
    "a dog wearing a straw hat on a tropical island, on the left",
)
_BATCH = 32


@dataclass(frozen=True)
class Model:
    """A model folder's networks in float32."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    folder: Path
    machine: Machine


def load_model(folder: Path, machine: Machine) -> Model:
    """Load a model folder for sampling."""
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    return Model(
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        text.to(machine.device).eval(),
        unet.to(machine.device, memory_format=torch.channels_last).eval(),
        load_vae(folder / "vae", machine),
        folder,
        machine,
    )


@torch.no_grad()
def sample(
    model: Model,
    captions: list[str],
    seeds: list[int],
    *,
    sampler: str = "ddim",
    guidance: float = GUIDANCE,
) -> np.ndarray:
    """One picture for each caption and seed: uint8 (count, height, width, 3).

    Args:
        model: the networks.
        captions: what to draw.
        seeds: as many; each decides one picture's noise.
        sampler: a key of SAMPLERS.
        guidance: the guidance scale.
    """
    device, px = model.machine.device, model.unet.config.sample_size
    made = []
    for first in range(0, len(captions), _BATCH):
        said, own = captions[first : first + _BATCH], seeds[first : first + _BATCH]
        z = torch.cat([_draw_noise(seed, px) for seed in own]).to(device)
        scheduler = _make_scheduler(model, sampler)
        tokens = tokenize(model.tokenizer, [""] * len(said) + said).to(device)
        with model.machine.autocast():
            words = model.text_encoder(tokens).last_hidden_state
            for t in scheduler.timesteps:
                output = model.unet(torch.cat([z, z]), t, words).sample.float()
                uncond, cond = output.chunk(2)
                z = scheduler.step(uncond + guidance * (cond - uncond), t, z).prev_sample
        made.append(decode(model.vae, z, model.machine))
    return np.concatenate(made)


def _draw_noise(seed: int, px: int) -> torch.Tensor:
    """One sample's noise, as a pipeline's own generator draws it on the CPU."""
    return torch.randn((1, 4, px, px), generator=torch.Generator().manual_seed(seed))


def _make_scheduler(model: Model, sampler: str) -> SchedulerMixin:
    """A fresh scheduler on the model's noise levels."""
    kind, steps = SAMPLERS[sampler]
    scheduler = kind.from_pretrained(model.folder / "scheduler")
    scheduler.set_timesteps(steps)
    return scheduler


def lay_out(pictures: np.ndarray, columns: int) -> Image.Image:
    """Pictures in rows of `columns`."""
    count, height, width, _ = pictures.shape
    rows = pictures.reshape(count // columns, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(rows.reshape(count // columns * height, columns * width, 3))


def main() -> None:
    """Draw the grid that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("grid", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--prompts", nargs="+", default=list(GRID_PROMPTS))
    parser.add_argument("--sampler", choices=tuple(SAMPLERS), default="ddim")
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    asked = parser.parse_args()
    captions = [prompt for prompt in asked.prompts for _ in range(asked.seeds)]
    seeds = list(range(asked.seeds)) * len(asked.prompts)
    model = load_model(asked.model, choose_machine())
    made = sample(model, captions, seeds, sampler=asked.sampler, guidance=asked.guidance)
    lay_out(made, asked.seeds).save(asked.grid)


if __name__ == "__main__":
    main()
