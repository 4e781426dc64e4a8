"""How well a word's map finds what the word names: the pointing game, step by step.

    python scripts/words.py [CONFIG] [key=value ...] [--seeds 10] [--out scripts/results/words]

First it draws 20 captions of two spheres, and counts the pictures that show both colours. Then it
plays on 20 captions of an animal with a hat, ten seeds each: two objects that are told apart by
colour alone, so that the truth comes from the picture and not from the model. A map hits if the
middle of its highest place lies on the object. The controls are the middle of the picture, the
other object's map, another seed's map, and the area of the object (Zhang et al. 2016,
arXiv:1608.00507). Pictures and maps stay in runs/words; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from steps_matter import reduce_colors
from words_truth import HATS, SPHERES, hat_and_animal, shows

import sdloop
from sdloop.job.engine import Engine
from sdloop.job.sample import draw
from sdloop.machine.files import replacing
from sdloop.model.weight_files import stamp_weights
from sdloop.sampler.loop import collect
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.figure.sheet import Side, write_sheet
from sdloop.show.figure.words import overlay
from sdloop.show.measure.words import measure_words

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs/snowman.yaml"
OVERRIDES = [
    "capture=attention",
    "scheduler.type=ddim",
    "scheduler.num_steps=10",
    "guidance_scale=4",
    "dtype=float32",
    "export.stages=null",
    "output=runs/words",
]
ANIMALS = ("pig", "frog", "koala", "bear", "monkey")
WORN = "a {} wearing a {} on a white background"
PAIR = "a {} sphere and a {} sphere on a white background"
SHOWN_STEPS = (0, 2, 4, 6, 9)
OUTLINE = np.array([255, 0, 255], np.uint8)


@dataclass(frozen=True)
class Sample:
    """A picture of two objects and their maps.

    Attributes:
        picture: uint8 (H, W, 3), the last frame.
        masks: bool (2, H, W), where the hat and the animal are.
        maps: float32 (2, rows, h, w), the maps of the hat's words and of the animal's.
    """

    picture: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    maps: NDArray[np.float32]

    def hits(self, maps: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell whether map m of a row hits object o: bool (2 maps, rows, 2 objects).

        Args:
            maps: This sample's, or as a control another's.
        """
        rows, (high, wide) = maps.shape[1], maps.shape[2:]
        peaks = maps.reshape(2, rows, -1).argmax(axis=2)
        height, width = self.picture.shape[:2]
        y = ((peaks // wide + 0.5) * height / high).astype(int)
        x = ((peaks % wide + 0.5) * width / wide).astype(int)
        return np.stack([mask[y, x] for mask in self.masks], axis=-1)

    @property
    def center(self) -> NDArray[np.bool_]:
        """Tell whether the middle of the picture lies on each object: bool (2,)."""
        height, width = self.picture.shape[:2]
        return self.masks[:, height // 2, width // 2]


def draw_captions(
    plan: sdloop.Plan, engine: Engine, captions: Sequence[str], seeds: Sequence[int]
) -> tuple[list[Trajectory], NDArray[np.uint8]]:
    """Draw captions side by side, each with its seed; return the walks and the last frames."""
    models, count = engine.models, len(captions)
    conditioning = engine.family.encode_text(models, captions, [""] * count)
    z, noise = draw(plan, seeds, models.device)
    scale = plan.config.guidance_scale
    steps = engine.walk(plan.table, z, conditioning, scale, noise, keep_attention=True)
    denoised = collect(steps, z, len(plan.table))
    times = torch.from_numpy(plan.table.timesteps)
    walks = [
        Trajectory.of_sample(denoised, times, {}, at, engine.family.words_of(models, caption))
        for at, caption in enumerate(captions)
    ]
    return walks, sdloop.decode_latents(models.vae, denoised.latents[-1]).cpu().numpy()


def maps_of(trajectory: Trajectory, phrases: Sequence[str]) -> NDArray[np.float32]:
    """Add the maps of each phrase's words up: float32 (phrases, rows, h, w)."""
    even = torch.ones((len(trajectory.z0_hat), 8, 8))  # what changed does not matter here
    measured = measure_words(trajectory.captured, trajectory.words, even)
    at = {text: measured.maps[:, number] for number, text in enumerate(measured.texts)}
    return np.stack([np.sum([at[word] for word in phrase.split()], axis=0) for phrase in phrases])


def samples_of(
    plan: sdloop.Plan, engine: Engine, animal: str, hat: str, seeds: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw an animal with a hat, or take the pictures and maps of an earlier call."""
    path = plan.folder / f"{animal}_{hat.replace(' ', '_')}_{seeds}.npz"
    weights = stamp_weights(plan.source, plan.half)
    asked = json.dumps({**plan.identity, "prompt": WORN.format(animal, hat), "weights": weights})
    if path.exists():
        kept = np.load(path)
        if str(kept["asked"]) == asked:
            return kept["pictures"], kept["maps"]
    walks, pictures = draw_captions(plan, engine, [WORN.format(animal, hat)] * seeds, range(seeds))
    maps = np.stack([maps_of(walk, (hat, animal)) for walk in walks])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, asked=asked, pictures=pictures, maps=maps)
    return pictures, maps


def play(plan: sdloop.Plan, engine: Engine, seeds: int) -> dict[tuple[str, str], list[Sample]]:
    """Draw every animal with every hat; leave out pictures whose hat is not told apart."""
    played = {}
    for hat in HATS:
        for animal in ANIMALS:
            pictures, maps = samples_of(plan, engine, animal, hat, seeds)
            masks = [hat_and_animal(picture, hat) for picture in pictures]
            played[hat, animal] = [
                Sample(picture, mask, each)
                for picture, mask, each in zip(pictures, masks, maps, strict=True)
                if mask is not None
            ]
            print(f"{animal}, {hat}: {len(played[hat, animal])} of {seeds}", flush=True)
    return played


def count_pairs(plan: sdloop.Plan, engine: Engine) -> tuple[int, int]:
    """Draw 20 captions of two spheres; count the pictures that show both colours."""
    pairs = list(permutations(SPHERES, 2))
    both = 0
    for part in (pairs[::2], pairs[1::2]):
        captions = [PAIR.format(*pair) for pair in part]
        _, pictures = draw_captions(plan, engine, captions, [0] * len(part))
        both += sum(
            all(shows(picture, color) for color in pair)
            for picture, pair in zip(pictures, part, strict=True)
        )
    return both, len(pairs)


def facts_of(samples: list[Sample]) -> dict[str, Any]:
    """Put the shares of hits into plain values, in percent, one for each row."""
    hits = np.mean([sample.hits(sample.maps) for sample in samples], axis=0)  # maps, rows, objects
    borrowed = [one.maps for one in (*samples[1:], samples[0])]  # mostly of the same caption
    strange = np.mean([one.hits(maps) for one, maps in zip(samples, borrowed, strict=True)], axis=0)
    center = np.mean([sample.center for sample in samples], axis=0)
    area = np.mean([sample.masks.mean(axis=(1, 2)) for sample in samples], axis=0)
    facts: dict[str, Any] = {"samples": len(samples)}
    for at, name in enumerate(("hat", "animal")):
        facts[name] = {
            "own_words_by_step": _percent(hits[at, :, at]),
            "other_words_by_step": _percent(hits[1 - at, :, at]),
            "other_seed_by_step": _percent(strange[at, :, at]),
            "center": _percent(center[at]),
            "area": _percent(area[at]),
        }
    return facts


def _percent(shares: NDArray[np.floating]) -> Any:  # noqa: ANN401 - a number or a list of them
    """Round to tenths of a percent."""
    return np.round(100 * shares, 1).tolist()


def outlined(sample: Sample) -> NDArray[np.uint8]:
    """Draw the edge of the hat's mask into its picture."""
    mask, picture = sample.masks[0], sample.picture.copy()
    inner = mask.copy()
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    picture[mask & ~inner] = OUTLINE
    return picture


def draw_sheet(path: Path, played: dict[tuple[str, str], list[Sample]]) -> None:
    """Draw one sample of each hat with its maps, over the hits of all its samples by step."""
    cells, captions, labels = [], [], []
    for number, hat in enumerate(HATS):
        samples = [one for animal in ANIMALS for one in played[hat, animal]]
        example = played[hat, ANIMALS[number % len(ANIMALS)]][0]
        hits = np.mean([one.hits(one.maps)[0, :, 0] for one in samples], axis=0)
        cells.append([outlined(example), *_maps(example, 0)])
        captions.append(["the hat, by colour", *(f"{hits[row]:.0%}" for row in SHOWN_STEPS)])
        labels.append(hat)
    example = next(iter(played.values()))[0]
    every = [one for samples in played.values() for one in samples]
    hits = np.mean([one.hits(one.maps)[1, :, 1] for one in every], axis=0)
    cells.append([outlined(example), *_maps(example, 1)])
    captions.append(["the animal: the rest", *(f"{hits[row]:.0%}" for row in SHOWN_STEPS)])
    labels.append("the animal's word")
    write_sheet(
        path,
        cells,
        f"Where a word is attended, and in how many of {len(every)} samples its peak is on what "
        "it names",
        Side("words", tuple(labels)),
        Side("", ("", *(f"step {row}" for row in SHOWN_STEPS))),
        captions=captions,
    )
    reduce_colors(path)


def _maps(sample: Sample, which: int) -> list[NDArray[np.uint8]]:
    """Lay one object's maps of the shown steps over the picture."""
    maps = sample.maps[which][list(SHOWN_STEPS)]
    return [overlay(sample.picture, each / maps.max()) for each in maps]


def main() -> None:
    """Draw, play, and keep the figures as JSON and one sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", default=str(CONFIG))
    parser.add_argument("overrides", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=ROOT / "scripts/results/words")
    parser.add_argument("--masks", type=Path, help="also write a sheet of all masks, to look at")
    options = parser.parse_args()
    config = sdloop.load_config(options.config, [*OVERRIDES, *options.overrides])
    plan = sdloop.settle(sdloop.prepare(config))
    engine = Engine.start(plan)
    both, pairs = count_pairs(plan, engine)
    print(f"two spheres: {both} of {pairs} show both colours", flush=True)
    played = play(plan, engine, options.seeds)
    every = [one for samples in played.values() for one in samples]
    facts = {
        "command": shlex.join(["python", "scripts/words.py", *sys.argv[1:]]),
        "two_spheres": {"captions": pairs, "pictures_that_show_both": both},
        "captions": WORN.format("ANIMAL", "HAT"),
        "guidance_scale": config.guidance_scale,
        "steps": len(plan.table),
        "hits": "percent of samples in which the middle of the map's highest place is on the "
        "object",
        "left_out": len(HATS) * len(ANIMALS) * options.seeds - len(every),
        "all": facts_of(every),
        "by_hat": {
            hat: facts_of([one for animal in ANIMALS for one in played[hat, animal]])
            for hat in HATS
        },
    }
    with replacing(options.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    draw_sheet(options.out.with_suffix(".png"), played)
    if options.masks:
        cells = [[outlined(one) for one in samples] for samples in played.values()]
        most = max(map(len, cells))
        rows = Side("", tuple(f"{animal}, {hat}" for hat, animal in played))
        padded = [[*line, *[None] * (most - len(line))] for line in cells]
        columns = Side("seed", tuple(map(str, range(most))))
        write_sheet(options.masks, padded, "The hats, by colour", rows, columns)


if __name__ == "__main__":
    main()
