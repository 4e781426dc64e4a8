"""Runs -> the data of their page, as plain values for JSON.

web/data.js has the types of all this, field by field. What is known before the first step
(`facts`) stands apart from what each step brings (`steps`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdloop.sampler.table import Table
from sdloop.show.difference import scale_to_indices, viridis
from sdloop.show.measure.words import WordMeasures
from sdloop.show.page.charts import charts_of
from sdloop.show.page.facts import run_facts
from sdloop.show.page.packing import LOSSLESS, compress_exactly, pack, sixteenths_of
from sdloop.show.page.page_words import pack_words, word_facts
from sdloop.show.page.text import BASE64_GROWTH, finite, href_to, in_base64, to_json

COUNTERS = (
    "row",
    "timestep",
    "base_frame",
    "tries",
    "corrects",
)  # in the table, but no number to chart
PAGE_BYTES = 7_850_000  # for the data of a single run; the page around them takes about 80,000
SHARED_PAGE_BYTES = 6_000_000  # for the data of one of several runs
COMPARISON_BYTES = 2_000_000  # for the differences between two runs


@dataclass(frozen=True)
class Still:
    """A picture of a whole run that the page shows under the chart.

    Attributes:
        file: PNG, in the run's folder.
        title: Its name.
        caption: What it shows, in a sentence or two.
    """

    file: str
    title: str
    caption: str


@dataclass(frozen=True)
class PageRun:
    """A run as the page shows it.

    Attributes:
        folder: Where its files are.
        config: Every value that was used, as plain values.
        images: uint8 (rows + 1, H, W, 3), the decoded frames.
        z0_hat: uint8 (rows, H, W, 3), the decoded predictions; None where there are none.
        differences: float32 (rows, H, W), in 8-bit levels.
        schedule: The table that made the run.
        numbers: Of every step: name -> (rows,); those of floating point can be charted.
        stages: The rows that are marked.
        start_frame: The frame of another run that this one starts from; None for noise.
        words: The attention of the prompt's words; None if none was kept.
        files: Names of files in `folder` to link to; the page leaves itself out.
        stills: More pictures.
        small_decoder: Whether a small decoder drew the predictions, not the VAE.
    """

    folder: Path
    config: Mapping[str, Any]
    images: NDArray[np.uint8]
    z0_hat: NDArray[np.uint8] | None
    differences: NDArray[np.float32]
    schedule: Table
    numbers: Mapping[str, NDArray[np.number]]
    stages: Sequence[int]
    start_frame: int | None = None
    words: WordMeasures | None = None
    files: Sequence[str] = ()
    stills: Sequence[Still] = ()
    small_decoder: bool = False

    @property
    def columns(self) -> dict[str, NDArray[np.number]]:
        """Return the numbers that can be charted: counters cannot."""
        return {
            name: column
            for name, column in self.numbers.items()
            if name not in COUNTERS and np.issubdtype(column.dtype, np.floating)
        }


@dataclass(frozen=True)
class Comparison:
    """How two runs on a page differ from each other, whose pictures have the same shape.

    Attributes:
        values: float32 (rows + 1, H, W), the difference between both runs' frames, in 8-bit levels.
        words: Where their latents part, if they are of one config.
    """

    values: NDArray[np.float32]
    words: str | None = None


def page_data(
    page: Path,
    runs: Sequence[PageRun],
    shown_keys: Collection[str],
    comparison: Comparison | None = None,
) -> dict[str, Any]:
    """Turn runs into what their page holds.

    Args:
        page: The HTML file; links lead from here to the runs' files.
        runs: One, or several to be shown in step.
        shown_keys: Top-level config keys that change no row, and so name no run.
        comparison: How two runs differ from each other.

    Returns:
        `PageData` of web/data.js.
    """
    budget_bytes = PAGE_BYTES if len(runs) == 1 else SHARED_PAGE_BYTES
    names = dict.fromkeys(name for run in runs for name in run.columns)
    return {
        "runs": [_run_data(run, page, budget_bytes) for run in runs],
        "comparison": None if comparison is None else _comparison_data(comparison),
        "charts": charts_of(list(names)),
        "viridis": viridis().tolist(),
        "shown_keys": sorted(shown_keys),
    }


def _comparison_data(comparison: Comparison) -> dict[str, Any]:
    """Put the differences between two runs together, on one scale for all frames."""
    peak = comparison.values.max()
    levels = scale_to_indices(comparison.values, np.full(len(comparison.values), peak))
    packed = pack([levels], int(COMPARISON_BYTES / BASE64_GROWTH))
    return {
        "frames": [in_base64(file) for file in packed.stacks[0]],
        "peak": float(peak),
        "words": comparison.words,
    }


def _run_data(run: PageRun, page: Path, budget_bytes: int) -> dict[str, Any]:
    """Put a run together: its pictures get what the words leave of the budget."""
    words = {
        "facts": run_facts(
            run.folder.name,
            run.config,
            run.schedule,
            run.images.shape[1:3],
            run.stages,
            list(run.columns),
            run.z0_hat is not None,
            run.small_decoder,
            run.start_frame,
            word_facts(run.words),
        ),
        "files": [
            {"name": name, "href": href_to(page, run.folder / name)}
            for name in run.files
            if run.folder / name != page
        ],
        "stills": [_still_data(run.folder, still) for still in run.stills],
    }
    peaks = run.differences.max(axis=(1, 2))
    numbers = list(zip(peaks.tolist(), _numbers(run), strict=True))
    # each difference in levels of its own largest value
    stacks = [run.images, scale_to_indices(run.differences, peaks)]
    if run.z0_hat is not None:
        stacks.append(run.z0_hat)
    attention = pack_words(run.words, len(run.differences))
    blank = _steps([[""] * len(stack) for stack in stacks], None, numbers, attention)
    pictures_bytes = int((budget_bytes - len(to_json(words | blank))) / BASE64_GROWTH)
    packed = pack(stacks, pictures_bytes)
    sixteenths = None
    if packed.quality is LOSSLESS:  # beside pictures that are not exact they would be lost
        files = compress_exactly(sixteenths_of(run.differences, peaks))
        if packed.size_bytes + sum(map(len, files)) <= pictures_bytes:
            sixteenths = [in_base64(file) for file in files]
    pictures = [[in_base64(file) for file in files] for files in packed.stacks]
    return words | _steps(pictures, sixteenths, numbers, attention) | {"quality": packed.quality}


def _steps(
    pictures: Sequence[Sequence[str]],
    sixteenths: Sequence[str] | None,
    numbers: Sequence[tuple[float, list[float | None]]],
    attention: Sequence[str | None],
) -> dict[str, Any]:
    """Put frame 0, and pictures to each step's numbers: frame, difference and, if any, z0_hat."""
    (start, *frames), differences, *others = pictures
    z0_hats = others[0] if others else [None] * len(frames)
    rests: Sequence[str | None] = sixteenths or [None] * len(frames)
    return {
        "start": start,
        "steps": [
            {
                "frame": frame,
                "difference": difference,
                "sixteenths": sixteenth,
                "z0_hat": z0_hat,
                "peak": peak,
                "numbers": row,
                "attention": maps,
            }
            for frame, difference, sixteenth, z0_hat, (peak, row), maps in zip(
                frames, differences, rests, z0_hats, numbers, attention, strict=True
            )
        ],
    }


def _numbers(run: PageRun) -> list[list[float | None]]:
    """List each step's numbers in the columns' order; None stands for what is no number."""
    columns = [column.tolist() for column in run.columns.values()]
    steps = ([column[row] for column in columns] for row in range(len(run.differences)))
    return [[finite(value) for value in step] for step in steps]


def _still_data(folder: Path, still: Still) -> dict[str, str]:
    """Put a still's file into an address."""
    src = f"data:image/png;base64,{in_base64((folder / still.file).read_bytes())}"
    return {"title": still.title, "caption": still.caption, "src": src}
