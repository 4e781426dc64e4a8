"""Whether k of 50 steps are what a run of k steps is: one sheet of both, with their distances.

    python scripts/steps_matter.py [CONFIG] [key=value ...] [--out scripts/results/steps_matter]

DDIM and DPM++ 2M run with 5, 10, 20 and 50 steps, as a sweep in runs/steps_matter, which carries on
where it was interrupted. A run of k steps is held against the run of 50 steps after its k-th: the
frame there, which is still noisy, and `z0_hat` of that step, which one sees on stopping there.
The times are as in scripts/samplers.py, and both samplers end without noise.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sweeps import run_sweep
from torch import Tensor

import sdloop
from sdloop.job.folder import TRAJECTORY_FILE
from sdloop.machine.files import replacing
from sdloop.show.figure.sheet import Side, write_sheet

ROOT = Path(__file__).parents[1]
STEPS = (5, 10, 20, 50)  # the last is the run that is stopped
SAMPLERS = {"ddim": "DDIM", "dpm++_2m_karras": "DPM++ 2M"}  # name -> label
TOLD = 10  # steps, of which the heading tells
KINDS = ("short_run", "z0_hat", "frame")
DISTANCE = "RMS of the latent's difference to the last latent of 50 steps, over that one's RMS"


@dataclass(frozen=True)
class Stop:
    """A run of few steps, and a long run stopped after as many.

    Attributes:
        latents: float32 (3, channels, h, w), in the order of KINDS: the short run's last frame;
            the long run's `z0_hat` after as many steps, and its frame there.
        distances: Of each to the long run's last frame, relative.
        as_near: After how many steps the long run's `z0_hat` is, and stays, as near as the short
            run's last frame; None if it never is.
    """

    latents: Tensor
    distances: tuple[float, ...]
    as_near: int | None


def compare(short: sdloop.Trajectory, long: sdloop.Trajectory) -> Stop:
    """Hold a run against a longer one, or itself, stopped after as many calls of the network.

    Args:
        short: The run of few steps.
        long: From the same noise.

    Returns:
        The latents to look at, and how far off they are.
    """
    calls, last = len(short.z0_hat), long.latents[-1]
    latents = torch.stack([short.latents[-1], long.z0_hat[calls - 1], long.latents[calls]])
    distances = tuple(distances_to(last, latents))
    on_the_way = distances_to(last, long.z0_hat)
    farther = [steps for steps, off in enumerate(on_the_way, 1) if off > distances[0]]
    as_near = max(farther, default=0) + 1
    return Stop(latents, distances, as_near if as_near <= len(on_the_way) else None)


def distances_to(last: Tensor, latents: Tensor) -> list[float]:
    """Return the RMS of each latent's difference to `last`, over the RMS of `last`."""
    off = (latents.double() - last.double()).square().flatten(1).mean(1).sqrt()
    return (off / last.double().square().mean().sqrt()).tolist()


def sweep_overrides() -> list[str]:
    """Say which runs are made."""
    return [
        f"zip.scheduler.type={json.dumps(list(SAMPLERS))}",
        'zip.scheduler.timestep_spacing=["trailing", "linspace"]',
        "zip.scheduler.set_alpha_to_one=[true, null]",
        f"sweep.scheduler.num_steps={list(STEPS)}",
        "dtype=float32",
        "keep=[trajectory]",
        "export.stages=null",
        "output=runs/steps_matter",
    ]


def facts_of(stops: dict[str, list[Stop]]) -> dict[str, Any]:
    """Put the distances of every sampler's stops into plain values."""
    return {
        name: {
            str(steps): {
                **{
                    kind: float(f"{off:.4g}")
                    for kind, off in zip(KINDS, stop.distances, strict=True)
                },
                "z0_hat_as_near_after_steps": stop.as_near,
            }
            for steps, stop in zip(STEPS, line, strict=True)
        }
        for name, line in stops.items()
    }


def heading_of(stops: dict[str, list[Stop]]) -> str:
    """Say what the sheet shows, in figures."""
    column = STEPS.index(TOLD)
    ends = [f"{line[column].as_near} ({SAMPLERS[name]})" for name, line in stops.items()]
    return (
        f"k of {STEPS[-1]} steps is not a run of k: {TOLD} steps come as near the last of "
        f"{STEPS[-1]} as z0_hat does after {' or '.join(ends)}"
    )


def draw(path: Path, stops: dict[str, list[Stop]], pictures: NDArray[np.uint8]) -> None:
    """Draw the sheet: a row for each of KINDS, the samplers' columns side by side.

    Args:
        path: The PNG file.
        stops: By sampler, one for each number of steps.
        pictures: uint8 (columns, 3, H, W, 3), of the latents of all `stops`.
    """
    whole = STEPS[-1]
    rows = ("a run of k steps: its picture", f"{whole} steps, stopped after k: z0_hat",
            f"{whole} steps, stopped after k: frame")  # fmt: skip
    columns = [f"{SAMPLERS[name]}, {steps}" for name in stops for steps in STEPS]
    cells = [list(pictures[:, kind]) for kind in range(len(KINDS))]
    captions = [
        [f"{stop.distances[kind]:.3f}" for line in stops.values() for stop in line]
        for kind in range(len(KINDS))
    ]
    beside = Side(f"sampler, k; below each picture: {DISTANCE}", tuple(columns))
    write_sheet(path, cells, heading_of(stops), Side("", rows), beside, captions=captions)


def reduce_colors(path: Path) -> None:
    """Write a PNG again with a palette of 256 colours, dithered, for a small file."""
    with Image.open(path) as full:
        picture = full.convert("RGB")
    palette = Image.new("P", (1, 1))
    palette.putpalette(sdloop.quantize(np.asarray(picture)).palette.tobytes())
    with replacing(path) as temporary, temporary.open("wb") as file:
        picture.quantize(palette=palette).save(file, format="png", optimize=True)


def main() -> None:
    """Make the runs, compare, draw, and keep the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "scripts/results/steps_matter")
    options = parser.parse_args()
    _, plans = run_sweep(options.config, sweep_overrides())
    # the samplers of the first number of steps come first
    runs = [sdloop.Trajectory.load(plan.folder / TRAJECTORY_FILE) for plan in plans]
    stops = {
        name: [compare(run, runs[number - len(SAMPLERS)]) for run in runs[number :: len(SAMPLERS)]]
        for number, name in enumerate(SAMPLERS)
    }
    models = sdloop.load(plans[0].source, plans[0].device, plans[0].dtype)
    latents = torch.cat([stop.latents for line in stops.values() for stop in line])
    decoded = sdloop.decode_latents(models.vae, latents).cpu().numpy()
    pictures = decoded.reshape(-1, len(KINDS), *decoded.shape[1:])
    first = plans[0].config
    facts = {
        "command": "python scripts/steps_matter.py",
        "prompt": first.prompt,
        "seed": first.seed,
        "guidance_scale": first.guidance_scale,
        "distance": DISTANCE,
        "samplers": facts_of(stops),
    }
    with replacing(options.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    draw(options.out.with_suffix(".png"), stops, pictures)
    reduce_colors(options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
