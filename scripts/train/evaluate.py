"""Measure the model folder and write its card.

    python -m scripts.train.evaluate [--samples 500] [--guidance 5] [--card]

The VAE by its PSNR on fresh scenes; the whole by a judge trained on composed scenes, which says
how often samples show what random captions ask for.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
from dataclasses import asdict, dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL

from .autoencoder import to_tensor
from .classifier import HEADS, Judge, labels_of, train_judge
from .compose import Composer, compose
from .dataset import load_pictures
from .sample import lay_out, load_pipeline, sample
from .scenes import Scene, captioned, describe, draw_scene
from .settings import HERE, Settings, parse_settings

# Fresh scenes and captions come from seeds that no training picture has.
FRESH_SEED, CAPTION_SEED = 1_000_001, 1_000_002


@dataclass(frozen=True)
class Figures:
    """What the card reports; shares in percent, PSNR in dB."""

    training_step: int
    fresh_scenes: int
    psnr_db: float
    judge_object: float
    judge_place: float
    judge_hat: float
    judge_colour: float
    samples: int
    sampling_steps: int
    guidance: float
    object: float
    place: float
    hat: float
    sphere_colour: float
    together: float


def _compose_fresh(job: tuple[int, int, Settings]) -> tuple[np.ndarray, list[Scene]]:
    """Pictures of the fresh seed, none of them a config's prompt."""
    first, last, settings = job
    composer = Composer(settings.emoji, settings.size_px)
    made = [compose(k, FRESH_SEED, composer, 0.0) for k in range(first, last)]
    return np.stack([picture for picture, _, _ in made]), [scene for _, _, scene in made]


def fresh_scenes(count: int, settings: Settings) -> tuple[np.ndarray, list[Scene]]:
    """Pictures that no training has seen, and what they show."""
    workers = os.cpu_count() or 1
    edges = np.linspace(0, count, workers + 1).astype(int).tolist()
    with multiprocessing.Pool(workers) as pool:
        parts = pool.map(_compose_fresh, [(a, b, settings) for a, b in itertools.pairwise(edges)])
    return np.concatenate([p for p, _ in parts]), [scene for _, scenes in parts for scene in scenes]


@torch.no_grad()
def measure_psnr(vae: AutoencoderKL, pictures: np.ndarray) -> float:
    """The mean PSNR in dB of pictures through the VAE and back, as uint8."""
    values = []
    for part in np.array_split(pictures, -(-len(pictures) // 16)):
        made = vae.decode(vae.encode(to_tensor(part).to(vae.device)).latent_dist.mode()).sample
        made = ((made / 2 + 0.5).clamp(0, 1) * 255).round().cpu().permute(0, 2, 3, 1).numpy()
        error = np.square(made - part.astype(np.float32)).mean((1, 2, 3))
        values.append(10 * np.log10(255**2 / np.maximum(error, 1e-9)))
    return float(np.concatenate(values).mean())


def get_judge(settings: Settings, epochs: int) -> Judge:
    """The judge, trained on the training pictures or read from the working folder."""
    path = settings.work / "judge.pt"
    judge = Judge()
    if path.exists():
        judge.load_state_dict(torch.load(path))
        return judge
    pictures = load_pictures(settings)
    scenes = [
        captioned(np.random.default_rng((settings.seed, k)), settings.config_share)[0]
        for k in range(len(pictures))
    ]
    judge = train_judge(pictures, scenes, epochs, settings.seed)
    torch.save(judge.state_dict(), path)
    return judge


def draw_captions(count: int) -> tuple[list[Scene], list[str]]:
    """Scenes at random and a caption for each."""
    drawn = [np.random.default_rng((CAPTION_SEED, k)) for k in range(count)]
    scenes = [draw_scene(rng) for rng in drawn]
    return scenes, [describe(scene, rng) for scene, rng in zip(scenes, drawn, strict=True)]


def evaluate(
    settings: Settings, samples: int, fresh: int, guidance: float, steps: int, epochs: int
) -> Figures:
    """All the figures, and a sheet of samples in the working folder."""
    pipeline = load_pipeline(settings)
    pictures, scenes = fresh_scenes(fresh, settings)
    psnr = measure_psnr(pipeline.vae, pictures[:256])
    print(f"PSNR {psnr:.2f} dB", flush=True)
    judge = get_judge(settings, epochs)
    seen, truth = judge.judge(pictures), labels_of(scenes)
    real = {head: 100 * seen.agrees(truth, head).float().mean().item() for head in HEADS}
    print("judge on real scenes", real, flush=True)
    wanted, captions = draw_captions(samples)
    made = sample(pipeline, captions, list(range(samples)), guidance, steps)
    lay_out(made[: samples // 10 * 10][:200], 10).save(settings.work / "samples.png")
    seen, truth = judge.judge(made), labels_of(wanted)
    right = {head: seen.agrees(truth, head) for head in HEADS}
    # A caption that names no place is right on any.
    named = torch.tensor(
        [s.place != "plain" or " on " in c for s, c in zip(wanted, captions, strict=True)]
    )
    spheres = torch.tensor([bool(scene.sphere_colour) for scene in wanted])
    together = right["object"] & (right["place"] | ~named) & right["hat"]
    _print_worst(wanted, right["object"])
    return Figures(
        training_step=torch.load(settings.work / "diffusion.pt", map_location="cpu")["step"],
        fresh_scenes=min(fresh, 256),
        psnr_db=psnr,
        **{f"judge_{head}": share for head, share in real.items()},
        samples=samples,
        sampling_steps=steps,
        guidance=guidance,
        object=_percent(right["object"]),
        place=_percent(right["place"][named]),
        hat=_percent(right["hat"]),
        sphere_colour=_percent(right["colour"][spheres]),
        together=_percent(together),
    )


def _percent(right: torch.Tensor) -> float:
    """The share of True."""
    return 100 * right.float().mean().item()


def _print_worst(scenes: list[Scene], right: torch.Tensor) -> None:
    """The objects that are missed most."""
    missed: dict[str, int] = {}
    for scene, hit in zip(scenes, right.tolist(), strict=True):
        missed[scene.subject] = missed.get(scene.subject, 0) + (not hit)
    print("missed most", sorted(missed.items(), key=lambda item: -item[1])[:12], flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--fresh", type=int, default=1000)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--card", action="store_true", help="write README.md into the model folder")
    settings, asked = parse_settings(parser)
    figures = evaluate(
        settings, asked.samples, asked.fresh, asked.guidance, asked.steps, asked.epochs
    )
    print(json.dumps(asdict(figures), indent=2))
    if asked.card:
        card = (HERE / "card.md").read_text().format(**asdict(figures))
        (settings.model / "README.md").write_text(card)
