"""Train the two judges once for a VAE, and say how far they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..pictures import decode, encode, load_vae
from ..scene.captions import draw_captioned
from ..scene.compose import Composer, Placed
from ..scene.scene import Scene
from ..settings import Settings
from .cleanness import Standard, load_standard, train_standard
from .damage import damage
from .truth import Judge, label, load_judge, save_judge, train_judge

_SEED, _HELD_OUT_SEED = 1_000_004, 1_000_005
_HELD_OUT = 500


@dataclass(frozen=True)
class Scenes:
    """Composed scenes and all that is known of them."""

    pictures: np.ndarray
    scenes: list[Scene]
    placed: list[tuple[Placed, ...]]


def compose_many(composer: Composer, count: int, seed: int) -> Scenes:
    """Scenes as training sees them."""
    pictures, scenes, placed = [], [], []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        scene, _ = draw_captioned(rng)
        picture, spots = composer.compose(scene, rng)
        pictures.append(picture)
        scenes.append(scene)
        placed.append(spots)
    return Scenes(np.stack(pictures), scenes, placed)


def get_truth_judge(settings: Settings, composer: Composer, count: int, epochs: int) -> Judge:
    """The judge of what is shown, trained on `count` scenes or read from the working folder."""
    path = settings.work / "judge-truth.pt"
    if path.exists():
        return load_judge(path)
    made = compose_many(composer, count, _SEED)
    judge = train_judge(made.pictures, label(made.scenes, made.placed), epochs=epochs)
    save_judge(judge, path)
    return judge


def validate_truth_judge(judge: Judge, composer: Composer) -> dict[str, float]:
    """What the judge gets right on unseen scenes, in percent, and how far off it places."""
    held = compose_many(composer, _HELD_OUT, _HELD_OUT_SEED)
    seen, truth = judge.judge(held.pictures), label(held.scenes, held.placed)
    single = ~truth.where.isnan().any(1)
    one = [scene for scene in held.scenes if len(scene.items) == 1]
    shows = seen.shows(held.scenes)
    error = (seen.where - truth.where)[single][:, :2]
    return {
        "judge_object": percent(shows[single]),
        "judge_pair": percent(shows[~single]),
        "judge_place": percent(seen.stands_at(held.scenes)),
        "judge_hat": percent(seen.wears(held.scenes)),
        "judge_middle_error": float(error.square().mean().sqrt()),
        "judge_single_scenes": float(len(one)),
    }


def get_standard(settings: Settings, composer: Composer, count: int, epochs: int) -> Standard:
    """The judge of cleanness for this VAE, trained on `count` scenes or read from the folder."""
    path = settings.work / "judge-cleanness.pt"
    if path.exists():
        return load_standard(path)
    vae = load_vae(settings.vae, settings.machine)
    made = compose_many(composer, count, _SEED)
    held = compose_many(composer, _HELD_OUT, _HELD_OUT_SEED)
    rng = np.random.default_rng(_SEED)

    def rebuild(pictures: np.ndarray) -> np.ndarray:
        return decode(vae, encode(vae, pictures, settings.machine), settings.machine)

    clean = rebuild(made.pictures)
    damaged = np.stack([damage(p, s, rng) for p, s in zip(clean, made.placed, strict=True)])
    standard = train_standard(clean, damaged, rebuild(held.pictures), epochs=epochs)
    standard.save(path)
    return standard


def validate_standard(
    standard: Standard, settings: Settings, composer: Composer
) -> dict[str, float]:
    """How many held-out reconstructions the standard accepts, and how many damaged ones."""
    vae = load_vae(settings.vae, settings.machine)
    held = compose_many(composer, _HELD_OUT, _HELD_OUT_SEED)
    clean = decode(vae, encode(vae, held.pictures, settings.machine), settings.machine)
    rng = np.random.default_rng(_HELD_OUT_SEED)
    damaged = np.stack([damage(p, s, rng) for p, s in zip(clean, held.placed, strict=True)])
    return {
        "clean_held_out": percent(torch.from_numpy(standard.accepts(clean))),
        "clean_damaged": percent(torch.from_numpy(standard.accepts(damaged))),
    }


def percent(right: torch.Tensor) -> float:
    """The share of True, in percent."""
    return 100 * right.float().mean().item()
