"""Runs -> one HTML file to scrub through, which works offline and makes no requests.

The page embeds its pictures: frames and z0_hat unchanged, differences as grey levels that the
browser colours with viridis, so that their scale can change. Up to a size limit they are lossless,
and every colour on the page is that of the decoded pictures. Above it they are WebP at the best
quality that fits, and the page says so. The exact data are in trajectory.safetensors either way.
"""

import base64
import hashlib
import html
import unicodedata
from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path
from string import Template

from sdloop.machine.files import replacing
from sdloop.show.page.modules import join_modules
from sdloop.show.page.page_data import Comparison, PageRun, page_data
from sdloop.show.page.sweep_data import Grid, sweep_page_data
from sdloop.show.page.text import to_json

DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # change direction


def write_page(
    path: Path,
    runs: Sequence[PageRun],
    shown_keys: Collection[str] = (),
    comparison: Comparison | None = None,
) -> None:
    """Write the page.

    Args:
        path: The HTML file; links to the runs' files are relative to it.
        runs: One run, or several to show in step.
        shown_keys: Top-level config keys that change no row. Runs are named by the values that
            differ between them; values of these keys are only marked in the table.
        comparison: How two runs differ from each other.
    """
    data = to_json(page_data(path, runs, shown_keys, comparison))
    with replacing(path) as temporary:  # a folder's name may hold bytes that are not UTF-8
        temporary.write_text(
            assemble(_title(runs), data, "main.js"), encoding="utf-8", errors="replace"
        )


def write_sweep_page(path: Path, grid: Grid, shown_keys: Collection[str] = ()) -> None:
    """Write the page of a sweep: all its runs in step, in small pictures.

    Args:
        path: The HTML file; links to the runs' pages are relative to it.
        grid: The runs in rows and columns; one at least.
        shown_keys: Top-level config keys that change no row, and so name no run.
    """
    data = to_json(sweep_page_data(path, grid, shown_keys))
    text = assemble(f"{grid.folder.name} · sdloop", data, "sweep.js", ("page.css", "sweep.css"))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def _title(runs: Sequence[PageRun]) -> str:
    """Title the page by its prompt or runs, without direction marks: a title bar isolates none."""
    names = [runs[0].config["prompt"]] if len(runs) == 1 else [run.folder.name for run in runs]
    title = f"{', '.join(names)} · sdloop"
    return "".join(char for char in title if unicodedata.bidirectional(char) not in DIRECTIONS)


def assemble(
    title: str,
    data: str,
    entry: str,
    styles: Sequence[str] = ("page.css",),
    connects: str = "'none'",
) -> str:
    """Fill the template with title, style, script and data.

    The content security policy allows only this style and script, by their hashes.

    Args:
        title: Of the window.
        data: JSON of `to_json`, for the script.
        entry: The module of web/ that starts the page.
        styles: The style sheets of web/.
        connects: Where the script may send requests, as the policy says it.

    Returns:
        The page.
    """
    web = resources.files("sdloop.show.page") / "web"
    style = "".join((web / name).read_text(encoding="utf-8") for name in styles)
    script = join_modules(web, entry)
    return Template((web / "template.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        style=style,
        style_hash=_hash(style),
        script=script,
        connects=connects,
        script_hash=_hash(script),
        data=data,
    )


def _hash(text: str) -> str:
    """Return a text's hash in the form of a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
