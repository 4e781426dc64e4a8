"""Latents and the pictures that the VAE makes of them, in files: what the small decoder learns.

Half of a file's latents are scenes, half are z0_hats of the start's own runs, from every row: the
early ones are blurred and brighter or darker than any picture, and previews show those first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler

from .denoise import NOISE_LEVELS, tokenize
from .pictures import decode, encode, load_vae
from .sample import Model, load_model
from .scene.captions import draw_captioned
from .scene.compose import Composer
from .scene.sprites import load_sprites
from .settings import Settings
from .shards import compose_scene

# Seeds beside the other trainings' own, so that what is measured was never trained on.
PAIRS_SEED, FRESH_PAIRS_SEED = 1_000_003, 1_000_004
GUIDANCES = (1.0, 3.5, 7.5)
ROWS = 16
Pair = tuple[torch.Tensor, torch.Tensor]


@torch.no_grad()
def predictions(
    model: Model, captions: list[str], guidances: list[float], seed: int
) -> torch.Tensor:
    """The z0_hats of all rows of one run a caption, float32 (rows, runs, 4, h, w).

    Args:
        model: the networks.
        captions: what the runs draw.
        guidances: each run's guidance scale.
        seed: of the noise.
    """
    device, px = model.machine.device, model.unet.config.sample_size
    scheduler = DDIMScheduler(**NOISE_LEVELS, clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(ROWS)
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn((len(captions), 4, px, px), generator=generator).to(device)
    scale = torch.tensor(guidances, device=device)[:, None, None, None]
    tokens = tokenize(model.tokenizer, [""] * len(captions) + captions).to(device)
    rows = []
    with model.machine.autocast():
        words = model.text_encoder(tokens).last_hidden_state
        for t in scheduler.timesteps:
            uncond, cond = model.unet(torch.cat([z, z]), t, words).sample.float().chunk(2)
            step = scheduler.step(uncond + scale * (cond - uncond), t, z)
            rows.append(step.pred_original_sample)
            z = step.prev_sample
    return torch.stack(rows).cpu()


@dataclass
class Pairs:
    """The files; a missing one is made when it is asked for."""

    settings: Settings
    seed: int = PAIRS_SEED
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.settings.work / "pairs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._model: Model | None = None

    def read(self, index: int) -> Pair:
        """Latents, float32 (pairs, 4, h, w), and pictures, uint8 (pairs, 3, H, W), in a file."""
        path = self.folder / f"{self.seed}-{index:03d}.npz"
        if not path.exists():
            self._make(index, path)
        with np.load(path) as file:
            return torch.from_numpy(file["latents"]), torch.from_numpy(file["pictures"])

    def _make(self, index: int, path: Path) -> None:
        """Compose, sample and decode; the file appears whole."""
        if self._model is None:
            self._model = load_model(self.settings.start, self.settings.machine)
            self._vae = load_vae(self.settings.vae, self.settings.machine)
            self._composer = Composer(load_sprites(self.settings.sprites))
        half = self.settings.tiny.shard // 2
        numbers = range(index * half, (index + 1) * half)
        scenes = np.stack([compose_scene(self._composer, self.seed, k)[0] for k in numbers])
        latents = torch.cat([encode(self._vae, scenes, self.settings.machine), self._runs(index)])
        made = decode(self._vae, latents, self.settings.machine).transpose(0, 3, 1, 2)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        with scratch.open("wb") as file:
            np.savez(file, latents=latents.numpy(), pictures=made)
        scratch.replace(path)
        print(f"{path}", flush=True)

    def _runs(self, index: int) -> torch.Tensor:
        """The z0_hats of a file's runs, in the order of the rows."""
        assert self._model is not None
        rng = np.random.default_rng((self.seed, index, 1))
        runs = max(1, self.settings.tiny.shard // 2 // ROWS)
        captions = [draw_captioned(rng)[1] for _ in range(runs)]
        guidances = [float(guidance) for guidance in rng.choice(GUIDANCES, runs)]
        return predictions(self._model, captions, guidances, int(rng.integers(2**31))).flatten(0, 1)


class PairStream:
    """The pairs as training sees them: all of them in a new order, again and again."""

    def __init__(self, pairs: Pairs, count: int) -> None:
        """Read, or make, the first `count` files."""
        files = [pairs.read(index) for index in range(count)]
        self._latents = torch.cat([latents for latents, _ in files])
        self._pictures = torch.cat([pictures for _, pictures in files])
        self._seed = pairs.settings.seed
        self._epoch, self._order = -1, torch.empty(0)

    def take(self, position: int, count: int) -> Pair:
        """`count` pairs from `position` on, pictures as float32 in -1..1."""
        chosen = torch.tensor([self._at(k) for k in range(position, position + count)])
        return self._latents[chosen], self._pictures[chosen].float() / 127.5 - 1

    def _at(self, position: int) -> int:
        """Which pair comes at a position; it depends on nothing else."""
        epoch, place = divmod(position, len(self._latents))
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self._seed + epoch)
            self._epoch = epoch
            self._order = torch.randperm(len(self._latents), generator=generator)
        return int(self._order[place])


def fresh_pairs(settings: Settings, files: int) -> Iterator[Pair]:
    """Pairs that no training sees."""
    pairs = Pairs(settings, FRESH_PAIRS_SEED)
    for index in range(files):
        yield pairs.read(index)
