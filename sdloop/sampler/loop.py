"""The denoising loop, written out: a walk over the table's rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sdloop.sampler.answer import Answer, Captured, Predict
from sdloop.sampler.earlier import NOTHING_EARLIER, Earlier
from sdloop.sampler.slots import Slots
from sdloop.sampler.step import Coefficients, Number, guide, keep, predict_clean, step
from sdloop.sampler.table import Table


@dataclass(frozen=True)
class Step:
    """What a row of a walk computed; float32 on the walk's device unless noted.

    Attributes:
        row: The row's number, from 0.
        z: (samples, channels, h, w), frame row + 1.
        z0_hat: The clean latent that the row's output predicts, shaped as `z`.
        guidance: eps_cond - eps_uncond, shaped as `z`; None without guidance.
        returned: What `predict` returned, in the network's dtype.
        guidance_factor: (samples,), what rescaling multiplied the guided output by; None if
            nothing is rescaled.
        captured: What else the network's call left behind, (samples, ...) each.
    """

    row: int
    z: Tensor
    z0_hat: Tensor
    guidance: Tensor | None
    returned: Tensor
    guidance_factor: Tensor | None = None
    captured: Captured = field(default_factory=dict)

    @property
    def answer(self) -> Answer:
        """Return what the network gave."""
        return Answer(self.returned, self.captured)


@dataclass(frozen=True)
class Denoised:
    """Every step of a batch of samples, float32, on the loop's device.

    Attributes:
        latents: (rows + 1, batch, channels, h, w); frame 0 is where the walk started, frame i + 1
            follows row i.
        z0_hat: (rows, batch, channels, h, w), the clean latent that row i's output predicts.
        guidance: eps_cond - eps_uncond, shaped as `z0_hat`; None without guidance.
        guidance_factor: (rows, batch), what rescaling multiplied the guided output by; None if
            nothing is rescaled.
        captured: What else each row's call left behind, (rows, batch, ...) each; zeros for rows
            that were not walked.
    """

    latents: Tensor
    z0_hat: Tensor
    guidance: Tensor | None
    guidance_factor: Tensor | None = None
    captured: Captured = field(default_factory=dict)


def initial_noise(seeds: Sequence[int], channels: int, height: int, width: int) -> Tensor:
    """Draw noise for frame 0, float32 on the CPU, so that a seed means the same on every device.

    Args:
        seeds: One seed per sample.
        channels: The latent channels, 4 for Stable Diffusion.
        height: Latent height, the picture's divided by the VAE's factor.
        width: Latent width.

    Returns:
        (len(seeds), channels, height, width), standard normal; frame 0 is `Table.init` times it.
    """
    shape = (1, channels, height, width)
    draws = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.cat(draws)


def fresh_noise(
    seeds: Sequence[int], table: Table, channels: int, height: int, width: int
) -> Tensor:
    """Draw the fresh noise of a table, row by row, as diffusers' schedulers do.

    It comes from the generator that drew frame 0, after frame 0, so that it depends on the seed
    alone: neither resuming nor a sample's neighbours in a batch change it. Rows that add no noise
    draw none.

    Args:
        seeds: As for `initial_noise`.
        table: The sampler's.
        channels: As for `initial_noise`.
        height: As for `initial_noise`.
        width: As for `initial_noise`.

    Returns:
        float32 (rows, len(seeds), channels, height, width), on the CPU; zeros for rows without.
    """
    shape = (channels, height, width)
    noise = torch.zeros((len(table), len(seeds), *shape))
    for sample, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        torch.randn(shape, generator=generator)  # frame 0
        for row in table.c.nonzero()[0].tolist():
            noise[row, sample] = torch.randn(shape, generator=generator)
    return noise


@torch.no_grad()
def walk(
    predict: Predict,
    table: Table,
    z: Tensor,
    guidance_scale: Number = 1.0,
    noise: Tensor | None = None,
    guidance_rescale: float = 0.0,
    earlier: Earlier = NOTHING_EARLIER,
) -> Iterator[Step]:
    """Walk the table's rows from noise to picture.

    The host never waits for the device here. A step is computed only when it is asked for.

    Args:
        predict: Calls the network.
        table: The sampler's.
        z: float32 (samples, channels, h, w), the first row's frame: frame 0 unless `earlier` says
            otherwise.
        guidance_scale: s in uncond + s (cond - uncond), if `predict` returns both halves; a
            tensor (samples, 1, 1, 1) gives each sample its own.
        noise: float32 (rows, samples, channels, h, w), the fresh noise of each row; None if the
            table adds none.
        guidance_rescale: phi of `guide`; 0 rescales nothing.
        earlier: The first row, and what those before it left; by default all rows are walked.

    Yields:
        One step per row, from the first one on.

    Raises:
        ValueError: The table adds noise, but `noise` is None.
    """
    check_noise(table, noise)
    slots = Slots.allocate(table)
    last_base = {base: row for row, base in enumerate(table.base.tolist())}
    frames = {**earlier.frames, earlier.row: z}
    kept = {int(slots.of_row[row]): value for row, value in earlier.kept.items()}
    later = Coefficients.of_table(table)[earlier.row :]
    for row, coefficients in enumerate(later, earlier.row):
        answer = predict(z, row)
        returned, captured = answer if isinstance(answer, Answer) else Answer(answer)
        guided = guide(returned.float(), guidance_scale, len(z), guidance_rescale or None)
        output, push = guided.output, guided.push
        kept[int(slots.of_row[row])] = keep(coefficients, z, output)
        mixed = [int(slot) for slot in slots.weights[row].nonzero()[0]]
        base = int(table.base[row])
        z_next = step(
            coefficients,
            frames[base],
            slots.weights[row, mixed].tolist(),
            [kept[slot] for slot in mixed],
            None if noise is None else noise[row],
        )
        z0_hat = predict_clean(coefficients, z, output)
        guidance = None if push is None else coefficients.guidance_from_output * push
        z = frames[row + 1] = z_next
        frames = {frame: held for frame, held in frames.items() if last_base.get(frame, -1) > row}
        yield Step(row, z, z0_hat, guidance, returned, guided.factor, captured)


def check_noise(table: Table, noise: Tensor | None) -> None:
    """Refuse a walk without the noise that its table adds.

    Raises:
        ValueError: The table adds noise, but `noise` is None.
    """
    if table.noisy and noise is None:
        raise ValueError("this table needs fresh noise; see fresh_noise")


def collect(
    steps: Iterable[Step], z: Tensor, rows: int, before: Denoised | None = None
) -> Denoised:
    """Keep every step of a walk.

    Args:
        steps: What `walk` yields.
        z: The frame of the walk's first row.
        rows: How many rows the table has.
        before: The rows that the walk left out, with the frame that it starts from as their last;
            None if it walks all. It has guidance if the walk has.

    Returns:
        All frames and the predictions on the way; fewer than the table's where the steps end early.
    """
    first = 0 if before is None else len(before.z0_hat)
    latents = torch.empty((rows + 1, *z.shape), device=z.device)
    latents[: first + 1] = z if before is None else before.latents
    z0_hat = torch.empty((rows, *z.shape), device=z.device)
    guidance: Tensor | None = None
    factor: Tensor | None = None
    captured: dict[str, Tensor] = {}
    if before is not None:
        z0_hat[:first] = before.z0_hat
        if before.guidance is not None:
            guidance = torch.empty_like(z0_hat)
            guidance[:first] = before.guidance
        if before.guidance_factor is not None:
            factor = torch.ones((rows, len(z)), device=z.device)
            factor[:first] = before.guidance_factor
    made = first
    for each in steps:
        made = each.row + 1
        latents[each.row + 1] = each.z
        z0_hat[each.row] = each.z0_hat
        if each.guidance is not None:
            guidance = torch.empty_like(z0_hat) if guidance is None else guidance
            guidance[each.row] = each.guidance
        if each.guidance_factor is not None:
            if factor is None:
                factor = torch.ones((rows, len(z)), device=z.device)
            factor[each.row] = each.guidance_factor
        for name, value in each.captured.items():
            if name not in captured:
                captured[name] = value.new_zeros((rows, *value.shape))
                if before is not None and name in before.captured:
                    captured[name][:first] = before.captured[name]
            captured[name][each.row] = value
    return Denoised(
        latents[: made + 1],
        z0_hat[:made],
        None if guidance is None else guidance[:made],
        None if factor is None else factor[:made],
        {name: value[:made] for name, value in captured.items()},
    )


def first_bad_row(denoised: Denoised) -> int | None:
    """Return the first row whose frame holds a value that is not finite; None if there is none.

    This waits for the device once.
    """
    bad = ~torch.isfinite(denoised.latents[1:].flatten(1)).all(dim=1).cpu().numpy()
    return int(np.argmax(bad)) if bad.any() else None
