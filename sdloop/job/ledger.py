"""How much one memory has to hold in each stage of a run, and whether it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ledger:
    """How much one memory has to hold, in bytes.

    Attributes:
        where: Whose memory it is: "host", or a device.
        always: What the whole run holds, by name.
        stages: What each stage holds on top of that; stages follow one another.
    """

    where: str
    always: dict[str, int]
    stages: dict[str, int]

    @property
    def fullest(self) -> str:
        """Name the stage that holds the most."""
        return max(self.stages, key=lambda stage: self.stages[stage])

    @property
    def peak_bytes(self) -> int:
        """Return the most that is held at once."""
        return sum(self.always.values()) + self.stages[self.fullest]

    def __str__(self) -> str:
        """Return three lines: the peak, what the whole run holds, the stages."""
        always, stages = (
            ", ".join(f"{name} {gigabytes(size)}" for name, size in held.items())
            for held in (self.always, self.stages)
        )
        return (
            f"memory of the {self.where}: at most {gigabytes(self.peak_bytes)} GB, "
            f"in {self.fullest}\n  throughout: {always}\n  on top of that: {stages}"
        )


def shortages(ledgers: Sequence[Ledger], rooms: Sequence[int | None]) -> list[str]:
    """Say, one line per memory, where a run may need more than there is.

    Treat them as warnings: the estimate is an upper bound, and the free memory changes.

    Args:
        ledgers: What `estimate` returned.
        rooms: How many bytes this process may hold in each memory, from `rooms_of`; None if
            unknown.

    Returns:
        The lines; none if the run fits, or if that is unknown.
    """
    return [
        f"memory of the {ledger.where}: {gigabytes(ledger.peak_bytes)} GB may be needed, in "
        f"{ledger.fullest}; available: {gigabytes(room)} GB"
        for ledger, room in zip(ledgers, rooms, strict=False)
        if room is not None and ledger.peak_bytes > room
    ]


def gigabytes(size: int) -> str:
    """Write bytes in GB, with two decimals below 10 GB and none above."""
    return f"{size / 1e9:.0f}" if size >= 1e10 else f"{size / 1e9:.2f}"
