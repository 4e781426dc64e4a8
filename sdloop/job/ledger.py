"""What one memory has to hold in each stage of a run, and whether it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ledger:
    """What one memory has to hold, in bytes.

    Attributes:
        where: Whose memory it is: "host", or a device.
        always: What is held throughout, by name.
        stages: What each stage holds beside that; one comes after the other.
    """

    where: str
    always: dict[str, int]
    stages: dict[str, int]

    @property
    def fullest(self) -> str:
        """Name the stage in which most is held."""
        return max(self.stages, key=lambda stage: self.stages[stage])

    @property
    def peak_bytes(self) -> int:
        """Return the most that is held at once."""
        return sum(self.always.values()) + self.stages[self.fullest]

    def __str__(self) -> str:
        """Write it in three lines: the peak, what is held throughout, the stages."""
        always, stages = (
            ", ".join(f"{name} {gigabytes(size)}" for name, size in held.items())
            for held in (self.always, self.stages)
        )
        return (
            f"memory of the {self.where}: at most {gigabytes(self.peak_bytes)} GB, "
            f"in {self.fullest}\n  throughout: {always}\n  beside it: {stages}"
        )


def shortages(ledgers: Sequence[Ledger], rooms: Sequence[int | None]) -> list[str]:
    """Say in a line each where a run may need more than there is.

    These are warnings and no more: the estimate lies above what is used, and what is free changes.

    Args:
        ledgers: What `estimate` returned.
        rooms: How much a process may hold of each memory, in bytes, as `rooms_of` returns it; None
            if that is not known.

    Returns:
        The lines; none where the run fits, or nobody can tell.
    """
    return [
        f"memory of the {ledger.where}: {gigabytes(ledger.peak_bytes)} GB may be needed, in "
        f"{ledger.fullest}; there are {gigabytes(room)} GB"
        for ledger, room in zip(ledgers, rooms, strict=False)
        if room is not None and ledger.peak_bytes > room
    ]


def gigabytes(size: int) -> str:
    """Write a size with two digits below 10 GB, with none from there on."""
    return f"{size / 1e9:.0f}" if size >= 1e10 else f"{size / 1e9:.2f}"
