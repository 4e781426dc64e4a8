"""What a walk that starts in the middle of a table needs of the rows before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sdloop.machine.errors import UserError
from sdloop.sampler.table import Table

if TYPE_CHECKING:
    from sdloop.sampler.trajectory import Trajectory


@dataclass(frozen=True)
class Earlier:
    """What the rows before a walk's first one left for it; float32 on the walk's device.

    Attributes:
        row: The first row to walk; its own frame is the walk's z.
        frames: Number -> earlier frame that later rows start from, (samples, channels, h, w).
        kept: Row -> what it kept and later rows mix, shaped as a frame.
    """

    row: int = 0
    frames: Mapping[int, Tensor] = field(default_factory=dict)
    kept: Mapping[int, Tensor] = field(default_factory=dict)

    @classmethod
    def needed(cls, table: Table, row: int) -> tuple[list[int], list[int]]:
        """Find what rows from `row` on need of those before.

        Args:
            table: The sampler's.
            row: The first row to walk.

        Returns:
            The numbers of the earlier frames that they start from, and the rows that they mix.
        """
        frames = sorted({base for base in table.base[row:].tolist() if base < row})
        return frames, np.flatnonzero(table.w[row:, :row].any(axis=0)).tolist()

    @classmethod
    def recall(
        cls, trajectory: Trajectory, table: Table, row: int, device: torch.device
    ) -> Earlier:
        """Recover it from a trajectory, to some 1e-6 of the largest value.

        What a row kept follows from its frame and its output, and the output from z0_hat.

        Args:
            trajectory: Made with the table, with any seed, prompt and guidance.
            table: The sampler's.
            row: The first row to walk, 0 to the number of rows less 1.
            device: The walk's.

        Returns:
            What the later rows need, for one sample.

        Raises:
            UserError: A row's frame held no noise, so that z0_hat does not tell its output.
        """
        frames, rows = cls.needed(table, row)
        kept = {}
        for each in rows:
            z = trajectory.latents[each].double()
            value = table.p[each] * z
            if table.q[each]:
                if not table.z0_from_output[each]:
                    raise UserError(
                        f"frame {row}: no run can start here: what the network returned in row "
                        f"{each} is needed, and cannot be recovered from its z0_hat"
                    )
                output = trajectory.z0_hat[each].double() - table.z0_from_z[each] * z
                value += table.q[each] / table.z0_from_output[each] * output
            kept[each] = value.float()[None].to(device)
        held = {frame: trajectory.latents[frame][None].to(device) for frame in frames}
        return cls(row, held, kept)


NOTHING_EARLIER = Earlier()
