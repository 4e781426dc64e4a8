"""The training pictures, composed once by every core and kept in one file.

python -m scripts.train.dataset
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os

import numpy as np

from .compose import Composer, compose
from .fetch import fetch_emoji
from .settings import Settings, parse_settings


def _compose_range(job: tuple[int, int, Settings]) -> tuple[np.ndarray, list[str]]:
    """Pictures first..last of the training seed, and their captions."""
    first, last, settings = job
    composer = Composer(settings.emoji, settings.size_px)
    made = [compose(k, settings.seed, composer, settings.config_share) for k in range(first, last)]
    return np.stack([picture for picture, _, _ in made]), [caption for _, caption, _ in made]


def build_dataset(settings: Settings) -> None:
    """Compose the training pictures into pictures.npy and captions.json, if they aren't there."""
    done = settings.work / "captions.json"
    if done.exists():
        return
    fetch_emoji(settings.emoji)
    count, size = settings.train_pictures, settings.size_px
    pictures = np.lib.format.open_memmap(
        settings.work / "pictures.npy", "w+", np.uint8, (count, size, size, 3)
    )
    jobs = [(k, min(k + 2000, count), settings) for k in range(0, count, 2000)]
    captions: list[str] = []
    with multiprocessing.Pool(min(len(jobs), os.cpu_count() or 1)) as pool:
        for (first, last, _), (made, said) in zip(
            jobs, pool.imap(_compose_range, jobs), strict=True
        ):
            pictures[first:last] = made
            captions += said
    pictures.flush()
    done.write_text(json.dumps(captions))


def load_pictures(settings: Settings) -> np.ndarray:
    """The training pictures, uint8 (count, size, size, 3), read as they are needed."""
    build_dataset(settings)
    return np.load(settings.work / "pictures.npy", mmap_mode="r")


def load_captions(settings: Settings) -> list[str]:
    """The captions beside the pictures."""
    build_dataset(settings)
    return json.loads((settings.work / "captions.json").read_text())


if __name__ == "__main__":
    build_dataset(parse_settings(argparse.ArgumentParser(description=__doc__))[0])
