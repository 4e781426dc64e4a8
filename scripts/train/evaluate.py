"""Measure a model folder: choice, truth, cleanness, unseen combinations, VAE.

    python -m scripts.train.evaluate MODEL [--name 200k] [--samples-seen 200000]

writes WORK/figures/NAME.json and a sheet of samples beside it. The judges are trained on the first
call and kept, so that all models are judged alike; without MODEL they are only trained. `--table`
prints all figures so far.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np
import torch

from .autoencoder import fresh_scenes, measure_psnr_db
from .judge import prompts
from .judge.cleanness import Standard
from .judge.judges import (
    get_standard,
    get_truth_judge,
    percent,
    validate_standard,
    validate_truth_judge,
)
from .judge.truth import Judge
from .pictures import load_vae
from .report import print_table, write_card
from .sample import GUIDANCE, SAMPLERS, Model, lay_out, load_model, sample
from .scene.compose import Composer
from .scene.sprites import load_sprites
from .settings import Settings, add_settings, settings_of

SEEDS = 8
TRUTH_SCENES, TRUTH_EPOCHS = 32_000, 8
CLEAN_SCENES, CLEAN_EPOCHS = 8_000, 6


def diversity(pictures: np.ndarray) -> float:
    """The mean RMSE (0..255) between the pictures of each prompt, SEEDS in a row."""
    groups = pictures.reshape(-1, SEEDS, *pictures.shape[1:]).astype(np.float32)
    pairs = [
        np.sqrt(np.square(a - b).mean())
        for group in groups
        for a, b in itertools.combinations(group, 2)
    ]
    return float(np.mean(pairs))


def spread(middles: np.ndarray) -> float:
    """How far middles (prompts * SEEDS, 2) lie apart within each prompt: standard deviation."""
    return float(np.sqrt(middles.reshape(-1, SEEDS, 2).var(1, ddof=1).mean()))


def measure_choice(
    model: Model, composer: Composer, judge: Judge, count: int, sampler: str
) -> dict[str, float]:
    """How much seeds differ, beside composed scenes of the same captions."""
    asked = prompts.ask_choice(count, SEEDS)
    made = sample(model, asked.captions, asked.seeds, sampler=sampler)
    data, _ = prompts.compose_asked(composer, asked)
    free = np.array([len(s.items) == 1 and not s.side and not s.portrait for s in asked.scenes])
    spreads = [
        spread(judge.judge(pictures[free]).where[:, :2].numpy()) for pictures in (made, data)
    ]
    rmse, data_rmse = diversity(made), diversity(data)
    return {
        "choice_rmse": rmse,
        "choice_rmse_data": data_rmse,
        "choice_share": 100 * rmse / data_rmse,
        "spread": spreads[0],
        "spread_data": spreads[1],
        "spread_share": 100 * spreads[0] / spreads[1],
    }


def measure_truth(
    model: Model, judge: Judge, standard: Standard, count: int, sampler: str
) -> tuple[dict[str, float], np.ndarray]:
    """How often samples show what was asked, cleanly; and the samples of all kinds."""
    figures = {}
    anything = prompts.ask_anything(count)
    made = sample(model, anything.captions, anything.seeds, sampler=sampler)
    seen = judge.judge(made)
    figures["object"] = percent(seen.shows(anything.scenes))
    figures["place"] = percent(seen.stands_at(anything.scenes))
    figures["clean"] = percent(torch.from_numpy(standard.accepts(made)))
    hats = prompts.ask_hats(count // 2)
    seen = judge.judge(sample(model, hats.captions, hats.seeds, sampler=sampler))
    figures["hat"] = percent(seen.wears(hats.scenes))
    pairs = prompts.ask_pairs(count // 2)
    seen = judge.judge(sample(model, pairs.captions, pairs.seeds, sampler=sampler))
    figures["pair"] = percent(seen.shows(pairs.scenes))
    sides = prompts.ask_sides(count // 2)
    seen = judge.judge(sample(model, sides.captions, sides.seeds, sampler=sampler))
    figures["side"] = percent(seen.keeps_side(sides.scenes))
    unseen = prompts.ask_unseen(count)
    seen = judge.judge(sample(model, unseen.captions, unseen.seeds, sampler=sampler))
    figures["unseen"] = percent(seen.shows(unseen.scenes) & seen.stands_at(unseen.scenes))
    return figures, made


def prepare_judges(
    settings: Settings, composer: Composer
) -> tuple[Judge, Standard, dict[str, float]]:
    """Both judges, trained if they are not there yet, and how far they can be trusted."""
    judge = get_truth_judge(settings, composer, count=TRUTH_SCENES, epochs=TRUTH_EPOCHS)
    figures = validate_truth_judge(judge, composer)
    print(json.dumps(figures, indent=1), flush=True)
    standard = get_standard(settings, composer, count=CLEAN_SCENES, epochs=CLEAN_EPOCHS)
    figures |= validate_standard(standard, settings, composer)
    print(json.dumps(figures, indent=1), flush=True)
    return judge, standard, figures


def evaluate(
    settings: Settings, folder: Path, *, count: int, choice_prompts: int, sampler: str
) -> tuple[dict[str, float], np.ndarray]:
    """All figures of a model folder, and samples of random captions.

    Args:
        settings: where judges and sprites lie.
        folder: the model.
        count: captions of random scenes, and of unseen ones; half as many of hats, pairs and sides.
        choice_prompts: prompts whose seeds are compared.
        sampler: a key of sample.SAMPLERS.
    """
    composer = Composer(load_sprites(settings.sprites))
    judge, standard, figures = prepare_judges(settings, composer)
    vae = load_vae(folder / "vae", settings.machine)
    figures["vae_psnr_db"] = measure_psnr_db(vae, fresh_scenes(composer), settings)
    model = load_model(folder, settings.machine)
    figures |= measure_choice(model, composer, judge, choice_prompts, sampler)
    truth, made = measure_truth(model, judge, standard, count, sampler)
    return figures | truth, made


def main() -> None:
    """Evaluate as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_settings(parser)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--name", help="of the figures' file")
    parser.add_argument("--samples-seen", type=int, help="to note in it")
    parser.add_argument("--count", type=int, default=300, help="random captions")
    parser.add_argument("--choice-prompts", type=int, default=40)
    parser.add_argument("--sampler", choices=tuple(SAMPLERS), default="ddim")
    parser.add_argument("--card", action="store_true", help="write MODEL/README.md")
    parser.add_argument("--table", action="store_true", help="print all figures so far")
    asked = parser.parse_args()
    if asked.card and asked.samples_seen is None:
        parser.error("--card needs --samples-seen")
    settings = settings_of(asked)
    folder = settings.work / "figures"
    folder.mkdir(exist_ok=True)
    if asked.model:
        figures, made = evaluate(
            settings,
            asked.model,
            count=asked.count,
            choice_prompts=asked.choice_prompts,
            sampler=asked.sampler,
        )
        name = asked.name or asked.model.name
        facts = {
            "samples_seen": asked.samples_seen,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "sampler": f"{asked.sampler.upper()} of {SAMPLERS[asked.sampler][1]} steps",
            "guidance": GUIDANCE,
            "captions": asked.count,
        }
        (folder / f"{name}.json").write_text(json.dumps(facts | figures, indent=1) + "\n")
        lay_out(made[: len(made) // 10 * 10][:200], 10).save(folder / f"{name}.png")
        print(json.dumps(facts | figures, indent=1))
        if asked.card:
            write_card(facts | figures, asked.model)
    elif not asked.table:
        prepare_judges(settings, Composer(load_sprites(settings.sprites)))
    if asked.table:
        print_table(folder)


if __name__ == "__main__":
    main()
