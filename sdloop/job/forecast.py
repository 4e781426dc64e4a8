"""How much memory a run needs, stage by stage, worked out before anything is loaded.

The model's family answers for the networks; arrays are counted by their shapes. The constants are
what cannot be counted: measured on Linux with torch's CPU build, except those of CUDA, which were
not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from sdloop.job.ledger import Ledger, shortages
from sdloop.job.precision import needs_float32
from sdloop.machine.device import name_of, room_bytes
from sdloop.machine.errors import OutOfMemory
from sdloop.machine.memory import host_room_bytes, size_that_fits
from sdloop.machine.threads import usable_cores
from sdloop.model.tiny_memory import bound_tiny

if TYPE_CHECKING:
    import torch

    from sdloop.job.plan import Plan

LIBRARIES_BYTES = 400_000_000  # Python, torch, transformers, diffusers, NumPy, Pillow
SLACK_BYTES = 210_000_000  # oneDNN's kernels, threads' stacks, what C's heap does not give back
CUDA_LIBRARIES_BYTES = 2_500_000_000  # on the host, on top of the CPU's; not measured
CUDA_CONTEXT_BYTES = 600_000_000  # on the device; not measured
MOST_KEPT_BYTES = 250_000_000  # activations in blocks up to 32 MB, which C's heap may not give back
PAGE_BYTES = 40_000_000  # the page's pictures and texts before they are written
FLOAT_BYTES = 12  # per pixel, of a picture that is not rounded
TAKEN_BYTES = 64  # per pixel, while one difference is taken; the last picture is in it
DOUBLES_IN_MEASURES = 7  # float64 copies of the latents during measuring
ROW_BYTES, ROWS_AT_ONCE = 16, 16  # per pixel and row; rows measured at once
PICTURE_BYTES = 100  # per pixel, while one picture is measured
THREAD_BYTES, DRAWN_BYTES = 64, 8  # in each exporting thread, per pixel and per enlarged pixel
LEAST_CELL_PIXELS, MOST_SHEET_PIXELS = 2**14, 2**24  # of attention.png: one cell, and all
SHEET_BYTES = 16  # per pixel of attention.png: cells, and the canvas three times
FIGURE_BYTES = 12  # per enlarged pixel, in each stage of the strip


@dataclass(frozen=True)
class _Shapes:
    """The sizes of a run's arrays."""

    rows: int
    samples: int
    latents: int  # elements in one frame's latents
    stacks: int  # numbers kept per element and row
    pixels: int
    frames: int
    decoded: int  # frames, plus z0_hat if wanted
    scale: int
    drawn: int  # stages in the strip
    noisy: bool  # whether rows add fresh noise
    captured_bytes: int  # of the maps of attention of one row
    finest: tuple[int, int, int]  # tokens, height and width of the finest of these maps

    @property
    def kept_bytes(self) -> int:
        """Return the bytes of all that the loop keeps."""
        stacks = 4 * self.latents * (self.rows * self.stacks + 1)
        return self.samples * (stacks + self.rows * self.captured_bytes)

    @property
    def fresh_bytes(self) -> int:
        """Return the size of all fresh noise, which is drawn before the loop."""
        return 4 * self.latents * self.samples * self.rows * self.noisy

    @property
    def decoded_bytes(self) -> int:
        """Return the bytes of the pictures and the differences, which come with the decoding."""
        return self.pixels * (3 * self.decoded + 4 * self.rows)

    @property
    def shown_bytes(self) -> int:
        """Return the bytes of the pictures, the differences and their colours."""
        return self.decoded_bytes + self.pixels * self.rows


