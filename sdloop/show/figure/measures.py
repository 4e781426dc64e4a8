"""Measures of a run -> steps.csv, its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sdloop.show.figure.figure import ColorBar
from sdloop.show.figure.heat_map import write_heat_map
from sdloop.show.figure.map import write_map
from sdloop.show.figure.path import write_path
from sdloop.show.figure.table import write_steps
from sdloop.show.file_names import (
    COMMITMENT_FILE,
    FREQUENCY_FILE,
    GUIDANCE_FILE,
    PATH_FILE,
    STEPS_FILE,
)
from sdloop.show.page.page_data import Still

if TYPE_CHECKING:
    from sdloop.show.measure.whole_run import RunMeasures

DARKEST_SHARE = 0.02  # of the pixels: as many may settle before the dark end of the map


def write_measures(
    folder: Path,
    measures: RunMeasures,
    final: NDArray[np.uint8],
    stages: Sequence[int],
    scale: int = 1,
    guided: bool = True,
    comment: str = "",
) -> None:
    """Write the numbers of each step and draw the figures.

    Args:
        folder: The run's folder.
        measures: The run's measures.
        final: uint8 (H, W, 3), the last frame, to show beside the maps.
        stages: The steps that path.png labels, counted from 0.
        scale: Whole factor by which to enlarge small pictures.
        guided: Whether to draw guidance.png.
        comment: A text to keep in each PNG file.
    """
    write_steps(folder / STEPS_FILE, measures.columns())
    _draw_commitment(folder / COMMITMENT_FILE, measures, final, scale, comment)
    _draw_frequency(folder / FREQUENCY_FILE, measures, comment)
    write_path(folder / PATH_FILE, measures.path, stages, comment)
    if guided:
        _draw_guidance(folder / GUIDANCE_FILE, measures, final, scale, comment)


def stills_of(measures: RunMeasures) -> list[Still]:
    """Describe the figures for the page.

    Args:
        measures: The run's measures.

    Returns:
        One still for each figure of `write_measures`, for guidance.png even without guidance.
    """
    return [
        Still(COMMITMENT_FILE, "When each pixel settled", f"{measures.commitment.sentence()}."),
        Still(
            FREQUENCY_FILE,
            "When each scale of the picture changed",
            "For each band of spatial frequency, coarse below, how its energy spreads over the "
            "steps.",
        ),
        Still(
            PATH_FILE,
            "The path from the first frame to the last",
            f"{measures.path.sentence()}.",
        ),
        Still(
            GUIDANCE_FILE,
            "Where guidance acted",
            "How far guidance moved each place of the latent, all steps together.",
        ),
    ]


def _draw_commitment(
    path: Path, measures: RunMeasures, final: NDArray[np.uint8], scale: int, comment: str
) -> None:
    """Draw the step that settled each pixel, counted from 0: step k leads to frame k + 1."""
    commitment = measures.commitment
    last = len(commitment.curve) - 1
    first = min(commitment.frame_of(DARKEST_SHARE), last - 1)
    shares = (commitment.settled_frame - first) / (last - first)
    low = f"{first - 1} or earlier" if first > 0 else "before 0"
    bar = ColorBar(low, f"{last - 1}", "step")
    caption = "the step that settled each pixel"
    write_map(path, final, shares, commitment.sentence(), caption, bar, scale, comment)


def _draw_frequency(path: Path, measures: RunMeasures, comment: str) -> None:
    """Draw how the energy of each band spreads over the steps."""
    frequency = measures.frequency
    totals = frequency.energy.sum(axis=1, keepdims=True)
    write_heat_map(
        path,
        frequency.energy / np.where(totals > 0, totals, 1),
        frequency.names,
        frequency.half_rows().tolist(),
        "When each scale of the picture changed, from coarse (below) to fine",
        ("cycles per picture", "step (white: half of the band's energy is spent)"),
        "of its band",
        comment,
    )


def _draw_guidance(
    path: Path, measures: RunMeasures, final: NDArray[np.uint8], scale: int, comment: str
) -> None:
    """Draw how far guidance moved each place of the latent over all steps."""
    moved = measures.drive.guidance_maps().sum(axis=0)
    low, high = float(moved.min()), float(moved.max())
    shares = (moved - low) / ((high - low) or 1)
    bar = ColorBar(f"{low:.2f}", f"{high:.2f}", "in latents")
    heading = "How far guidance moved each place of the latent"
    caption = "RMS over the channels, all steps"
    write_map(path, final, shares, heading, caption, bar, scale, comment)
