"""sdloop's job: the very code of `python -m sdloop.run`, with its own clock."""

import json
from pathlib import Path

import numpy as np
import yaml
from clock import Clock
from numpy.typing import NDArray
from task import DELAY_MS, GUIDANCE_SCALE, PROMPT, Frames, Task, shown_stages

from sdloop.job.config_file import load_config
from sdloop.job.plan import prepare
from sdloop.job.runner import Runner
from sdloop.model.find import find
from sdloop.model.networks import load_vae
from sdloop.model.vae import decode_latents
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.difference import to_numpy

STAGE_NAMES = {"denoise": "steps", "difference": "differences", "animate": "GIFs"}


def write_config(task: Task) -> Path:
    """Write the run's config; return its path."""
    path = task.folder / "job.yaml"
    values = {
        "prompt": PROMPT,
        "seed": 0,
        "model": str(task.model),
        "height": task.size_px,
        "width": task.size_px,
        "guidance_scale": GUIDANCE_SCALE,
        "scheduler": {"type": "pndm", "num_steps": task.num_steps},
        "decode": {"z0_hat": "off"},  # pictures that the others do not make
        "export": {
            "scale": task.scale,
            "delay_ms": DELAY_MS,
            "hold_ms": DELAY_MS,
            "stages": shown_stages(task.num_steps + 1).tolist(),
        },
        "output": str(task.folder / "run"),
    }
    path.write_text(yaml.safe_dump(values))
    return path


def load(task: Task) -> Runner:
    """Make a runner; its first job loads the model."""
    return Runner(overwrite=True)


def job(runner: Runner, task: Task, clock: Clock) -> Frames:
    """Run the config; return what gives the frames, uint8 (frames, H, W, 3)."""
    config = load_config(write_config(task))
    with clock.stage("other"):
        folder = runner.run(prepare(config)).folder
        timings_ms = json.loads((folder / "manifest.json").read_text())["timings_ms"]
    for stage, taken_ms in timings_ms.items():
        name = STAGE_NAMES.get(stage, stage)
        clock.seconds[name] = clock.seconds.get(name, 0.0) + taken_ms / 1000
        clock.seconds["other"] -= taken_ms / 1000

    def frames() -> NDArray[np.uint8]:
        vae = load_vae(find(str(task.model)), task.device, task.dtype)
        return to_numpy(
            decode_latents(vae, Trajectory.load(folder / "trajectory.safetensors").latents)
        )

    return frames
