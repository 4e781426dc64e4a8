"""Until when a new word still changes the picture: forks of a run at every second step.

    python scripts/last_word.py [SWEEP] [key=value ...] [--out scripts/results/last_word]

The runs of last_word.yaml are made as a sweep, in pairs of prompts with equal seeds. From every
second frame of each pair's first run, a fork goes on with the second run's prompt, as
`python -m sdloop.run --from RUN --at FRAME prompt=...` does. Its last picture is held against those
of both runs.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from steps_matter import reduce_colors
from sweeps import run_sweep
from torch import Tensor

import sdloop
from sdloop.job.config import RunConfig
from sdloop.job.engine import Engine
from sdloop.job.folder import TRAJECTORY_FILE
from sdloop.job.plan import Plan, prepare, settle
from sdloop.job.sample import draw
from sdloop.job.start import Fork
from sdloop.job.texts import encode
from sdloop.machine.files import replacing

ROOT = Path(__file__).parents[1]
EVERY = 2  # frames from one fork to the next
DISTANCE = "RMS of the difference between the last pictures, in levels of 255"


@dataclass(frozen=True)
class Forked:
    """A run, its forks to another prompt, and that prompt's own run from noise.

    Attributes:
        prompts: The run's, and the other one.
        frames: Where the forks start; the last is the run's own last frame, which is no fork.
        pictures: uint8 (frames, H, W, 3), the last picture of each.
        to_old: (frames,), DISTANCE to the run's last picture.
        to_new: (frames,), DISTANCE to the other prompt's own.
    """

    prompts: tuple[str, str]
    frames: list[int]
    pictures: NDArray[np.uint8]
    to_old: list[float]
    to_new: list[float]

    @property
    def last_word(self) -> int:
        """Return the last frame up to which every fork ends nearer the new picture."""
        pairs = zip(self.frames, self.to_old, self.to_new, strict=True)
        nearer = takewhile(lambda one: one[1] > one[2], pairs)
        return max((frame for frame, _, _ in nearer), default=0)


def fork_of(plan: Plan, frame: int, prompt: str) -> Plan:
    """Plan a run that starts at a frame of a run, with another prompt."""
    values = plan.config.model_dump() | {
        "prompt": prompt,
        "start": {"run": str(plan.folder), "frame": frame, "trajectory_sha256": None},
        "output": f"{plan.folder}-at-{frame}",  # where nothing is written
    }
    return settle(prepare(RunConfig.model_validate(values), plan.source))


def last_latent(plan: Plan, engine: Engine) -> Tensor:
    """Walk a fork to its end.

    Args:
        plan: The fork's.
        engine: The loaded networks.

    Returns:
        (1, channels, h, w), its last frame.
    """
    fork = Fork.open(plan)
    _, noise = draw(plan, [plan.config.seed], engine.device)
    steps = engine.walk(
        plan.table,
        fork.z.to(engine.device),
        encode(plan, engine),
        plan.config.guidance_scale,
        noise,
        guidance_rescale=plan.config.guidance_rescale,
        earlier=fork.earlier(plan, engine.device),
    )
    with torch.inference_mode():
        (last,) = deque(steps, maxlen=1)
    return last.z.cpu()


def forks_of(old: Plan, new: Plan, engine: Engine) -> Forked:
    """Fork a finished run at every second frame to another one's prompt.

    Args:
        old: The run's plan.
        new: The plan of the other prompt's own run, which is finished too.
        engine: The loaded networks.

    Returns:
        The last pictures of all forks and their distances to those of both runs.
    """
    rows = len(old.table)
    frames = list(range(0, rows, EVERY))
    prompt = new.config.prompt
    ends = [last_latent(fork_of(old, frame, prompt), engine) for frame in frames]
    own = [
        sdloop.Trajectory.load(plan.folder / TRAJECTORY_FILE).latents[-1:] for plan in (old, new)
    ]
    latents = torch.cat([*ends, *own])
    pictures = sdloop.decode_latents(engine.models.vae, latents).cpu().numpy()
    *_, old_picture, new_picture = pictures
    shown = pictures[:-1]
    return Forked(
        (old.config.prompt, prompt),
        [*frames, rows],
        shown,
        distances(shown, old_picture),
        distances(shown, new_picture),
    )


def distances(pictures: NDArray[np.uint8], to: NDArray[np.uint8]) -> list[float]:
    """Return DISTANCE of each picture to one."""
    off = pictures.astype(np.float64) - to
    return np.sqrt(np.square(off).mean(axis=(1, 2, 3))).tolist()


def facts_of(all_forked: Sequence[Forked]) -> dict[str, Any]:
    """Put everything but the pictures into plain values."""
    return {
        "command": "python scripts/last_word.py",
        "distance": DISTANCE,
        "pairs": [
            {
                "prompts": list(one.prompts),
                "last_word": one.last_word,
                "frames": one.frames,
                "to_old": [float(f"{off:.4g}") for off in one.to_old],
                "to_new": [float(f"{off:.4g}") for off in one.to_new],
            }
            for one in all_forked
        ],
    }


def main() -> None:
    """Make the runs and their forks, draw, and keep the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "scripts/results/last_word")
    options = parser.parse_args()
    _, plans = run_sweep(options.sweep, config=Path(__file__).with_suffix(".yaml"))
    engine = Engine.start(plans[0])
    all_forked = []
    for old, new in zip(plans[::2], plans[1::2], strict=True):
        all_forked.append(forks_of(old, new, engine))
        print(f"{old.config.prompt} -> {new.config.prompt}: {all_forked[-1].last_word}", flush=True)
    with replacing(options.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts_of(all_forked), indent=2) + "\n", encoding="utf-8")
    from last_word_figure import write_figure  # needs matplotlib

    write_figure(options.out.with_suffix(".png"), all_forked)
    reduce_colors(options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
