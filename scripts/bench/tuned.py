"""The same pipeline as `usual`, tuned: channels_last, torch.compile, decoding after the loop.

On CUDA it compiles as diffusers advises for speed: kernels are tried out, and replayed as graphs.
"""

from typing import Any

import numpy as np
import torch
import usual
from clock import Clock
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from task import PROMPT, Frames, Task

BATCH = 8


def load(task: Task) -> StableDiffusionPipeline:
    """Load the pipeline; the first job compiles."""
    pipeline = usual.load(task)
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    options = {"mode": "max-autotune", "fullgraph": True} if task.device.type == "cuda" else {}
    pipeline.unet.compile(**options)
    pipeline.vae.decoder.compile(**options)
    return pipeline


@torch.no_grad()
def job(pipeline: StableDiffusionPipeline, task: Task, clock: Clock) -> Frames:
    """Sample and show every step; return what gives the frames, uint8 (frames, H, W, 3)."""
    with clock.stage("text"):
        embeddings = pipeline.encode_prompt(PROMPT, task.device, 1, True)
    z = task.noise().to(task.device, task.dtype)
    latents = [z]

    def on_step(pipe: Any, step: int, timestep: int, values: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - diffusers' signature
        latents.append(values["latents"].clone())
        return values

    usual.walk(pipeline, task, clock, z, embeddings, on_step)
    with clock.stage("decode"):
        frames: list[NDArray[np.uint8]] = []
        for batch in torch.cat(latents).split(BATCH):
            images = pipeline.vae.decode(batch / pipeline.vae.config.scaling_factor).sample
            levels = ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
            frames.extend(levels.permute(0, 2, 3, 1).cpu().numpy())
    return usual.show(frames, task, clock)
