"""A sweep's config -> one checked config a run, each with a place on the axes and a folder."""

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
from sdloop.machine.files import AnyPath, as_path

if TYPE_CHECKING:
    from sdloop.model.source import ModelSource

OWN_KEYS = ("sweep", "zip", "keep", "columns")
KEEPS = ("trajectory", *PARTS)


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        name: Its folder's, made of its values.
        place: One index an axis.
        values: By dotted key, what sets it apart.
        config: All that it depends on.
    """

    name: str
    place: tuple[int, ...]
    values: dict[str, Any]
    config: RunConfig


@dataclass(frozen=True)
class Sweep:
    """Many runs of one config.

    Attributes:
        folder: Each run's folder lies in it; sheets and table, too.
        axes: What is varied.
        runs: The product of the axes, the last one changing first.
        keep: Which of KEEPS each run leaves, beside what every run leaves.
        columns: The axis that the sheets' columns stand for, by its index; all others are rows.
        text: The sweep's config as it was read.
    """

    folder: Path
    axes: tuple[Axis, ...]
    runs: tuple[SweepRun, ...]
    keep: tuple[str, ...]
    columns: int
    text: str

    @property
    def keys(self) -> list[str]:
        """List every varied key."""
        return [key for axis in self.axes for key in axis.keys]


def load_sweep(path: AnyPath, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep's config: that of a run, with the keys `sweep`, `zip`, `keep`, `columns`.

    Args:
        path: A YAML file.
        overrides: `key=value`, as of `load_config`; `sweep.seed=[0,1]` reaches into an axis.

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
    folder = Path(checked.output)
    runs = []
    for place in places_of(axes):
        apart = values_at(axes, place)
        name = name_of(apart)
        filled = copy.deepcopy(values) | {"output": str(folder / name)}
        for key, value in apart.items():
            _put(filled, key, value, path)
        runs.append(SweepRun(name, place, apart, check_values(filled, path, text, overrides)))
    return Sweep(folder, axes, tuple(runs), keep, columns, text)


class Sources:
    """Finds each model of a sweep once."""

    def __init__(self) -> None:
        """Know none yet."""
        self._found: dict[tuple[object, ...], ModelSource] = {}

    def of(self, config: RunConfig) -> ModelSource:
        """Find a config's model, or take the one that was found.

        Raises:
            UserError: It cannot be had.
        """
        from sdloop.job.source import source_of

        key = model_of(config)
        if key not in self._found:
            self._found[key] = source_of(config)
        return self._found[key]


def _read_keep(asked: Any, path: Path) -> tuple[str, ...]:  # noqa: ANN401 - a YAML value
    """Read what each run leaves; nothing said is all that a single run has."""
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
    """Find the axis of the sheets' columns; the last one where nothing is said."""
    if asked is None:
        return len(axes) - 1
    for index, axis in enumerate(axes):
        if asked in axis.keys:
            return index
    keys = ", ".join(key for axis in axes for key in axis.keys)
    raise UserError(f"{path}: columns = {shown(asked)}: allowed: {keys}")


def _refuse_key(key: str, values: Mapping[str, Any], path: Path) -> None:
    """Refuse to vary a key that the config sets too, and the folder."""
    if key.partition(".")[0] == "output":
        raise UserError(f"{path}: {key}: cannot be varied; folders are made of the values")
    inner: Any = values
    for part in key.split("."):
        if not isinstance(inner, Mapping) or part not in inner:
            return
        inner = inner[part]
    raise UserError(f"{path}: {key}: is varied, and set to {shown(inner)} too; leave one out")


def _put(values: dict[str, Any], key: str, value: Any, path: Path) -> None:  # noqa: ANN401 - YAML
    """Set a dotted key."""
    *parents, leaf = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"{path}: {key}: {parent} holds no keys of its own")
    values[leaf] = value
