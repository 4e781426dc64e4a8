"""What evaluation asks for: scenes and captions that no other command draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..scene.captions import describe, held_out_captions
from ..scene.compose import Composer, Placed
from ..scene.scene import CONFIG_SCENES, Scene, draw_scene

_SEED = 1_000_003


@dataclass(frozen=True)
class Asked:
    """Captions, what each asks for, and the seed of each one's noise."""

    scenes: list[Scene]
    captions: list[str]
    seeds: list[int]


def _draw(count: int, stream: int, wanted: Callable[[Scene], bool]) -> Asked:
    """Random scenes that `wanted` accepts, each with a caption that names its place."""
    rng = np.random.default_rng((_SEED, stream))
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = draw_scene(rng)
        if wanted(scene):
            scenes.append(scene)
    captions = [describe(scene, rng, whole=True) for scene in scenes]
    return Asked(scenes, captions, list(range(count)))


def ask_anything(count: int) -> Asked:
    """Single objects of all kinds."""
    return _draw(count, 0, lambda scene: len(scene.items) == 1)


def ask_pairs(count: int) -> Asked:
    """Two objects."""
    return _draw(count, 1, lambda scene: len(scene.items) == 2)


def ask_sides(count: int) -> Asked:
    """Single objects on the left or on the right."""
    return _draw(count, 2, lambda scene: scene.side in ("left", "right") and not scene.portrait)


def ask_hats(count: int) -> Asked:
    """Animals in hats."""
    return _draw(count, 3, lambda scene: len(scene.items) == 1 and bool(scene.items[0].hat))


def ask_unseen(count: int) -> Asked:
    """Combinations that training never shows."""
    captions = held_out_captions()
    chosen = list(captions)[:count]
    return Asked([captions[text] for text in chosen], chosen, list(range(count)))


def ask_choice(prompts: int, seeds: int) -> Asked:
    """The shipped configs' prompts and random ones, each with the same seeds."""
    rng = np.random.default_rng((_SEED, 4))
    chosen = {
        caption: dataclasses.replace(scene, place=scene.place or "meadow")
        for caption, scene in CONFIG_SCENES.items()
    }
    while len(chosen) < prompts:
        scene = draw_scene(rng)
        if not scene.portrait:
            chosen.setdefault(describe(scene, rng, whole=True), scene)
    captions = [caption for caption in chosen for _ in range(seeds)]
    scenes = [scene for scene in chosen.values() for _ in range(seeds)]
    return Asked(scenes, captions, list(range(seeds)) * prompts)


def compose_asked(composer: Composer, asked: Asked) -> tuple[np.ndarray, list[tuple[Placed, ...]]]:
    """What composed scenes of the same captions look like."""
    pictures, placed = [], []
    for number, scene in enumerate(asked.scenes):
        picture, spots = composer.compose(scene, np.random.default_rng((_SEED, 5, number)))
        pictures.append(picture)
        placed.append(spots)
    return np.stack(pictures), placed
