"""A sweep's config -> one checked config per run, each with a place on the axes and a folder."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdloop.job.config import RunConfig, model_of
from sdloop.job.config_file import check_values, read_values
from sdloop.job.folder import PARTS
from sdloop.job.many.axes import Axis, name_of, places_of, read_axes, values_at
from sdloop.machine.errors import UserError, shown
from sdloop.machine.files import AnyPath, as_path, is_url

if TYPE_CHECKING:
    from sdloop.model.source import ModelSource

OWN_KEYS = ("sweep", "zip", "keep", "columns")
GRID = "grid"  # what the sweep's page shows of each run
KEEPS = ("trajectory", *PARTS, GRID)


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        name: Its folder's name, made of its values.
        place: One index per axis.
        values: Dotted key -> its value of each varied key.
        config: The whole config.
    """

    name: str
    place: tuple[int, ...]
    values: dict[str, Any]
    config: RunConfig


@dataclass(frozen=True)
class Sweep:
    """Many runs of one config.

    Attributes:
        folder: Holds the runs' folders, the sheets and the table.
        axes: What is varied.
        runs: The product of the axes; the last axis changes fastest.
        keep: Which of KEEPS each run leaves, beside what every run leaves.
        columns: Index of the axis that runs across the sheets; all others run down.
        text: The sweep's config, as read.
        url: Where the folder goes if that is no place on this machine, such as s3://bucket/prefix.
    """

    folder: Path
    axes: tuple[Axis, ...]
    runs: tuple[SweepRun, ...]
    keep: tuple[str, ...]
    columns: int
    text: str
    url: str | None = None

    @property
    def keys(self) -> list[str]:
        """List every varied key."""
        return [key for axis in self.axes for key in axis.keys]


def load_sweep(path: AnyPath, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep's config: that of a run, with the keys `sweep`, `zip`, `keep`, `columns`.

    Args:
        path: A YAML file.
        overrides: `key=value` texts, as for `load_config`; `sweep.seed=[0,1]` sets an axis.

    Returns:
        The sweep, every config in it checked.

    Raises:
        UserError: One line that names the file, the key, the value and what is allowed.
    """
    path = as_path(path, "path")
    values, text = read_values(path, overrides)
    own = {key: values.pop(key, None) for key in OWN_KEYS}
    axes = read_axes(own, path)
    keep = _read_keep(own["keep"], path)
    columns = _read_columns(own["columns"], axes, path)
    for axis in axes:
        for key in axis.keys:
            _refuse_key(key, values, path)
    checked = check_values({"prompt": "", "output": values["output"]}, path, text, overrides)
    url = checked.output.rstrip("/") if is_url(checked.output) else None
    folder = Path(checked.output)
    runs = []
    for place in places_of(axes):
        apart = values_at(axes, place)
        name = name_of(apart)
        filled = copy.deepcopy(values) | {"output": f"{url}/{name}" if url else str(folder / name)}
        for key, value in apart.items():
            _put(filled, key, value, path)
        config = check_values(filled, path, text, overrides)
        if config.start.run is not None:
            raise UserError(f"{path}: start.run = {config.start.run}: a sweep starts from noise")
        runs.append(SweepRun(name, place, apart, config))
    return Sweep(folder, axes, tuple(runs), keep, columns, text, url)


class Sources:
    """Finds each model of a sweep once."""

    def __init__(self) -> None:
        """Start with none."""
        self._found: dict[tuple[object, ...], ModelSource] = {}

    def of(self, config: RunConfig) -> ModelSource:
        """Find a config's model, or return it if it was found before.

        Raises:
            UserError: The model cannot be found.
        """
        from sdloop.job.source import source_of

        key = model_of(config)
        if key not in self._found:
            self._found[key] = source_of(config)
        return self._found[key]


def _read_keep(asked: Any, path: Path) -> tuple[str, ...]:  # noqa: ANN401 - a YAML value
    """Read what each run leaves; by default all that a single run leaves."""
    if asked is None or asked == "all":
        return KEEPS
    names = asked if isinstance(asked, list) else [asked]
    for name in names:
        if name not in KEEPS:
            raise UserError(
                f"{path}: keep = {shown(name)}: allowed: all, or a list of {', '.join(KEEPS)}"
            )
    return tuple(name for name in KEEPS if name in names)


def _read_columns(asked: Any, axes: Sequence[Axis], path: Path) -> int:  # noqa: ANN401 - YAML
    """Find the axis of the sheets' columns; by default the last one."""
    if asked is None:
        return len(axes) - 1
    for index, axis in enumerate(axes):
        if asked in axis.keys:
            return index
    keys = ", ".join(key for axis in axes for key in axis.keys)
    raise UserError(f"{path}: columns = {shown(asked)}: allowed: {keys}")


def _refuse_key(key: str, values: Mapping[str, Any], path: Path) -> None:
    """Refuse to vary the folder, or a key that the config also sets."""
    if key.partition(".")[0] == "output":
        raise UserError(f"{path}: {key}: cannot be varied; folders are made of the values")
    inner: Any = values
    for part in key.split("."):
        if not isinstance(inner, Mapping) or part not in inner:
            return
        inner = inner[part]
    raise UserError(f"{path}: {key}: is both varied and set to {shown(inner)}; remove one")


def _put(values: dict[str, Any], key: str, value: Any, path: Path) -> None:  # noqa: ANN401 - YAML
    """Set a dotted key."""
    *parents, leaf = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"{path}: {key}: {parent} holds no keys of its own")
    values[leaf] = value
