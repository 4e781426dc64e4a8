"""What a run takes of the memory, stage by stage, before anything is loaded.

Of the networks the model's family answers; arrays are counted by their shapes. What cannot be
counted was measured, on Linux with torch's build for the CPU, and stands in the constants; those of
CUDA have not been measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from sdloop.job.ledger import Ledger, shortages
from sdloop.machine.device import name_of, room_bytes
from sdloop.machine.errors import OutOfMemory
from sdloop.machine.memory import host_room_bytes, size_that_fits
from sdloop.machine.threads import usable_cores

if TYPE_CHECKING:
    import torch

    from sdloop.job.plan import Plan

LIBRARIES_BYTES = 400_000_000  # Python, torch, transformers, diffusers, NumPy, Pillow
SLACK_BYTES = 210_000_000  # oneDNN's kernels, threads' stacks, what C's heap does not give back
CUDA_LIBRARIES_BYTES = 2_500_000_000  # on the host, beyond the CPU's; not measured
CUDA_CONTEXT_BYTES = 600_000_000  # on the device; not measured
MOST_KEPT_BYTES = 250_000_000  # of activations that C's heap may not give back: blocks to 32 MB
PAGE_BYTES = 40_000_000  # the page's pictures and texts on their way to the file
DOUBLES_IN_MEASURES = 7  # copies of the latents in float64, while they are measured
ROW_BYTES, ROWS_AT_ONCE = 24, 16  # a pixel's in each of the rows that are measured at once
PICTURE_BYTES = 100  # a pixel's in what is measured of one picture
THREAD_BYTES, DRAWN_BYTES = 64, 8  # a pixel's in each thread that exports: as it is, enlarged
FIGURE_BYTES = 12  # an enlarged pixel's in each stage of the strip


@dataclass(frozen=True)
class _Shapes:
    """What a run's arrays are made of."""

    rows: int
    samples: int
    latents: int  # elements of one frame's
    stacks: int  # how many numbers are kept for each of these, besides frame 0
    pixels: int
    frames: int
    decoded: int  # frames, and z0_hat where it is wanted
    scale: int
    drawn: int  # stages in the strip

    @property
    def kept_bytes(self) -> int:
        """Return the size of all that the loop keeps."""
        return 4 * self.latents * self.samples * (self.rows * self.stacks + 1)

    @property
    def shown_bytes(self) -> int:
        """Return the size of the pictures, of the differences and of their colours."""
        return self.pixels * (3 * self.decoded + 5 * self.rows)


def estimate(plan: Plan, samples: int = 1, quick: bool = False) -> list[Ledger]:
    """Say what a run will take at most.

    Args:
        plan: The run's; the model's weights need not be there yet.
        samples: How many walk the loop at once. They are decoded and shown one after another.
        quick: Take a bound on what the networks hold instead of the count, which takes a second or
            two.

    Returns:
        The host's memory, and the device's where that is another one.

    Raises:
        UserError: A weight file cannot be read, or values of a network's config do not go together.
    """
    on_cuda, halves = plan.device.type == "cuda", 1 + plan.guided
    shapes, family, place = _shapes_of(plan, samples), plan.source.family, (plan.device, plan.dtype)
    latent = plan.latent_shape
    active = family.loop_bytes(plan.source, (samples, *latent), plan.guided, *place, quick)
    stack = (shapes.frames, *latent)
    decoding = family.decode_bytes(plan.source, stack, plan.decode_batch, *place, quick)
    weight_bytes, file_bytes = family.weight_bytes(plan.source, plan.dtype)
    always = {"weights": weight_bytes}
    stages = _device_stages(shapes, active, decoding, on_cuda)
    host_always = {"libraries": LIBRARIES_BYTES, "slack": SLACK_BYTES}
    host_stages = _host_stages(shapes, file_bytes, on_cuda)
    carried_on = halves * samples * shapes.rows * shapes.latents * plan.dtype.itemsize
    host_stages["denoise"] += carried_on
    if not on_cuda:
        both = {stage: size + stages[stage] for stage, size in host_stages.items()}
        return [Ledger("host", host_always | always, both)]
    host_always["CUDA's libraries"] = CUDA_LIBRARIES_BYTES
    return [
        Ledger("host", host_always, host_stages),
        Ledger(f"device {plan.device}", {"context": CUDA_CONTEXT_BYTES} | always, stages),
    ]


