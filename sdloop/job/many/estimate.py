"""What a sweep will take: runs, calls of the network, disk, time, memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from sdloop.job.forecast import estimate
from sdloop.job.ledger import gigabytes
from sdloop.job.many.axes import short_keys
from sdloop.job.many.batch import Texts, calls_alike, loads_alike
from sdloop.job.many.kept import decodes_z0_hat, files_of, is_finished
from sdloop.job.many.planning import batches_of
from sdloop.job.many.summary import LARGEST_PX
from sdloop.job.many.sweep import GRID, Sweep
from sdloop.job.plan import Plan, Prepared, settle
from sdloop.machine.errors import UserError
from sdloop.show.page.small import LARGEST_PX as LARGEST_SMALL_PX

if TYPE_CHECKING:
    from sdloop.job.engine import Engine

# bytes per pixel of a frame, from a run of the bundled model at 128 px, PNDM, 50 steps, 2026-11-25
ANIMATION_BYTES, PAGE_BYTES, PICTURE_BYTES = 6.2, 4.8, 2.0
STRIP_BYTES, FIGURES_BYTES = 4.1, 7.2  # per pixel, in each stage of the strip; in all figures
LARGEST_PAGE_BYTES = 8_000_000
SMALL_BYTES = 0.7  # per pixel of a small frame, with its difference and z0_hat
SUMMARY_BYTES, ROW_BYTES = 15, 330  # per pixel with 5 stages: 3 + 2 + 5 x 2; per row in numbers
TEXT_BYTES = 2500  # config and manifest
LISTED = 20  # runs listed by name
Z0_HAT_FRAMES = {"full": 1.0, "tiny": 0.125, "off": 0.0}  # time of a z0_hat in that of a frame
SHARE_OF_FILES = 0.15  # measuring, drawing, writing, as a share of the time of decoding


def describe(sweep: Sweep, prepared: Sequence[Prepared], together: int | None = None) -> str:
    """Describe what a sweep would make, and what that takes.

    If the weights are on this machine, the networks are loaded, and one call and one frame of each
    kind of run are timed; nothing is downloaded or written.

    Args:
        sweep: The sweep.
        prepared: Its runs.
        together: How many runs may share a call; None lets the memory decide.

    Returns:
        Some lines, each with a line end.
    """
    plans = [settle(one) for one in prepared]
    todo = [plan for plan in plans if not is_finished(plan, sweep.keep)]
    batches = batches_of(todo, together)
    short = short_keys(sweep.keys)
    lines = [
        f"{sweep.url or sweep.folder}: {len(plans)} runs, {len(plans) - len(todo)} of them finished"
    ]
    for axis in sweep.axes:
        keys = ", ".join(short[key] for key in axis.keys)
        lines.append(f"  {keys}: {len(axis.values)} values")
    for run in sweep.runs[:LISTED]:
        lines.append(f"  {run.name}")
    if len(sweep.runs) > LISTED:
        lines.append(f"  ... and {len(sweep.runs) - LISTED} more")
    calls = sum(len(batch[0].table) for batch in batches)
    sizes = sorted({len(batch) for batch in batches}, reverse=True)
    shared = ", ".join(map(str, sizes)) or "no"
    lines.append(f"calls of the network: {calls} in {len(batches)} batches of {shared} runs")
    lines.append(
        f"disk: about {_size(sum(disk_bytes(plan, sweep.keep) for plan in todo))} in "
        f"{sum(len(files_of(plan, sweep.keep)) for plan in todo)} files; each run keeps "
        f"{', '.join(sweep.keep) or 'only its summary'}"
    )
    lines.append(f"time: {_time_line(batches, sweep.keep)}")
    lines += _memory_lines(batches)
    return "\n".join(lines) + "\n"


def disk_bytes(plan: Plan, keep: Sequence[str]) -> int:
    """Estimate the disk space of a run.

    Args:
        plan: The run's.
        keep: Which of KEEPS it leaves.

    Returns:
        Bytes: latents are counted, pictures taken to be as large per pixel as the bundled model's.
    """
    rows, pixels, export = len(plan.table), prod(plan.size), plan.config.export
    frames = rows + 1
    small = pixels / max(1, -(-max(plan.size) // LARGEST_PX)) ** 2
    size = TEXT_BYTES + ROW_BYTES * rows + small * (5 + 2 * len(plan.stages))
    if "trajectory" in keep:
        size += 4 * prod(plan.latent_shape) * (1 + rows * (2 + plan.guided))
        size += rows * plan.captured_bytes
    if "animations" in keep:
        size += ANIMATION_BYTES * pixels * frames * len(export.formats)
    if "strip" in keep:
        size += STRIP_BYTES * pixels * len(plan.stages)
    if "measures" in keep:
        size += FIGURES_BYTES * pixels + ROW_BYTES * rows
    if "page" in keep:
        size += min(LARGEST_PAGE_BYTES, PAGE_BYTES * pixels * frames)
    if GRID in keep:
        size += SMALL_BYTES * frames * pixels / max(1, -(-max(plan.size) // LARGEST_SMALL_PX)) ** 2
    if export.png_frames and "frames" in keep:
        size += PICTURE_BYTES * pixels * (frames + rows)
    return round(size)


def _time_line(batches: Sequence[Sequence[Plan]], keep: Sequence[str]) -> str:
    """Say how long it will take, from timing one call and one frame of each kind of run."""
    if not batches:
        return "nothing left to do"
    timed: dict[tuple[object, ...], tuple[float, float]] = {}
    engine: Engine | None = None
    loaded: tuple[object, ...] = ()
    total_s = 0.0
    for batch in batches:
        plan = batch[0]
        key = (*calls_alike(plan)[:-1], len(batch))  # a call takes as long whatever the table is
        if key not in timed:
            if loads_alike(plan) != loaded:
                engine, loaded = None, loads_alike(plan)  # free the old one first
                try:
                    engine = _load(plan)
                except UserError as error:
                    return f"unknown, as the model cannot be loaded: {error}"
            if engine is None:
                return "unknown until the weights are downloaded"
            timed[key] = _pace_s(batch, engine)
        call_s, frame_s = timed[key]
        rows = len(plan.table)
        kind = plan.config.decode.z0_hat
        z0_hats = rows * Z0_HAT_FRAMES[kind] if decodes_z0_hat(plan, keep) else 0
        decoded = rows + 1 + z0_hats
        total_s += rows * call_s + len(batch) * decoded * frame_s * (1 + SHARE_OF_FILES)
    pace = ", ".join(
        f"{1000 * call_s:.0f} ms a call of {key[-1]} and {1000 * frame_s:.0f} ms a frame"
        for key, (call_s, frame_s) in timed.items()
    )
    return f"about {_duration(total_s)}, as timed just now: {pace}"


def _load(plan: Plan) -> Engine | None:
    """Load a model if its weights are on this machine; None if they are not."""
    from sdloop.job.engine import Engine

    return None if plan.source.from_hub else Engine.start(plan)


def _pace_s(batch: Sequence[Plan], engine: Engine) -> tuple[float, float]:
    """Time one call of a batch and the decoding of one frame, in seconds, after a warm-up each."""
    import torch

    from sdloop.model.family import Conditioning

    plan, device = batch[0], engine.models.device
    texts = Texts(engine)
    conditioning = Conditioning.joined([texts.of(plan)] * len(batch))
    z = torch.randn((len(batch), *plan.latent_shape)).to(device)
    noise = torch.zeros((len(plan.table), *z.shape), device=device) if plan.table.noisy else None
    steps = engine.walk(
        plan.table,
        z,
        conditioning,
        plan.config.guidance_scale,
        noise,
        keep_attention=plan.config.captures_attention,
    )
    times = []
    for _ in range(min(3, len(plan.table))):
        started = time.perf_counter()
        last = next(steps).z.cpu()  # waits for the device
        times.append(time.perf_counter() - started)
    frames = []
    for _ in range(2):
        started = time.perf_counter()
        for pictures in plan.source.family.decode(engine.models.vae, last[:1]):
            pictures.cpu()
        frames.append(time.perf_counter() - started)
    return min(times), min(frames)


def _memory_lines(batches: Sequence[Sequence[Plan]]) -> list[str]:
    """Say how much memory the largest batch needs."""
    seen: dict[tuple[object, ...], list[str]] = {}
    most, lines = -1, []
    for batch in batches:
        key = (*calls_alike(batch[0]), len(batch))
        if key not in seen:
            ledgers = estimate(batch[0], len(batch))
            seen[key] = [f"memory of the {it.where}: at most {gigabytes(it.peak_bytes)} GB"
                         for it in ledgers]  # fmt: skip
            if ledgers[0].peak_bytes > most:
                most, lines = ledgers[0].peak_bytes, seen[key]
    return lines


def _size(size: int) -> str:
    """Write a number of bytes in MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def _duration(seconds: float) -> str:
    """Write a time with about two digits."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
