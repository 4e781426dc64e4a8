"""A trajectory -> its pictures and numbers -> every exported file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdloop.job.config import SHOWN_KEYS, comment_of
from sdloop.job.events import Noted
from sdloop.job.folder import PAGE_FILE, PARTS, TRAJECTORY_FILE, RunFiles
from sdloop.machine.errors import UserError
from sdloop.show.file_names import ATTENTION_FILE, DIFFERENCES_FOLDER, FRAMES_FOLDER, STRIP_FILE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from sdloop.job.decoders import Decoders
    from sdloop.job.events import Stages
    from sdloop.job.plan import Plan
    from sdloop.job.precision import Precision
    from sdloop.job.tolerance import SameAgain
    from sdloop.sampler.trajectory import Trajectory
    from sdloop.show.difference import DifferenceMaps
    from sdloop.show.measure.whole_run import RunMeasures
    from sdloop.show.page.page_data import PageRun


@dataclass(frozen=True)
class Shown:
    """What a run shows, as NumPy arrays.

    Attributes:
        images: uint8 (rows + 1, H, W, 3), the frames.
        z0_hat: uint8 (rows, H, W, 3), the predicted clean pictures; None if not wanted.
        maps: The frames' differences.
        measures: All measures.
        same_again: How far a repeated run may differ.
        precision: How exact the differences are.
        z0_hat_facts: What decoded the z0_hats.
    """

    images: NDArray[np.uint8]
    z0_hat: NDArray[np.uint8] | None
    maps: DifferenceMaps
    measures: RunMeasures
    same_again: SameAgain
    precision: Precision
    z0_hat_facts: dict[str, Any]


def show(
    plan: Plan,
    trajectory: Trajectory,
    decoders: Decoders,
    stages: Stages,
    watch: Callable[[Tensor], None] | None = None,
) -> Shown:
    """Decode and measure a run.

    Args:
        plan: The run's.
        trajectory: What it captured, now or earlier.
        decoders: The plan's.
        stages: Report events and times.
        watch: Gets the frames' pictures, batch by batch, before they are rounded.

    Returns:
        Its pictures and numbers.
    """
    from sdloop.job.events import FramesDecoded, Warned
    from sdloop.job.precision import make_exact, needs_float32
    from sdloop.job.tolerance import SameAgain
    from sdloop.model.decode_batch import ignores_batch
    from sdloop.model.vae import round_pictures
    from sdloop.show.changes import Changes
    from sdloop.show.difference import to_numpy
    from sdloop.show.measure.whole_run import measure_run

    config, vae = plan.config, decoders.vae
    if config.decode.batch_size not in (None, 1) and ignores_batch(vae.device.type):
        message = "decode.batch_size: has no effect on a CPU, which decodes the frames one by one"
        stages.listen(Warned(message))
    wanted = len(trajectory.latents) + len(trajectory.z0_hat) * (config.decode.z0_hat != "off")
    batches: list[int] = []
    with stages.stage("decode", wanted) as advance:

        def on_frames(count: int) -> None:
            batches.append(count)
            stages.listen(FramesDecoded(count))
            advance(count)

        decode, size = plan.source.family.decode, plan.decode_batch
        in_full = needs_float32(vae.device.type, vae.dtype)
        changes = Changes(len(trajectory.latents), config.difference.reduce)
        for pictures in decode(vae, trajectory.latents, size, on_frames, full_precision=in_full):
            changes.take(pictures)
            if watch is not None:
                watch(pictures)
            del pictures  # before the next batch takes its memory
        z0_hat = None
        if config.decode.z0_hat != "off":
            size = max(batches)  # known to fit in memory, and a small decoder takes less
            decoder = decoders.tiny or vae
            rough = decode(decoder, trajectory.z0_hat, size, on_frames, "z0_hat of row {}".format)
            z0_hat = round_pictures(rough, len(trajectory.z0_hat))
    with stages.stage("difference"):
        precision = make_exact(plan, vae, trajectory.latents, changes)
        images = to_numpy(changes.images)
        maps = changes.maps(config.difference.scale).to_numpy()
        clean = None if z0_hat is None else to_numpy(z0_hat)
    with stages.stage("measure"):
        measures = measure_run(
            trajectory,
            plan.table,
            trajectory.guidance_scale,
            changes,
            plan.mask,
            config.measure.tolerance,
        )
    same_again = SameAgain.of_run(vae.device, batches, trajectory.config)
    return Shown(images, clean, maps, measures, same_again, precision, decoders.z0_hat_facts)


def export_run(
    plan: Plan, folder: Path, trajectory: Trajectory, decoders: Decoders, stages: Stages
) -> Shown:
    """Decode a trajectory and write every export.

    Args:
        plan: The run's.
        folder: Where to write; a saved run's folder may have moved since it was planned.
        trajectory: What it captured, now or earlier.
        decoders: The plan's.
        stages: Report events and times.

    Returns:
        The run's pictures and numbers.
    """
    from sdloop.job.origin import origin_of
    from sdloop.show.between import Between

    beside, between = None, Between(plan.config.difference.reduce)
    try:
        origin = origin_of(plan, decoders, stages)
        if origin is not None:
            left = show(origin.plan, origin.trajectory, origin.decoders, stages, between.keep)
            beside = page_run(origin.plan, origin.folder, left)
    except UserError as error:
        stages.listen(Noted(f"{PAGE_FILE}: shows this run without the one it left: {error}"))
    shown = show(plan, trajectory, decoders, stages, between.compare if beside else None)
    export_shown(plan, folder, shown, stages, beside=beside, between=between.values)
    return shown


def export_part(
    plan: Plan, folder: Path, trajectory: Trajectory, decoders: Decoders, stages: Stages
) -> None:
    """Decode a run that was stopped and write its page alone, as far as there are steps.

    Measures against the last frame take the last that there is.

    Args:
        plan: The whole run's.
        folder: Where to write.
        trajectory: The first rows.
        decoders: The plan's.
        stages: Report events and times.
    """
    so_far = replace(plan, table=plan.table.between(0, len(trajectory.z0_hat)))
    shown = show(so_far, trajectory, decoders, stages)
    export_shown(plan, folder, shown, stages, ["page"])


def export_shown(
    plan: Plan,
    folder: Path,
    shown: Shown,
    stages: Stages,
    parts: Collection[str] = PARTS,
    beside: PageRun | None = None,
    between: NDArray[np.float32] | None = None,
) -> None:
    """Write the exports of a run that is decoded and measured.

    Args:
        plan: The run's.
        folder: Where to write.
        shown: Its pictures and numbers.
        stages: Report events and times.
        parts: Which of PARTS to write.
        beside: The run that this one left, to show beside it on the page.
        between: The differences between both runs' pictures; see `Comparison`.
    """
    from sdloop.show.difference import viridis
    from sdloop.show.figure.measures import write_measures
    from sdloop.show.figure.png import write_frames
    from sdloop.show.figure.strip import write_strip
    from sdloop.show.figure.words import write_words
    from sdloop.show.film.animation import write_animations
    from sdloop.show.page.page import write_page
    from sdloop.show.page.page_data import Comparison

    export, scale = plan.config.export, plan.scale
    images, maps = shown.images, shown.maps
    comment = comment_of(plan.config)
    if "animations" in parts:
        with stages.stage("animate"):
            delay_ms, hold_ms = export.delay_ms, export.hold_ms
            write_animations(
                folder, images, maps, export.formats, delay_ms, hold_ms, scale, comment
            )
    with stages.stage("export"):
        color_bar = plan.config.difference.scale == "global"
        marks = plan.table.marks
        if "strip" in parts:
            errors = [shown.precision.map_error(row) for row in range(len(plan.table))]
            path = folder / STRIP_FILE
            write_strip(
                path, images, maps, plan.stages, scale, color_bar, marks, errors, comment,
                plan.config.start.frame,
            )  # fmt: skip
        if "measures" in parts:
            measures, final = shown.measures, images[-1]
            write_measures(folder, measures, final, plan.stages, scale, plan.guided, comment)
            if measures.words is not None:
                path = folder / ATTENTION_FILE
                write_words(path, measures.words, images, plan.stages, comment)
        if export.png_frames and "frames" in parts:
            write_frames(folder / FRAMES_FOLDER, images, comment=comment)
            write_frames(folder / DIFFERENCES_FOLDER, maps.indices, viridis(), comment)
    if "page" in parts:
        with stages.stage("page"):
            runs = [page_run(plan, folder, shown)]
            comparison = None if between is None else Comparison(between)
            if beside is not None:
                runs.insert(0, beside)
            write_page(folder / PAGE_FILE, runs, SHOWN_KEYS, comparison)


def page_run(plan: Plan, folder: Path, shown: Shown) -> PageRun:
    """Gather what the page shows of a run."""
    from sdloop.show.figure.measures import stills_of
    from sdloop.show.page.page_data import PageRun

    linked = RunFiles.of_config(folder, plan.config, len(plan.table)).linked
    files = [path.name for path in (*linked, folder / TRAJECTORY_FILE) if path.exists()]
    return PageRun(
        folder=folder,
        config=plan.config.model_dump(mode="json"),
        images=shown.images,
        z0_hat=shown.z0_hat,
        small_decoder=plan.tiny is not None,
        differences=shown.maps.values,
        schedule=plan.table,
        numbers=shown.measures.columns(),
        stages=plan.stages,
        start_frame=plan.config.start.frame,
        words=shown.measures.words,
        files=files,
        stills=[still for still in stills_of(shown.measures) if (folder / still.file).exists()],
    )
