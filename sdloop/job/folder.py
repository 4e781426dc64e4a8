"""A run's folder: which files it holds, and the object that a run returns."""

from __future__ import annotations

import html
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.job.config import RunConfig
from sdloop.job.config_file import load_config
from sdloop.machine.files import as_path
from sdloop.show.file_names import (
    ANIMATIONS,
    ATTENTION_FILE,
    COMMITMENT_FILE,
    DIFFERENCES_FOLDER,
    FORMATS,
    FRAMES_FOLDER,
    FREQUENCY_FILE,
    GUIDANCE_FILE,
    PATH_FILE,
    STEPS_FILE,
    STRIP_FILE,
    animation_file,
    numbered_pictures,
)

if TYPE_CHECKING:
    from sdloop.sampler.trajectory import Trajectory

CONFIG_FILE, MANIFEST_FILE = "config.yaml", "manifest.json"
TRAJECTORY_FILE, PAGE_FILE = "trajectory.safetensors", "index.html"
PROGRESS_FILE = ".progress"  # there only until the run is finished
PARTS = ("animations", "strip", "measures", "frames", "page")  # groups of exported files
IFRAME_STYLE = "width: 100%; height: 920px; border: 0"


@dataclass(frozen=True)
class RunFiles:
    """The files that the exports of a run write, as paths in its folder.

    Attributes:
        linked: The files that the page links to, in order, and the page itself.
        frames: The PNGs of frames and maps; empty unless the config asks for them.
    """

    linked: tuple[Path, ...]
    frames: tuple[Path, ...]

    @classmethod
    def of_config(
        cls, folder: Path, config: RunConfig, rows: int, parts: Collection[str] = PARTS
    ) -> RunFiles:
        """Name the files of a config.

        Args:
            folder: The run's.
            config: The run's.
            rows: How many rows its table has.
            parts: Which of PARTS are written.

        Returns:
            The files that exactly this config writes.
        """
        suffixes = config.export.formats
        by_part = {
            "animations": [animation_file(name, each) for each in suffixes for name in ANIMATIONS],
            "strip": [STRIP_FILE],
            "measures": [STEPS_FILE, COMMITMENT_FILE, FREQUENCY_FILE, PATH_FILE],
            "page": [PAGE_FILE],
        }
        by_part["measures"] += [GUIDANCE_FILE] * config.guided
        by_part["measures"] += [ATTENTION_FILE] * config.captures_attention
        linked = [folder / name for part in by_part if part in parts for name in by_part[part]]
        frames = []
        if config.export.png_frames and "frames" in parts:
            frames += numbered_pictures(folder / FRAMES_FOLDER, rows + 1)
            frames += numbered_pictures(folder / DIFFERENCES_FOLDER, rows)
        return cls(tuple(linked), tuple(frames))

    @classmethod
    def ever_in(cls, folder: Path) -> RunFiles:
        """Name all files that any config may have written to a folder."""
        animations = [animation_file(name, suffix) for suffix in FORMATS for name in ANIMATIONS]
        figures = (COMMITMENT_FILE, FREQUENCY_FILE, PATH_FILE, GUIDANCE_FILE, ATTENTION_FILE)
        measured = (STEPS_FILE, *figures)
        return cls(
            tuple(folder / name for name in (*animations, STRIP_FILE, *measured, PAGE_FILE)),
            tuple(
                picture
                for name in (FRAMES_FOLDER, DIFFERENCES_FOLDER)
                for picture in (folder / name).glob("*.png")
                if picture.stem.isdecimal() and len(picture.stem) >= 3
            ),
        )

    @property
    def all(self) -> tuple[Path, ...]:
        """Return all paths."""
        return (*self.linked, *self.frames)


@dataclass(frozen=True)
class RunFolder:
    """A finished run; in a notebook it shows itself as its page.

    Attributes:
        folder: Where its files are.
    """

    folder: Path

    def __post_init__(self) -> None:
        """Take a text for a path, too.

        Raises:
            TypeError: It is neither.
        """
        object.__setattr__(self, "folder", as_path(self.folder, "folder"))

    @property
    def config(self) -> RunConfig:
        """Read every value that was used."""
        return load_config(self.folder / CONFIG_FILE)

    @property
    def trajectory(self) -> Trajectory:
        """Read the latents of every step, and all else that was captured."""
        from sdloop.sampler.trajectory import Trajectory

        return Trajectory.load(self.folder / TRAJECTORY_FILE)

    def __fspath__(self) -> str:
        """Stand for the folder wherever a path is taken."""
        return str(self.folder)

    def _repr_html_(self) -> str | None:
        """Show the page in a sandboxed frame, which can neither see nor change the notebook."""
        page = self.folder / PAGE_FILE
        if not page.is_file():
            return None  # the notebook falls back on the repr
        return (
            f'<iframe title="{html.escape(str(self.folder))}" sandbox="allow-scripts" '
            f'style="{IFRAME_STYLE}" srcdoc="{html.escape(page.read_text(encoding="utf-8"))}">'
            "</iframe>"
        )
