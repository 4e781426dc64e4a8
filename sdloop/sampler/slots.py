"""Slots: where a row keeps its output as long as a later row needs it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdloop.sampler.table import Floats, Ints, Table


@dataclass(frozen=True)
class Slots:
    """Places for what rows keep; a slot is reused once no later row needs it.

    Attributes:
        of_row: int64 (rows,), the slot of what each row keeps.
        weights: float64 (rows, slots), the table's w by slot.
    """

    of_row: Ints
    weights: Floats

    @classmethod
    def allocate(cls, table: Table) -> Slots:
        """Give each row the first slot that no later row still needs."""
        last_use = [
            max(np.flatnonzero(column), default=row) for row, column in enumerate(table.w.T)
        ]
        slots: list[int] = []
        owners: list[int] = []
        for row in range(len(table)):
            free = [slot for slot, owner in enumerate(owners) if last_use[owner] < row]
            if not free:
                free = [len(owners)]
                owners.append(row)
            owners[free[0]] = row
            slots.append(free[0])
        weights = np.zeros((len(table), len(owners)))
        for row, source in zip(*table.w.nonzero(), strict=True):
            weights[row, slots[source]] = table.w[row, source]
        return cls(np.array(slots), weights)

    @property
    def count(self) -> int:
        """Return how many slots there are."""
        return self.weights.shape[1]
