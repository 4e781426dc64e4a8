"""What a run takes of the memory, stage by stage, before anything is loaded.

Weights are counted in the headers of their files, activations by a walk through the networks'
configs, arrays by their shapes. What cannot be counted was measured, on Linux with torch's build
for the CPU, and stands in the constants; those of CUDA have not been measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from sdloop.machine.device import name_of
from sdloop.machine.errors import OutOfMemory
from sdloop.machine.memory import host_free_bytes, host_room_bytes, size_that_fits
from sdloop.machine.threads import usable_cores
from sdloop.model.activations import unet_elements
from sdloop.model.decode_batch import MARGIN, choose_batch, frame_bytes, largest_batch
from sdloop.model.weight_count import count_weights

if TYPE_CHECKING:
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
class Ledger:
    """What one memory has to hold, in bytes.

    Attributes:
        where: Whose memory it is: "host", or a device.
        always: What is held throughout, by name.
        stages: What each stage holds beside that; one comes after the other.
    """

    where: str
    always: dict[str, int]
    stages: dict[str, int]

    @property
    def fullest(self) -> str:
        """Name the stage in which most is held."""
        return max(self.stages, key=lambda stage: self.stages[stage])

    @property
    def peak_bytes(self) -> int:
        """Return the most that is held at once."""
        return sum(self.always.values()) + self.stages[self.fullest]

    def __str__(self) -> str:
        """Write it in three lines: the peak, what is held throughout, the stages."""
        always, stages = (
            ", ".join(f"{name} {gigabytes(size)}" for name, size in held.items())
            for held in (self.always, self.stages)
        )
        return (
            f"memory of the {self.where}: at most {gigabytes(self.peak_bytes)} GB, "
            f"in {self.fullest}\n  throughout: {always}\n  beside it: {stages}"
        )


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


def estimate(plan: Plan, samples: int = 1) -> list[Ledger]:
    """Say what a run will take at most.

    Args:
        plan: The run's; the model's weights need not be there yet.
        samples: How many walk the loop at once. They are decoded and shown one after another.

    Returns:
        The host's memory, and the device's where that is another one.

    Raises:
        UserError: A weight file cannot be read.
    """
    on_cuda, item = plan.device.type == "cuda", plan.dtype.itemsize
    vae = plan.source.vae.model_dump()
    shapes = _shapes_of(plan, samples)
    _, height, width = plan.latent_shape
    halves = 2 if plan.guided else 1
    active = samples * _active_bytes(plan, height, width)
    free = None if on_cuda else host_free_bytes()
    chosen = choose_batch(vae, (shapes.decoded, height, width), item, free)
    batch = min(plan.config.decode.batch_size or chosen, largest_batch(vae, height, width))
    if plan.device.type == "cpu":  # which takes the frames of a batch one by one
        batch = 1
    numbers, file_bytes = count_weights(plan.source, item)
    always = {"weights": numbers * item}
    stages = _device_stages(shapes, active, batch * frame_bytes(vae, height, width, item), on_cuda)
    host_always = {"libraries": LIBRARIES_BYTES, "slack": SLACK_BYTES}
    host_stages = _host_stages(shapes, file_bytes, on_cuda)
    host_stages["denoise"] += halves * samples * shapes.rows * shapes.latents * item  # carried on
    if not on_cuda:
        both = {stage: size + stages[stage] for stage, size in host_stages.items()}
        return [Ledger("host", host_always | always, both)]
    host_always["CUDA's libraries"] = CUDA_LIBRARIES_BYTES
    return [
        Ledger("host", host_always, host_stages),
        Ledger(f"device {plan.device}", {"context": CUDA_CONTEXT_BYTES} | always, stages),
    ]


def shortages(ledgers: Sequence[Ledger], rooms: Sequence[int | None]) -> list[str]:
    """Say in a line each where a run may need more than there is.

    These are warnings and no more: the estimate lies above what is used, and what is free changes.

    Args:
        ledgers: What `estimate` returned.
        rooms: How much a process may hold of each memory, in bytes; None if that is not known.

    Returns:
        The lines; none where the run fits, or nobody can tell.
    """
    return [
        f"memory of the {ledger.where}: {gigabytes(ledger.peak_bytes)} GB may be needed, in "
        f"{ledger.fullest}; there are {gigabytes(room)} GB"
        for ledger, room in zip(ledgers, rooms, strict=False)
        if room is not None and ledger.peak_bytes > room
    ]


def warn_of_shortage(plan: Plan) -> list[str]:
    """Say where a run may need more memory than there is now."""
    from sdloop.machine.device import room_bytes

    return shortages(estimate(plan), [host_room_bytes(), room_bytes(plan.device)])


def no_room_for_loop(plan: Plan, free_bytes: int | None) -> OutOfMemory:
    """Say what would fit, where the loop of a run does not.

    Args:
        plan: The run's.
        free_bytes: What the device has left; None if it is not known.

    Returns:
        The error.
    """
    factor = plan.source.vae_factor
    height, width = plan.size
    shapes = _shapes_of(plan, samples=1)

    def needed_bytes(high: int, wide: int) -> int:
        kept = shapes.kept_bytes * (high * wide) // (height * width)
        return _active_bytes(plan, high // factor, wide // factor) + kept

    fitting = size_that_fits(height, width, factor, needed_bytes, free_bytes)
    return OutOfMemory(
        f"denoise: {plan.device} has no memory for {width} x {height} px "
        f"in {name_of(plan.dtype)}; {fitting}"
    )


def gigabytes(size: int) -> str:
    """Write a size with two digits below 10 GB, with none from there on."""
    return f"{size / 1e9:.0f}" if size >= 1e10 else f"{size / 1e9:.2f}"


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


def _active_bytes(plan: Plan, height: int, width: int) -> int:
    """Count what the network holds at its fullest for one sample, latents of this size."""
    halves = 2 if plan.guided else 1
    elements = unet_elements(plan.source.unet.model_dump(), height, width)
    return int(MARGIN * plan.dtype.itemsize * halves * elements)


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
