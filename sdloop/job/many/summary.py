"""What sheets and table need from a run, small enough to keep for ten thousand runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sdloop.machine.documents import read_file
from sdloop.machine.errors import UserError, reason_of
from sdloop.machine.files import replacing
from sdloop.show.page.small import shrunk

if TYPE_CHECKING:
    from sdloop.job.plan import Plan
    from sdloop.job.present import Shown

SUMMARY_FILE = "summary.safetensors"
LARGEST_PX = 256  # a sheet's cells are no larger
LARGEST_BYTES = 2**27
COLUMN = "column "  # prefix of the names of the columns' arrays


@dataclass(frozen=True)
class Summary:
    """A run in a few small arrays; pictures are at most 256 px high and wide.

    Attributes:
        final: uint8 (h, w, 3), the last frame.
        differences: float16 (stages, h, w), the difference maps of the stages, in 8-bit levels.
        stages: int64 (stages,), the stages' rows.
        settled: float16 (h, w), the share of the steps after which each pixel had settled, 0 to 1.
        columns: Name -> (rows,), the run's measures; the columns of steps.csv.
    """

    final: NDArray[np.uint8]
    differences: NDArray[np.float16]
    stages: NDArray[np.int64]
    settled: NDArray[np.float16]
    columns: dict[str, NDArray[np.number]]

    @classmethod
    def of_run(cls, plan: Plan, shown: Shown) -> Summary:
        """Make the summary from a run's pictures and numbers."""
        rows = len(plan.table)
        stages = np.asarray(plan.stages, dtype=np.int64)
        settled = shown.measures.commitment.settled_frame / rows
        factor = -(-max(plan.size) // LARGEST_PX)
        final = np.rint(shrunk(shown.images[-1:], factor))[0].astype(np.uint8)
        return cls(
            final,
            shrunk(shown.maps.values[stages], factor).astype(np.float16),
            stages,
            shrunk(settled[None], factor)[0].astype(np.float16),
            shown.measures.columns(),
        )

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        arrays = {name: array for name, array in vars(self).items() if name != "columns"}
        named = {f"{COLUMN}{name}": np.ascontiguousarray(it) for name, it in self.columns.items()}
        order = json.dumps(list(self.columns))  # safetensors sorts by dtype
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        with replacing(path) as temporary:
            temporary.write_bytes(save(contiguous | named, {"columns": order}))

    @classmethod
    def load(cls, path: Path) -> Summary:
        """Read a file that `save` wrote.

        Raises:
            UserError: The file does not exist, is damaged, or is not a run's summary.
        """
        content = read_file(path, str(path), LARGEST_BYTES)
        try:
            arrays = load(content)
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            order = json.loads(header["__metadata__"]["columns"])
            columns = {str(name): arrays[f"{COLUMN}{name}"] for name in order}
            summary = cls(
                arrays["final"], arrays["differences"], arrays["stages"], arrays["settled"], columns
            )
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is damaged: {reason_of(error)}") from None
        size = summary.final.shape[:2]
        if summary.differences.shape[1:] != size or summary.settled.shape != size:
            raise UserError(f"{path}: is damaged: its pictures differ in size")
        return summary
