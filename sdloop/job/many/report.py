"""What all runs of a sweep show together: contact sheets, a table and a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sdloop.job.events import Listener, ignore
from sdloop.job.many.grid import write_grid
from sdloop.job.many.sides import sides_of
from sdloop.job.many.summary import SUMMARY_FILE, Summary
from sdloop.job.many.sweep import Sweep
from sdloop.machine.files import replacing
from sdloop.show.figure.figure import ColorBar, color_of
from sdloop.show.figure.sheet import write_sheet

if TYPE_CHECKING:
    from sdloop.job.plan import Plan

TABLE_FILE, FINAL_SHEET, COMMITMENT_SHEET = "sweep.parquet", "final.png", "commitment.png"
DARKEST_SHARE = 0.02  # of a run's pixels may settle before the dark end of the colours
RUNS_AT_ONCE = 500  # in one row group of the table
Cell = NDArray[np.uint8] | None


def difference_sheet(stage: int) -> str:
    """Name the sheet of a stage's difference maps, counted from 0."""
    return f"difference_{stage}.png"


def write_report(sweep: Sweep, plans: Sequence[Plan], listen: Listener = ignore) -> None:
    """Write the sheets, the table and the page of all runs that exist.

    Args:
        sweep: The sweep.
        plans: Its runs', in order.
        listen: Is warned of what cannot be made.

    Raises:
        UserError: A run's summary or its small pictures are damaged.
    """
    there = [(plan.folder / SUMMARY_FILE).is_file() for plan in plans]
    if not any(there):
        return

    def summaries() -> Iterator[Summary | None]:
        for plan, is_there in zip(plans, there, strict=True):
            yield Summary.load(plan.folder / SUMMARY_FILE) if is_there else None

    files = _write_sheets(sweep, plans, summaries)
    if find_spec("pyarrow") is not None:
        _write_table(sweep, summaries)
        files.append(TABLE_FILE)
    write_grid(sweep, plans, files, listen)


def _write_sheets(
    sweep: Sweep, plans: Sequence[Plan], summaries: Callable[[], Iterator[Summary | None]]
) -> list[str]:
    """Write one sheet of each kind, with one kind's pictures in memory at a time; name them."""
    rows, columns, order = sides_of(sweep)
    folder = sweep.folder

    def draw(name: str, heading: str, cells: Sequence[Cell], bar: ColorBar | None = None) -> None:
        ordered = [[cells[index] for index in line] for line in order]
        write_sheet(folder / name, ordered, heading, rows, columns, bar)

    draw(
        FINAL_SHEET,
        "The last frame of each run",
        [None if one is None else one.final for one in summaries()],
    )
    # few pixels settle early: start the colours where the first few of any run have
    low = min(float(np.quantile(one.settled, DARKEST_SHARE)) for one in summaries() if one)
    settled = [
        None if one is None else color_of((one.settled.astype(np.float32) - low) / (1 - low or 1))
        for one in summaries()
    ]
    bar = ColorBar(f"{low:.0%}", "100%", "of the steps")
    draw(COMMITMENT_SHEET, "When each pixel settled", settled, bar)
    count = max(len(plan.stages) for plan in plans)
    for stage in range(count):
        picked = [None if one is None else _at_stage(one, stage, count) for one in summaries()]
        peak = max(float(one[1].max()) for one in picked if one is not None)
        maps = [
            None if one is None else color_of(one[1].astype(np.float32) / (peak or 1))
            for one in picked
        ]
        steps = {one[0] for one in picked if one is not None}
        at = f"step {steps.pop()}" if len(steps) == 1 else f"stage {stage} (of 0 to {count - 1})"
        bar = ColorBar("0", f"{peak:.0f}" if peak >= 10 else f"{peak:.2g}", "of 255")
        draw(difference_sheet(stage), f"The difference maps of {at}", maps, bar)
    for path in folder.glob("difference_*.png"):  # of an earlier sweep with more stages
        number = path.stem.removeprefix("difference_")
        if number.isdecimal() and int(number) >= count:
            path.unlink()
    return [FINAL_SHEET, COMMITMENT_SHEET, *map(difference_sheet, range(count))]


def _at_stage(summary: Summary, stage: int, count: int) -> tuple[int, NDArray[np.float16]]:
    """Return a stage's row and map; if the run has fewer stages, the one at the same share."""
    last = len(summary.stages) - 1
    index = round(stage * last / max(1, count - 1))
    return int(summary.stages[index]), summary.differences[index]


def _write_table(sweep: Sweep, summaries: Callable[[], Iterator[Summary | None]]) -> None:
    """Write one line per run and step: the run's values, then all measures."""
    import pyarrow
    from pyarrow import parquet

    kinds: dict[str, np.dtype[Any]] = {}  # times are whole in some runs, and not in others
    for one in summaries():
        if one is not None:
            for name, column in one.columns.items():
                kinds[name] = np.result_type(kinds.get(name, column.dtype), column.dtype)
    types = {name: pyarrow.from_numpy_dtype(kind) for name, kind in kinds.items()}
    values = {
        key: pyarrow.array([_cell(run.values[key], mixed) for run in sweep.runs])
        for key in sweep.keys
        for mixed in [len({type(run.values[key]) for run in sweep.runs} - {type(None)}) > 1]
    }
    fields = [("run", pyarrow.string()), *((key, array.type) for key, array in values.items())]
    fields += [("step", pyarrow.int64()), *types.items()]
    schema = pyarrow.schema(fields)
    path = sweep.folder / TABLE_FILE
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        group = []
        for index, one in enumerate(summaries()):
            if one is not None:
                rows = len(next(iter(one.columns.values())))
                columns: dict[str, Any] = {"run": pyarrow.repeat(sweep.runs[index].name, rows)}
                columns |= {key: pyarrow.repeat(it[index], rows) for key, it in values.items()}
                columns |= {"step": np.arange(rows)}
                columns |= {name: it.astype(kinds[name]) for name, it in one.columns.items()}
                whole = [
                    columns[name] if name in columns else pyarrow.nulls(rows, kind)
                    for name, kind in zip(schema.names, schema.types, strict=True)
                ]
                group.append(pyarrow.table(whole, schema=schema))
            if len(group) == RUNS_AT_ONCE:
                writer.write_table(pyarrow.concat_tables(group))
                group.clear()
        if group:
            writer.write_table(pyarrow.concat_tables(group))


def _cell(value: Any, mixed: bool) -> Any:  # noqa: ANN401 - YAML values
    """Turn a value into a column's cell: numbers and texts as they are, the rest as JSON."""
    if isinstance(value, int | float) and not isinstance(value, bool) and mixed:
        return float(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value)
