"""Two runs of one config, from two devices or dtypes: where they part, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdloop.job.config import SHOWN_KEYS
from sdloop.sampler.parting import BOUNDS, parting_frame

if TYPE_CHECKING:
    from sdloop.sampler.trajectory import Trajectory

PLACE_KEYS = ("device", "dtype", "compile")  # they change how exact a run is, but not which it is
KEPT_KEYS = ("capture", "output")  # what is kept of a run, and where


def parting_words(ours: Trajectory, theirs: Trajectory) -> str | None:
    """Say where two runs of one config part.

    Args:
        ours: One run.
        theirs: The other.

    Returns:
        A sentence or two; None if their configs differ in more than PLACE_KEYS.
    """
    if _identity(ours) != _identity(theirs) or ours.latents.shape != theirs.latents.shape:
        return None
    places = [
        f"{key} {ours.config.get(key)} and {theirs.config.get(key)}"
        for key in PLACE_KEYS
        if ours.config.get(key) != theirs.config.get(key)
    ]
    heading = f"One config with {', '.join(places)}" if places else "One config, run twice"
    frames = [parting_frame(ours.latents, theirs.latents, bound) for bound in BOUNDS]
    parted = [
        f"by more than {bound:g} of the largest {_where(frame, ours)}"
        for bound, frame in zip(BOUNDS, frames, strict=True)
        if frame is not None
    ]
    if not parted:
        return f"{heading}: the latents never part by more than {min(BOUNDS):g} of the largest."
    never = [f"never by more than {bound:g}" for bound in BOUNDS[len(parted) :]]
    return f"{heading}: the latents part {', '.join(parted + never)}."


def _where(frame: int, run: Trajectory) -> str:
    """Say which row makes a frame."""
    if frame == 0:
        return "from frame 0 on, before any row"
    return f"at row {frame - 1} (timestep {run.timesteps[frame - 1]:g})"


def _identity(run: Trajectory) -> dict[str, Any]:
    """Return the part of a run's config that two runs must share."""
    left_out = {*SHOWN_KEYS, *PLACE_KEYS, *KEPT_KEYS}
    return {key: value for key, value in run.config.items() if key not in left_out}