def estimate(plan: Plan, samples: int = 1, quick: bool = False) -> list[Ledger]:
    """Work out an upper bound on the memory that a run needs.

    Args:
        plan: The run's; the model's weights need not be downloaded yet.
        samples: How many walk the loop at once. They are decoded and shown one after another.
        quick: Use a rough bound for the networks instead of counting, which takes a second or two.

    Returns:
        The host's memory, and the device's if that is separate.

    Raises:
        UserError: A weight file cannot be read, or values of a network's config do not go together.
    """
    on_cuda, halves = plan.device.type == "cuda", 1 + plan.guided
    shapes, family, place = _shapes_of(plan, samples), plan.source.family, (plan.device, plan.dtype)
    latent = plan.latent_shape
    captures = plan.config.captures_attention
    active = family.loop_bytes(
        plan.source, (samples, *latent), plan.guided, *place, quick, captures
    )
    stack = (shapes.frames, *latent)
    decoding = _decoding_bytes(plan, stack, quick)
    weight_bytes, file_bytes = family.weight_bytes(plan.source, plan.dtype)
    if plan.tiny is not None:
        weight_bytes += plan.tiny.config.decoder_numbers * plan.dtype.itemsize
    always = {"weights": weight_bytes}
    stages = _device_stages(shapes, active, decoding, on_cuda)
    host_always = {"libraries": LIBRARIES_BYTES, "slack": SLACK_BYTES}
    host_stages = _host_stages(shapes, file_bytes, on_cuda)
    answer_bytes = halves * shapes.latents * plan.dtype.itemsize + shapes.captured_bytes
    host_stages["denoise"] += samples * shapes.rows * answer_bytes  # of a run that carries on
    if plan.config.start.run is not None:
        host_stages["denoise"] += shapes.kept_bytes  # the run that it starts from
        for stage in ("decode", "measure", "export"):  # where that one is shown beside it
            host_stages[stage] += shapes.kept_bytes + shapes.shown_bytes
        stages["decode"] += FLOAT_BYTES * shapes.pixels * shapes.frames
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

    The networks are counted only if a quick bound on their memory exceeds what there is.

    Args:
        plan: The run's.
        rooms: See `shortages`.

    Returns:
        The lines of `shortages`.
    """
    return shortages(estimate(plan, quick=True), rooms) and shortages(estimate(plan), rooms)


def rooms_of(device: torch.device) -> list[int | None]:
    """Return how many bytes this process may hold in each memory of `estimate`, in its order."""
    return [host_room_bytes(), room_bytes(device)]


def no_room_for_loop(plan: Plan, free_bytes: int | None) -> OutOfMemory:
    """Make the error for a loop that does not fit in memory; it names a size that would.

    Args:
        plan: The run's.
        free_bytes: The device's free memory; None if unknown.

    Returns:
        The error.
    """
    factor = plan.source.vae_factor
    (channels, *_), (height, width) = plan.latent_shape, plan.size
    shapes = _shapes_of(plan, samples=1)

    def needed_bytes(high: int, wide: int) -> int:
        stacks = shapes.kept_bytes + shapes.fresh_bytes
        kept = stacks * (high * wide) // (height * width)
        smaller = (1, channels, high // factor, wide // factor)
        looping = plan.source.family.loop_bytes(
            plan.source,
            smaller,
            plan.guided,
            plan.device,
            plan.dtype,
            keep_attention=plan.config.captures_attention,
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
        decoded=rows + 1 + rows * (plan.config.decode.z0_hat != "off"),
        scale=plan.scale,
        drawn=len(plan.stages),
        noisy=plan.table.noisy,
        captured_bytes=plan.captured_bytes,
        finest=max(plan.attention_shapes.values(), key=prod, default=(0, 0, 0)),
    )


def _decoding_bytes(plan: Plan, stack: tuple[int, int, int, int], quick: bool) -> int:
    """Count the networks' part of decoding, in every precision that it may come to."""
    count = partial(plan.source.family.decode_bytes, plan.source, stack)
    place = (plan.device, plan.dtype, quick)
    own = count(plan.decode_batch, *place)
    if plan.tiny is not None:
        own = max(own, bound_tiny(plan.tiny, stack, plan.decode_batch, plan.device, plan.dtype))
    if not plan.half:
        return own
    # float16 takes small differences once more, one by one, in float32
    size = plan.decode_batch if needs_float32(plan.device.type, plan.dtype) else 1
    return max(own, count(size, *place, full_precision=True))


def _device_stages(shapes: _Shapes, active: int, batch_bytes: int, on_cuda: bool) -> dict[str, int]:
    """Count the bytes on the networks' device; a CUDA graph keeps its own until the end."""
    looping = active + (shapes.kept_bytes + shapes.fresh_bytes) * (2 if on_cuda else 1)
    graph = active + shapes.kept_bytes + shapes.fresh_bytes
    kept = graph if on_cuda else min(active + batch_bytes, MOST_KEPT_BYTES)
    measured = shapes.pixels * (PICTURE_BYTES + ROW_BYTES * min(shapes.rows, ROWS_AT_ONCE))
    return {
        "load": 0,
        "denoise": looping,
        "decode": kept + shapes.decoded_bytes + batch_bytes + TAKEN_BYTES * shapes.pixels,
        "measure": kept + shapes.shown_bytes + measured,
        "export": kept,
    }


def _host_stages(shapes: _Shapes, file_bytes: int, on_cuda: bool) -> dict[str, int]:
    """Count the bytes on the host, wherever the networks are."""
    double = 8 * shapes.latents * shapes.frames
    enlarged = shapes.pixels * shapes.scale**2
    threads = usable_cores() * (THREAD_BYTES * shapes.pixels + DRAWN_BYTES * enlarged)
    figures = FIGURE_BYTES * enlarged * shapes.drawn
    words = 4 * prod(shapes.finest) * (shapes.rows + ROWS_AT_ONCE)
    cells = shapes.finest[0] * shapes.drawn * max(shapes.pixels, LEAST_CELL_PIXELS)
    sheet = SHEET_BYTES * min(cells, MOST_SHEET_PIXELS)
    page = PAGE_BYTES + shapes.pixels * shapes.rows  # each difference in its own scale
    kept, again = shapes.kept_bytes, shapes.fresh_bytes // shapes.samples  # drawn again, of one
    return {
        "load": file_bytes,  # the files stay mapped while they are copied
        "denoise": shapes.fresh_bytes * on_cuda,  # until it is on the device
        "decode": 2 * kept,  # it is kept for saving, and goes to the VAE as one stack
        "measure": kept
        + again
        + DOUBLES_IN_MEASURES * double
        + words
        + shapes.shown_bytes * on_cuda,
        "export": kept
        + DOUBLES_IN_MEASURES * double
        + words
        + shapes.shown_bytes
        + max(threads, figures, page, sheet),
    }
