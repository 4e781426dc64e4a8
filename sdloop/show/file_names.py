"""File names of a run's exports, shared by the writers and the run's folder."""

from pathlib import Path
from typing import Literal, get_args

Format = Literal["gif", "webp", "apng", "mp4"]
FORMATS: tuple[Format, ...] = get_args(Format)
FRAMES, DIFFERENCE, EVOLUTION = "frames", "difference", "evolution"
ANIMATIONS = (FRAMES, DIFFERENCE, EVOLUTION)
STRIP_FILE, STEPS_FILE = "strip.png", "steps.csv"
COMMITMENT_FILE, FREQUENCY_FILE = "commitment.png", "frequency.png"
GUIDANCE_FILE, PATH_FILE = "guidance.png", "path.png"
ATTENTION_FILE = "attention.png"
FRAMES_FOLDER, DIFFERENCES_FOLDER = "frames", "differences"


def animation_file(name: str, suffix: str) -> str:
    """Name an animation's file in a format: "frames.gif"."""
    return f"{name}.{suffix}"


def numbered_pictures(folder: Path, count: int) -> list[Path]:
    """Name one PNG per picture, from 000.png."""
    digits = max(3, len(str(count - 1)))
    return [folder / f"{number:0{digits}d}.png" for number in range(count)]
