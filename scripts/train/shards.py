"""Scenes as latents and captions, in files of a few hundred; missing ones are made when needed.

    python -m scripts.train.shards [--per-second 20]

makes them ahead, so that a training on another core need not. Scene k is the same whoever makes it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .pictures import encode, encoder_digest, load_vae
from .scene.captions import draw_captioned
from .scene.compose import Composer
from .scene.scene import Scene
from .scene.sprites import load_sprites
from .settings import Settings, add_settings, settings_of


def compose_scene(composer: Composer, seed: int, number: int) -> tuple[np.ndarray, str, Scene]:
    """Scene `number` of a seed: picture, caption and what it shows."""
    rng = np.random.default_rng((seed, number))
    scene, caption = draw_captioned(rng)
    return composer.compose(scene, rng)[0], caption, scene


@dataclass
class Shards:
    """The files of one VAE encoder's latents."""

    settings: Settings
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self._vae = load_vae(self.settings.vae, self.settings.machine)
        self._composer: Composer | None = None
        self.folder = self.settings.work / "shards" / encoder_digest(self._vae)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, index: int) -> Path:
        """Where shard `index` lies."""
        return self.folder / f"{index:05d}.npz"

    def read(self, index: int) -> tuple[torch.Tensor, list[str]]:
        """A shard's latents, float16 (shard, 4, h, w), and captions; makes it if it is missing."""
        if not self.path(index).exists():
            self.make(index)
        with np.load(self.path(index)) as shard:
            return torch.from_numpy(shard["latents"]), [str(text) for text in shard["captions"]]

    def make(self, index: int) -> None:
        """Compose and encode a shard; the file appears whole."""
        if self._composer is None:
            self._composer = Composer(load_sprites(self.settings.sprites))
        first, count = index * self.settings.shard, self.settings.shard
        made = [
            compose_scene(self._composer, self.settings.seed, number)
            for number in range(first, first + count)
        ]
        latents = encode(self._vae, np.stack([m[0] for m in made]), self.settings.machine)
        scratch = self.folder / f"{index:05d}.{os.getpid()}.tmp"
        with scratch.open("wb") as file:
            np.savez(file, latents=latents.half().numpy(), captions=np.array([m[1] for m in made]))
        scratch.replace(self.path(index))

    def count(self) -> int:
        """How many shards there are in all."""
        return self.settings.scenes // self.settings.shard


class Stream:
    """The scenes as training sees them: block after block, each several times, and then again.

    Which scenes come is decided by the position alone, whatever shards are there already.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._index, self._latents, self._captions = -1, torch.empty(0), list[str]()

    def take(self, position: int, count: int) -> tuple[torch.Tensor, list[str]]:
        """`count` scenes from `position` on: float16 latents (count, 4, h, w) and captions."""
        latents, captions = [], list[str]()
        for index, part in self._parts(position, count):
            if index != self._index:
                self._latents, self._captions = self._shards.read(index)
                self._index = index
            latents.append(self._latents[part])
            captions += self._captions[part]
        return torch.cat(latents), captions

    def _parts(self, position: int, count: int) -> Iterator[tuple[int, slice]]:
        """Which part of which shard."""
        settings = self._shards.settings
        end = position + count
        while position < end:
            block, seen = divmod(position, settings.block * settings.passes)
            scene = block * settings.block + seen % settings.block
            index, first = divmod(scene, settings.shard)
            last = min(settings.shard, first + end - position)
            yield index % self._shards.count(), slice(first, last)
            position += last - first


def main() -> None:
    """Make the shards that are missing, in their order."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings(parser)
    parser.add_argument("--per-second", type=float, default=float("inf"), help="at most")
    parser.add_argument("--first", type=int, default=0, help="the shard to begin with")
    asked = parser.parse_args()
    shards = Shards(settings_of(asked))
    for index in range(asked.first, shards.count()):
        if shards.path(index).exists():
            continue
        began = time.monotonic()
        shards.make(index)
        spent_s = time.monotonic() - began
        print(f"shard {index}: {shards.settings.shard / spent_s:.0f} scenes/s", flush=True)
        time.sleep(max(0.0, shards.settings.shard / asked.per_second - spent_s))


if __name__ == "__main__":
    main()
