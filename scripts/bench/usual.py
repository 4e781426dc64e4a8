"""What a user of diffusers writes today: decode in the callback, NumPy, matplotlib, imageio.

python scripts/bench/usual.py MODEL FOLDER [--size 128] [--steps 50]
"""

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from clock import Clock
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from task import DELAY_MS, GUIDANCE_SCALE, PROMPT, Frames, Task, shown_stages


def load(task: Task) -> StableDiffusionPipeline:
    """Load the pipeline."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        task.model, torch_dtype=task.dtype, safety_checker=None
    ).to(task.device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def job(pipeline: StableDiffusionPipeline, task: Task, clock: Clock) -> Frames:
    """Sample and show every step; return what gives the frames, uint8 (frames, H, W, 3)."""
    frames: list[NDArray[np.uint8]] = []

    def decode(latents: torch.Tensor) -> None:
        image = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
        image = pipeline.image_processor.postprocess(image, output_type="np")[0]
        frames.append((image * 255).round().astype(np.uint8))

    def on_step(pipe: Any, step: int, timestep: int, values: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - diffusers' signature
        with clock.stage("decode"):
            decode(values["latents"])
        return values

    with clock.stage("text"):
        embeddings = pipeline.encode_prompt(PROMPT, task.device, 1, True)
    z = task.noise().to(task.device, task.dtype)
    with clock.stage("decode"):
        decode(z)
    walk(pipeline, task, clock, z, embeddings, on_step)
    return show(frames, task, clock)


def walk(
    pipeline: StableDiffusionPipeline,
    task: Task,
    clock: Clock,
    z: torch.Tensor,
    embeddings: tuple[torch.Tensor, torch.Tensor],
    on_step: Callable[..., dict[str, Any]],
) -> None:
    """Take all steps from z, with the embeddings of the prompt and of the empty one."""
    cond, uncond = embeddings
    with clock.stage("steps"):
        pipeline(
            prompt_embeds=cond,
            negative_prompt_embeds=uncond,
            latents=z,
            num_inference_steps=task.num_steps,
            guidance_scale=GUIDANCE_SCALE,
            callback_on_step_end=on_step,
            output_type="latent",
        )


def show(frames: list[NDArray[np.uint8]], task: Task, clock: Clock) -> Frames:
    """Make difference maps, GIFs and a strip; return what gives the frames."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with clock.stage("differences"):
        viridis = matplotlib.colormaps["viridis"]
        maps = []
        for before, after in pairwise(frames):
            difference = np.abs(after.astype(float) - before.astype(float)).mean(axis=-1)
            maps.append((viridis(difference / difference.max())[..., :3] * 255).astype(np.uint8))
    with clock.stage("GIFs"):
        pairs = [np.hstack(pair) for pair in zip(frames[1:], maps, strict=True)]
        names = ("frames", "difference", "evolution")
        for name, pictures in zip(names, (frames, maps, pairs), strict=True):
            large = [np.repeat(np.repeat(p, task.scale, 0), task.scale, 1) for p in pictures]
            path = task.folder / f"{name}.gif"
            iio.imwrite(path, large, duration=DELAY_MS, loop=0)
    with clock.stage("strip"):
        stages = shown_stages(len(maps))
        side = task.size_px * task.scale / 100
        figure, axes = pyplot.subplots(2, len(stages), figsize=(len(stages) * side, 2 * side))
        for stage, (top, bottom) in zip(stages, axes.T, strict=True):
            top.imshow(frames[stage + 1])
            bottom.imshow(maps[stage])
            top.set_title(f"step {stage}")
            top.axis("off")
            bottom.axis("off")
        figure.savefig(task.folder / "strip.png", dpi=100)
        pyplot.close(figure)
    return lambda: np.stack(frames)


def main() -> None:
    """Do one job, from the shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = Task(asked.model, asked.folder, asked.size, asked.steps, device)
    asked.folder.mkdir(parents=True, exist_ok=True)
    job(load(task), task, Clock(device))


if __name__ == "__main__":
    main()
