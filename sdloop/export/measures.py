"""Measures of a run -> steps.csv, commitment.png, frequency.png, guidance.png."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sdloop.export.figure import ColorBar
from sdloop.export.heat_map import write_heat_map
from sdloop.export.map import write_map
from sdloop.export.page_data import Still
from sdloop.export.table import write_steps

if TYPE_CHECKING:
    from sdloop.measure.whole_run import RunMeasures

SOONEST = 0.02  # this share of the pixels may lie below the commitment map's dark end


def write_measures(
    folder: Path, measures: RunMeasures, final: NDArray[np.uint8], scale: int = 1
) -> None:
    """Write the numbers of each step and draw the maps.

    Args:
        folder: The run's folder. Without guidance there is no guidance.png in it.
        measures: Of the run.
        final: uint8 (H, W, 3), the last frame, shown beside the maps.
        scale: Whole factor by which small pictures are enlarged.
    """
    write_steps(folder / "steps.csv", measures.columns())
    _draw_commitment(folder / "commitment.png", measures, final, scale)
    _draw_frequency(folder / "frequency.png", measures)
    if measures.drive.guidance.any():
        _draw_guidance(folder / "guidance.png", measures, final, scale)


def stills_of(measures: RunMeasures) -> list[Still]:
    """Describe the maps for the page.

    Args:
        measures: Of the run.

    Returns:
        The files that `write_measures` draws; guidance.png whether there is guidance or not.
    """
    return [
        Still("commitment.png", "When each pixel settled", f"{measures.commitment.sentence()}."),
        Still(
            "frequency.png",
            "When each scale of the picture changed",
            "For each band of spatial frequency, coarse below, how its energy spreads over the "
            "steps.",
        ),
        Still(
            "guidance.png",
            "Where guidance acted",
            "How far guidance moved each place of the latent, all steps together.",
        ),
    ]


def _draw_commitment(
    path: Path, measures: RunMeasures, final: NDArray[np.uint8], scale: int
) -> None:
    """Draw after how many steps each pixel had settled."""
    commitment = measures.commitment
    steps = len(commitment.curve) - 1
    soonest = min(commitment.frame_of(SOONEST), steps - 1)
    shares = (commitment.settled_frame - soonest) / (steps - soonest)
    fewer = " or fewer" if soonest > 0 else ""
    bar = ColorBar(f"{soonest}{fewer}", f"{steps}", "steps")
    caption = "steps until each pixel settled"
    write_map(path, final, shares, commitment.sentence(), caption, bar, scale)


def _draw_frequency(path: Path, measures: RunMeasures) -> None:
    """Draw for each band how its energy spreads over the steps."""
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
    )


def _draw_guidance(path: Path, measures: RunMeasures, final: NDArray[np.uint8], scale: int) -> None:
    """Draw how far guidance moved each place of the latent, all steps together."""
    moved = measures.drive.guidance_maps().sum(axis=0)
    low, high = float(moved.min()), float(moved.max())
    shares = (moved - low) / ((high - low) or 1)
    bar = ColorBar(f"{low:.2f}", f"{high:.2f}", "in latents")
    heading = "How far guidance moved each place of the latent"
    write_map(path, final, shares, heading, "RMS over the channels, all steps", bar, scale)