def find_shortages(plan: Plan, rooms: Sequence[int | None]) -> list[str]:
    """Say where a run may need more memory than there is.

    Networks are counted only where a quick bound on what they hold comes near the room.

    Args:
        plan: The run's.
        rooms: As for `shortages`.

    Returns:
        What `shortages` says of the estimate.
    """
    return shortages(estimate(plan, quick=True), rooms) and shortages(estimate(plan), rooms)


def rooms_of(device: torch.device) -> list[int | None]:
    """Return what this process may hold of the memories that `estimate` speaks of, in its order."""
    return [host_room_bytes(), room_bytes(device)]


def no_room_for_loop(plan: Plan, free_bytes: int | None) -> OutOfMemory:
    """Say what would fit, where the loop of a run does not.

    Args:
        plan: The run's.
        free_bytes: What the device has left; None if it is not known.

    Returns:
        The error.
    """
    factor = plan.source.vae_factor
    (channels, *_), (height, width) = plan.latent_shape, plan.size
    shapes = _shapes_of(plan, samples=1)

    def needed_bytes(high: int, wide: int) -> int:
        kept = shapes.kept_bytes * (high * wide) // (height * width)
        smaller = (1, channels, high // factor, wide // factor)
        looping = plan.source.family.loop_bytes(
            plan.source, smaller, plan.guided, plan.device, plan.dtype
        )
        return looping + kept

    fitting = size_that_fits(height, width, factor, needed_bytes, free_bytes)
    return OutOfMemory(
        f"denoise: {plan.device} has no memory for {width} x {height} px "
        f"in {name_of(plan.dtype)}; {fitting}"
    )


def _shapes_of(plan: Plan, samples: int) -> _Shapes:
    """Work out the sizes of a run's arrays."""
    rows, pixels = len(plan.table), prod(plan.size)
    return _Shapes(
        rows=rows,
        samples=samples,
        latents=prod(plan.latent_shape),
        stacks=2 + plan.guided,
        pixels=pixels,
        frames=rows + 1,
        decoded=rows + 1 + rows * plan.config.decode.z0_hat,
        scale=plan.scale,
        drawn=len(plan.stages),
    )


def _device_stages(shapes: _Shapes, active: int, batch_bytes: int, on_cuda: bool) -> dict[str, int]:
    """Count what lies where the networks are; a CUDA graph keeps its own until the end."""
    kept = active + shapes.kept_bytes if on_cuda else min(active + batch_bytes, MOST_KEPT_BYTES)
    measured = shapes.pixels * (PICTURE_BYTES + ROW_BYTES * min(shapes.rows, ROWS_AT_ONCE))
    return {
        "load": 0,
        "denoise": active + shapes.kept_bytes * (2 if on_cuda else 1),
        "decode": kept + 3 * shapes.pixels * shapes.decoded + batch_bytes,
        "measure": kept + shapes.shown_bytes + measured,
        "export": kept,
    }


def _host_stages(shapes: _Shapes, file_bytes: int, on_cuda: bool) -> dict[str, int]:
    """Count what lies on the host, wherever the networks are."""
    double = 8 * shapes.latents * shapes.frames
    enlarged = shapes.pixels * shapes.scale**2
    threads = usable_cores() * (THREAD_BYTES * shapes.pixels + DRAWN_BYTES * enlarged)
    figures = FIGURE_BYTES * enlarged * shapes.drawn
    page = PAGE_BYTES + shapes.pixels * shapes.rows  # each difference by its own scale
    kept = shapes.kept_bytes
    return {
        "load": file_bytes,  # they are mapped while they are copied
        "denoise": 0,
        "decode": 2 * kept,  # it is saved, and goes to the VAE as one stack
        "measure": kept + DOUBLES_IN_MEASURES * double + shapes.shown_bytes * on_cuda,
        "export": kept
        + DOUBLES_IN_MEASURES * double
        + shapes.shown_bytes
        + max(threads, figures, page),
    }
