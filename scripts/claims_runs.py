"""Runs of many prompts and seeds on the bundled model, and what the claims need of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sdloop.job.sample import denoise
from sdloop.machine.device import choose_device
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.model.text import encode_prompts
from sdloop.model.vae import decode_latents
from sdloop.sampler.loop import initial_noise
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.show.difference import absolute_difference
from sdloop.show.measure.first_look import first_look
from sdloop.show.measure.layout import coarse, correlate, local_detail, luma, object_mask
from sdloop.show.measure.placement import measure_placement

GUIDANCE_SCALE = 3.5  # as in the shipped configs
BATCH = 15

Floats = NDArray[np.float64]
Which = NDArray[np.bool_]


@dataclass(frozen=True)
class Run:
    """One run; arrays are (rows,) and tensors blurred to cells, h x w of them.

    Attributes:
        prompt: What was drawn.
        detail_r: Correlation of each difference with the final picture's detail, unblurred.
        shape_r: Correlation of the blurred luma of frame row + 1 with the last frame's.
        total: Sum of each difference.
        on_object: Sum of it over the object.
        area: The object's share of the picture.
        differences: (rows, h, w).
        detail: (h, w), of the last frame.
        mask: (h, w), the object's share of each cell.
    """

    prompt: str
    detail_r: Floats
    shape_r: Floats
    total: Floats
    on_object: Floats
    area: float
    differences: Tensor
    detail: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Runs:
    """All runs, as arrays whose first axis is the run."""

    each: tuple[Run, ...]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.each)

    def stack(self, name: str) -> Floats:
        """Return an attribute of all runs."""
        return np.array([getattr(run, name) for run in self.each])

    @cached_property
    def prompt(self) -> NDArray[np.str_]:
        """Return every run's prompt, (runs,)."""
        return np.array([run.prompt for run in self.each])

    @cached_property
    def same_prompt(self) -> Which:
        """Tell which runs share their prompt, (runs, runs)."""
        return self.prompt[:, None] == self.prompt

    @cached_property
    def itself(self) -> Which:
        """Return (runs, runs), true on the diagonal."""
        return np.eye(len(self), dtype=bool)

    def layout_r(self, layout: str) -> Floats:
        """Correlate each blurred difference with its own "detail" or "mask", (runs, rows)."""
        return np.stack(
            [
                correlate(run.differences, getattr(run, layout)[None])[:, 0].cpu().numpy()
                for run in self.each
            ]
        )

    def beaten(self, layout: str, controls: Which) -> Floats:
        """Return which share of its controls each run's difference beats, (runs, rows)."""
        differences = torch.stack([run.differences for run in self.each], dim=1)
        layouts = torch.stack([getattr(run, layout) for run in self.each])
        looks = [first_look(row, layouts, controls) for row in differences]
        return np.stack([look.beaten for look in looks], axis=1)

    def neighbour_r(self) -> Floats:
        """Correlate a difference's cells with those beside and below (Moran's I), (runs, rows)."""
        maps = torch.stack([run.differences for run in self.each])
        offset = maps - maps.mean(dim=(-1, -2), keepdim=True)
        beside = (offset[..., 1:] * offset[..., :-1]).mean(dim=(-1, -2))
        below = (offset[..., 1:, :] * offset[..., :-1, :]).mean(dim=(-1, -2))
        return ((beside + below) / 2 / offset.square().mean(dim=(-1, -2))).double().cpu().numpy()

    def background_density(self, when: slice) -> Floats:
        """Return how dense change is on the background against the whole picture; 1 is even.

        Args:
            when: The rows to take together.

        Returns:
            (runs,)
        """
        on_object, total = self.stack("on_object")[:, when], self.stack("total")[:, when]
        return (1 - on_object.sum(axis=1) / total.sum(axis=1)) / (1 - self.stack("area"))


def sample(prompts: tuple[str, ...], seeds: int, steps: int) -> Runs:
    """Sample every prompt with every seed, 0, 1, 2, ..., and measure the runs.

    Args:
        prompts: What to draw.
        seeds: How many runs of each.
        steps: Of the sampler that the model's own config names.

    Returns:
        The runs, those of one prompt together.
    """
    source = find("bundled")
    models = load(source, *choose_device("auto", "auto"))
    schedule = make_table(read_settings(source.scheduler), steps)
    asked = [(prompt, seed) for prompt in prompts for seed in range(seeds)]
    runs = []
    for first in tqdm(range(0, len(asked), BATCH), desc=f"batches of {BATCH} runs"):
        captions, numbers = zip(*asked[first : first + BATCH], strict=True)
        empty = [""] * len(captions)
        texts = encode_prompts(models.tokenizer, models.text_encoder, list(captions), empty)
        z = initial_noise(numbers, source.latent_channels, *source.sample_size)
        denoised = denoise(models.unet, schedule, z.to(models.device), texts, GUIDANCE_SCALE)
        for number, prompt in enumerate(captions):
            runs.append(_measure(prompt, decode_latents(models.vae, denoised.latents[:, number])))
    return Runs(tuple(runs))


def _measure(prompt: str, images: Tensor) -> Run:
    """Keep of a run's pictures what the claims need."""
    final = images[-1]
    mask = object_mask(final)
    differences = absolute_difference(images, "mean")
    placement = measure_placement(differences, final, mask)
    shapes = coarse(luma(images))
    total = differences.sum(dim=(1, 2)).double().cpu().numpy()
    return Run(
        prompt=prompt,
        detail_r=placement.detail_correlation,
        shape_r=correlate(shapes[1:], shapes[-1:])[:, 0].double().cpu().numpy(),
        total=total,
        on_object=placement.object_share * total,
        area=placement.area,
        differences=coarse(differences),
        detail=coarse(local_detail(final)),
        mask=coarse(mask.float()),
    )
