"""GIFs of a run: imageio's default writer against its plugin "sdloop".

python scripts/bench/gif.py [FOLDER] [--rounds 5]

FOLDER is a run's, written with export.png_frames=true. Without it the bundled model makes one of
51 steps at 512 px, which takes some minutes first.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import machine
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from sdloop.show.difference import difference_maps, viridis
from sdloop.show.film.gif import NAME
from sdloop.show.film.palette import IndexedFrame

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "results/gif.json"
RUN = ("height=512", "width=512", "export.png_frames=true")
DELAY_MS = 100


def make_run(folder: Path) -> None:
    """Let the bundled model make a run."""
    command = [sys.executable, "-m", "sdloop.run", ROOT / "configs/astronaut.yaml"]
    subprocess.run([*command, f"output={folder}", *RUN], cwd=ROOT, check=True)


def read_frames(folder: Path) -> NDArray[np.uint8]:
    """Return a run's frames, uint8 (frames, H, W, 3)."""
    return np.stack([iio.imread(path) for path in sorted((folder / "frames").glob("*.png"))])


def read_gif(path: Path) -> NDArray[np.uint8]:
    """Return every frame of a GIF as a viewer shows it."""
    with Image.open(path) as animation:
        frames = [np.asarray(entry.convert("RGB")) for entry in ImageSequence.Iterator(animation)]
    return np.stack(frames)


def mean_psnr_db(path: Path, frames: NDArray[np.uint8]) -> float:
    """Return the mean over the frames of their peak signal-to-noise ratios."""
    errors = np.square(read_gif(path).astype(np.float32) - frames).mean(axis=(1, 2, 3))
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-10))))


def compare(
    pictures: NDArray[np.uint8], ways: dict[str, Callable[[], object]], folder: Path, rounds: int
) -> dict[str, Any]:
    """Write the same pictures in several ways in turn; time, closeness and size of each."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, write in ways.items():
            start = time.perf_counter()
            write()
            times[name].append(time.perf_counter() - start)
    facts: dict[str, Any] = {}
    for name in ways:
        path = folder / f"{name}.gif"
        facts[name] = {
            "seconds": statistics.median(times[name]),
            "bytes": path.stat().st_size,
            "mean_psnr_db": mean_psnr_db(path, pictures),
            "pixel_exact": bool((read_gif(path) == pictures).all()),
        }
    pairs = zip(times["usual"], times["ours"], strict=True)
    facts["times_faster"] = statistics.median(usual / ours for usual, ours in pairs)
    return facts


def main() -> None:
    """Compare the frames and the difference maps; print the figures, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": machine.facts()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.folder is None:
            make_run(folder / "run")
        images = read_frames(arguments.folder or folder / "run")
        maps = difference_maps(images)
        frames, colored = images[1:], maps.rgb  # the first two may be equal, and would be merged
        indexed = [IndexedFrame(indices, viridis()) for indices in maps.indices]
        for kind, pictures, ours in (
            ("frames", frames, frames),
            ("difference", colored, indexed),
        ):
            usual_gif, our_gif = folder / "usual.gif", folder / "ours.gif"
            ways = {
                "usual": partial(iio.imwrite, usual_gif, pictures, duration=DELAY_MS, loop=0),
                "ours": partial(iio.imwrite, our_gif, ours, plugin=NAME, duration=DELAY_MS),
            }
            facts = result[kind] = compare(pictures, ways, folder, arguments.rounds)
            gain = facts["ours"]["mean_psnr_db"] - facts["usual"]["mean_psnr_db"]
            size = facts["ours"]["bytes"] / facts["usual"]["bytes"]
            print(
                f"{kind:<11} {facts['usual']['seconds']:.2f} -> {facts['ours']['seconds']:.3f} s, "
                f"{facts['times_faster']:.1f}x; {gain:+.2f} dB; size {size:.3f}; "
                f"exact {facts['ours']['pixel_exact']}"
            )
    if arguments.folder is None:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
