"""Runs -> one HTML file to scrub through, which works offline and asks for nothing.

The page holds its pictures: frames and z0_hat as they are, the differences as grey levels that the
browser colours by viridis, so that it can change their scale. Up to a size they are lossless, and
then every colour on the page is that of the decoded pictures; beyond it they are WebP of the best
quality that fits, and the page says so. The exact data are in trajectory.safetensors either way.
"""

import base64
import hashlib
import html
import json
import math
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from sdloop.difference import scale_to_indices, viridis
from sdloop.export.charts import charts_of
from sdloop.export.packing import Packed, pack
from sdloop.files import replacing
from sdloop.sampler.table import Table

PAGE_BYTES = 7_900_000  # of a page with one run
SHARED_PAGE_BYTES = 6_000_000  # a run's part of a page with several
COUNTERS = ("row", "timestep", "base_frame", "tries")  # in the table, but no number to chart
BASE64_GROWTH = 4 / 3
WORDS_BYTES = 150_000  # what a run takes beside its pictures, and the page itself
TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # text's direction
SCRIPTS = tuple(
    f"{name}.js" for name in ("runs", "pictures", "chart", "pixel", "figures", "words", "page")
)


@dataclass(frozen=True)
class Still:
    """A picture of a whole run that the page shows under the chart.

    Attributes:
        file: PNG, in the run's folder.
        title: Its name.
        caption: What is to be seen, in a sentence or two.
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
        numbers: Of every step: name -> (rows,); those of floating point can be charted,
            but for COUNTERS.
        stages: The rows that are marked.
        files: Names of files in `folder` to link to; the page leaves itself out.
        stills: More pictures.
    """

    folder: Path
    config: Mapping[str, Any]
    images: NDArray[np.uint8]
    z0_hat: NDArray[np.uint8] | None
    differences: NDArray[np.float32]
    schedule: Table
    numbers: Mapping[str, NDArray[np.number]]
    stages: Sequence[int]
    files: Sequence[str] = ()
    stills: Sequence[Still] = ()


def write_page(path: Path, runs: Sequence[PageRun]) -> None:
    """Write the page.

    Args:
        path: The HTML file; it links to the runs' files by their way from here.
        runs: One, or several to be shown in step.
    """
    budget = PAGE_BYTES if len(runs) == 1 else SHARED_PAGE_BYTES
    data = {
        "runs": [_plain_run(run, path, budget) for run in runs],
        "charts": charts_of(list(_charted(runs[0].numbers))),
        "viridis": viridis().tolist(),
    }
    with replacing(path) as temporary:  # a folder's name may hold bytes that are no UTF-8
        temporary.write_text(_assemble(_title(runs), data), encoding="utf-8", errors="replace")


def _title(runs: Sequence[PageRun]) -> str:
    """Name the page: by its prompt, or by its runs; a title bar has no element to isolate them."""
    names = [runs[0].config["prompt"]] if len(runs) == 1 else [run.folder.name for run in runs]
    title = f"{', '.join(names)} · sdloop"
    return "".join(char for char in title if unicodedata.bidirectional(char) not in TURNING)


def _assemble(title: str, data: object) -> str:
    """Put words, style, script and data into one file.

    The content security policy allows nothing but this very style and script, by their hashes.
    """
    web = resources.files("sdloop.export") / "web"
    style = (web / "page.css").read_text(encoding="utf-8")
    script = "\n".join((web / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return Template((web / "template.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=_json(data),
    )


def _hash(text: str) -> str:
    """Hash a text as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(data: object) -> str:
    """Write JSON in which no character can end or begin anything in HTML."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plain_run(run: PageRun, page: Path, budget_bytes: int) -> dict[str, Any]:
    """Turn a run into plain values."""
    stills = [
        {"title": still.title, "caption": still.caption, "src": _data_url(run.folder / still.file)}
        for still in run.stills
    ]
    words_bytes = WORDS_BYTES + sum(len(still["src"]) for still in stills)
    peaks = run.differences.max(axis=(1, 2))
    packed = _pack_run(run, peaks, int((budget_bytes - words_bytes) / BASE64_GROWTH))
    files = [[base64.b64encode(file).decode() for file in stack] for stack in packed.stacks]
    schedule = run.schedule
    # frame 0 is where the first step starts, frame i + 1 where step i ends
    alphas = np.concatenate([schedule.signal_from[:1], schedule.signal_to]) ** 2
    way = Path(os.path.relpath(run.folder, page.parent))
    linked = [name for name in run.files if run.folder / name != page]
    return {
        "name": run.folder.name,
        "prompt": run.config["prompt"],
        "config": _flatten(run.config),
        "delay_ms": run.config["export"]["delay_ms"],
        "hold_ms": run.config["export"]["hold_ms"],
        "scale": run.config["difference"]["scale"],
        "height": run.images.shape[1],
        "width": run.images.shape[2],
        "timesteps": schedule.timesteps.tolist(),
        "base_frames": schedule.base.tolist(),
        "alphas_cumprod": alphas.tolist(),
        "stages": list(run.stages),
        "numbers": _charted(run.numbers),
        "peaks": peaks.astype(float).tolist(),
        "quality": packed.quality,
        "frames": files[0],
        "differences": files[1],
        "z0_hat": files[2] if run.z0_hat is not None else None,
        "files": [
            {"name": name, "href": quote(os.fsencode((way / name).as_posix()))} for name in linked
        ],
        "stills": stills,
    }


def _pack_run(run: PageRun, peaks: NDArray[np.float32], budget_bytes: int) -> Packed:
    """Compress a run's pictures; each difference in levels of its own largest value."""
    stacks = [run.images, scale_to_indices(run.differences, peaks)]
    return pack(stacks if run.z0_hat is None else [*stacks, run.z0_hat], budget_bytes)


def _charted(numbers: Mapping[str, NDArray[np.number]]) -> dict[str, list[float | None]]:
    """List every step's numbers that are no counters; None stands for NaN."""
    return {
        name: [None if math.isnan(value) else value for value in column.tolist()]
        for name, column in numbers.items()
        if name not in COUNTERS and np.issubdtype(column.dtype, np.floating)
    }


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """List a config's values as text under dotted keys."""
    texts: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            texts += _flatten(value, f"{prefix}{key}.")
        else:
            texts.append((prefix + key, _text(value)))
    return texts


def _text(value: object) -> str:
    """Write a value as a config file may; a text, unless empty, without quotes."""
    return value if value and isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _data_url(path: Path) -> str:
    """Put a PNG file into an address."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
