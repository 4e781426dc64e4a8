"""Numbers of each step -> steps.csv."""

import csv
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sdloop.machine.files import AnyPath, as_path, replacing


def write_steps(path: AnyPath, columns: Mapping[str, NDArray[np.number]]) -> None:
    """Write a line of names, then one line for each row of a run.

    Args:
        path: The CSV file.
        columns: Name -> one number for each row, written with eight significant digits, or as
            nothing if it is NaN. A name must be an identifier: a spreadsheet takes a cell that
            begins with =, +, - or @ for a formula.

    Raises:
        ValueError: A name is not an identifier.
    """
    path = as_path(path, "path")
    for name in columns:
        if not name.isidentifier():
            raise ValueError(f"{name!r} cannot be a column's name")
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for values in zip(*(column.tolist() for column in columns.values()), strict=True):
            writer.writerow([_text(value) for value in values])


def _text(value: float) -> str:
    """Write a number as text, NaN as nothing."""
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.8g}"
