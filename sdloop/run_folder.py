"""A run's folder as an object: what a run returns, and what a notebook shows of it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.config import RunConfig, load_config

if TYPE_CHECKING:
    from sdloop.trajectory import Trajectory

CONFIG_FILE, MANIFEST_FILE = "config.yaml", "manifest.json"
TRAJECTORY_FILE, PAGE_FILE = "trajectory.safetensors", "index.html"
PROGRESS_FILE = ".progress"  # only as long as the run is not finished
FRAME_STYLE = "width: 100%; height: 920px; border: 0"


@dataclass(frozen=True)
class RunFolder:
    """A finished run; in a notebook it shows itself as its page.

    Attributes:
        folder: Where its files are.
    """

    folder: Path

    @property
    def config(self) -> RunConfig:
        """Read every value that was used."""
        return load_config(self.folder / CONFIG_FILE)

    @property
    def trajectory(self) -> Trajectory:
        """Read the latents of every step, and what else was captured."""
        from sdloop.trajectory import Trajectory

        return Trajectory.load(self.folder / TRAJECTORY_FILE)

    def __fspath__(self) -> str:
        """Stand for the folder wherever a path is taken."""
        return str(self.folder)

    def _repr_html_(self) -> str | None:
        """Show the page in a frame of its own, which can neither see nor change the notebook."""
        page = self.folder / PAGE_FILE
        if not page.is_file():
            return None  # the notebook falls back on the text
        return (
            f'<iframe title="{html.escape(str(self.folder))}" sandbox="allow-scripts" '
            f'style="{FRAME_STYLE}" srcdoc="{html.escape(page.read_text(encoding="utf-8"))}">'
            "</iframe>"
        )
