"""GIFs of 51 frames at 512 px against imageio's defaults: time, closeness, size.

python scripts/bench/gif.py [--rounds 5]

The frames are those of a run of the bundled model at 512 px, which takes about a minute first.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import machine
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from sdloop.job.sample import denoise
from sdloop.machine.threads import in_threads
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.model.text import encode_prompts
from sdloop.model.vae import decode_latents
from sdloop.sampler.loop import initial_noise
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.show.difference import difference_maps, to_numpy, viridis
from sdloop.show.film.gif import hold_last, write_gif
from sdloop.show.film.palette import IndexedFrame, quantize

RESULT = Path(__file__).parent / "results/gif.json"
PROMPT = "an astronaut relaxing on a tropical island"
FRAMES, SIDE, DELAY_MS = 51, 64, 100


def sampled_frames() -> NDArray[np.uint8]:
    """Sample at 512 px; uint8 (52, 512, 512, 3), the noise first."""
    source = find("bundled")
    models = load(source, torch.device("cpu"), torch.float32)
    schedule = make_table(read_settings(source.scheduler), 50)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, [PROMPT], [""])
    noise = initial_noise([0], 4, SIDE, SIDE)
    denoised = denoise(models.unet, schedule, noise, embeddings, 3.5)
    return to_numpy(decode_latents(models.vae, denoised.latents[:, 0], batch_size=4))


def read_gif(path: Path) -> NDArray[np.uint8]:
    """Return every frame of a GIF as a viewer shows it."""
    with Image.open(path) as animation:
        frames = [np.asarray(entry.convert("RGB")) for entry in ImageSequence.Iterator(animation)]
    return np.stack(frames)


def mean_psnr_db(path: Path, frames: NDArray[np.uint8]) -> float:
    """Return the mean over the frames of their peak signal-to-noise ratios."""
    errors = np.square(read_gif(path).astype(np.float32) - frames).mean(axis=(1, 2, 3))
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-10))))


def main() -> None:
    """Time both ways in turn, print medians and ratios, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    images = sampled_frames()
    frames, maps = images[-FRAMES:], difference_maps(images)
    rgb = maps.rgb
    delays = hold_last(FRAMES, DELAY_MS, DELAY_MS)
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: Path(scratch) / f"{name}.gif" for name in ("usual", "ours")}
        ways: dict[str, dict[str, Callable[[], None]]] = {
            "frames": {
                "usual": lambda: iio.imwrite(paths["usual"], frames, duration=DELAY_MS, loop=0),
                "ours": lambda: write_gif(paths["ours"], in_threads(quantize, frames), delays),
            },
            "difference": {
                "usual": lambda: iio.imwrite(paths["usual"], rgb, duration=DELAY_MS, loop=0),
                "ours": lambda: write_gif(
                    paths["ours"],
                    (IndexedFrame(indices, viridis()) for indices in maps.indices),
                    delays,
                ),
            },
        }
        result: dict[str, Any] = {"machine": machine.facts()}
        for picture, (kind, contestants) in zip((frames, rgb), ways.items(), strict=True):
            times: dict[str, list[float]] = {name: [] for name in contestants}
            for _ in range(rounds):
                for name, write in contestants.items():
                    start = time.perf_counter()
                    write()
                    times[name].append(time.perf_counter() - start)
            facts = {
                name: {
                    "seconds": statistics.median(times[name]),
                    "bytes": paths[name].stat().st_size,
                    "mean_psnr_db": mean_psnr_db(paths[name], picture),
                    "pixel_exact": bool((read_gif(paths[name]) == picture).all()),
                }
                for name in contestants
            }
            result[kind] = facts
            ratio = statistics.median(
                usual / ours for usual, ours in zip(*times.values(), strict=True)
            )
            result[kind]["times_faster"] = ratio
            gain = facts["ours"]["mean_psnr_db"] - facts["usual"]["mean_psnr_db"]
            size = facts["ours"]["bytes"] / facts["usual"]["bytes"]
            print(
                f"{kind:<11} {facts['usual']['seconds']:.2f} -> {facts['ours']['seconds']:.3f} s, "
                f"{ratio:.1f}x; {gain:+.2f} dB; size {size:.3f}; "
                f"exact {facts['ours']['pixel_exact']}"
            )
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
