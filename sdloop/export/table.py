"""Per-step numbers -> steps.csv."""

import csv
import math
from dataclasses import fields
from pathlib import Path

from sdloop.files import replacing
from sdloop.measure import StepMeasures


def write_steps(path: Path, measures: StepMeasures) -> None:
    """Write one line a row under a line of names; a number that does not exist is left empty.

    Args:
        path: The CSV file.
        measures: The numbers; they are written with eight significant digits.
    """
    names = [field.name for field in fields(measures)]
    columns = [getattr(measures, name).tolist() for name in names]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for values in zip(*columns, strict=True):
            writer.writerow([_text(value) for value in values])


def _text(value: float) -> str:
    """Write a number, or nothing for NaN."""
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.8g}"
