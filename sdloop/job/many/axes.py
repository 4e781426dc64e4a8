"""What a sweep varies: lists of values of config keys, their product, and names made of them."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdloop.machine.errors import UserError, shown

MOST_RUNS = 100_000
LONGEST_SLUG, LONGEST_NAME = 24, 150  # characters; a folder's name may have 255 bytes
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")


@dataclass(frozen=True)
class Axis:
    """One thing that a sweep varies: a key, or several that change together.

    Attributes:
        keys: Dotted config keys.
        values: For each place on the axis, one value per key.
    """

    keys: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    @property
    def name(self) -> str:
        """Return the axis's name: its first key."""
        return self.keys[0]

    def labels(self) -> list[str]:
        """Write the first key's value at each place."""
        return [text if isinstance(text := one[0], str) else _plain(text) for one in self.values]


def read_axes(asked: Mapping[str, Any], path: Path) -> tuple[Axis, ...]:
    """Read the `sweep` and `zip` keys of a sweep's config.

    Args:
        asked: Their values by name, each a mapping of config keys to lists, or None.
        path: The file, for messages.

    Returns:
        One axis for each key of `sweep`, in order, and one for all of `zip`.

    Raises:
        UserError: Names the key that holds no list, appears twice or has another length.
    """
    swept, zipped = (_lists_of(asked.get(part), part, path) for part in ("sweep", "zip"))
    both = swept.keys() & zipped.keys()
    if both:
        raise UserError(f"{path}: {min(both)}: appears under both sweep and zip")
    axes = [Axis((key,), tuple((value,) for value in values)) for key, values in swept.items()]
    if zipped:
        lengths = {key: len(values) for key, values in zipped.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise UserError(f"{path}: zip: its lists must be equally long; they have {said}")
        axes.append(Axis(tuple(zipped), tuple(zip(*zipped.values(), strict=True))))
    if not axes:
        raise UserError(f"{path}: sweep: names no key to vary, such as sweep: {{seed: [0, 1]}}")
    count = 1
    for axis in axes:
        _refuse_equal(axis, path)
        count *= len(axis.values)
    if count > MOST_RUNS:
        raise UserError(f"{path}: sweep: {count} runs; allowed: up to {MOST_RUNS}")
    return tuple(axes)


def places_of(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    """List the product of all axes, one index per axis; the last axis changes fastest."""
    return list(itertools.product(*(range(len(axis.values)) for axis in axes)))


def values_at(axes: Sequence[Axis], place: Sequence[int]) -> dict[str, Any]:
    """Return the value of every varied key at a place."""
    pairs = zip(axes, place, strict=True)
    return {
        key: value
        for axis, index in pairs
        for key, value in zip(axis.keys, axis.values[index], strict=True)
    }


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Shorten each dotted key to its last part if no other key ends in it."""
    ends = [key.rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}


def name_of(values: Mapping[str, Any]) -> str:
    """Make a folder's name of values: equal values give equal names, others different ones.

    A name has no "=" in it, because commands would take it for an override.

    Args:
        values: By dotted key, in the axes' order.

    Returns:
        A name such as `num_steps-20_seed-3`; a hash replaces what a name cannot hold.
    """
    short = short_keys(list(values))
    name = "_".join(f"{short[key]}-{_slug(value)}" for key, value in values.items())
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{_hash(name)}"


def _lists_of(asked: Any, part: str, path: Path, prefix: str = "") -> dict[str, list[Any]]:  # noqa: ANN401 - YAML
    """Flatten a mapping of keys, dotted or nested, to lists; "0..9" stands for ten numbers."""
    if asked is None:
        return {}
    if not isinstance(asked, Mapping):
        raise UserError(f"{path}: {part}: must map keys to lists, such as {{seed: [0, 1, 2]}}")
    lists: dict[str, list[Any]] = {}
    for name, value in asked.items():
        key = f"{prefix}{name}"
        match = _RANGE.fullmatch(value) if isinstance(value, str) else None
        if match:
            first, last = int(match[1]), int(match[2])
            if last - first >= MOST_RUNS:
                raise UserError(f"{path}: {part}: {key} = {value}: more than {MOST_RUNS} values")
            value = list(range(first, last + 1))
        inner = (
            _lists_of(value, part, path, f"{key}.") if isinstance(value, Mapping) else {key: value}
        )
        for inner_key, values in inner.items():
            if not isinstance(values, list) or not values:
                raise UserError(
                    f"{path}: {part}: {inner_key} = {shown(values)}: must be a list of values, or "
                    "a range such as 0..9"
                )
            if inner_key in lists:
                raise UserError(f"{path}: {part}: {inner_key}: appears twice")
            lists[inner_key] = values
    return lists


def _refuse_equal(axis: Axis, path: Path) -> None:
    """Refuse an axis with the same values at two places: their runs would share a folder."""
    seen = set()
    for values in axis.values:
        spelled = _plain([float(it) if type(it) is int else it for it in values])
        if spelled in seen:
            said = values[0] if len(values) == 1 else list(values)
            raise UserError(f"{path}: {', '.join(axis.keys)}: {shown(said)} appears twice")
        seen.add(spelled)


def _slug(value: Any) -> str:  # noqa: ANN401 - a YAML value
    """Write a value in characters that every file system allows."""
    text = value if isinstance(value, str) else _plain(value)
    slug = re.sub(r"[^a-z0-9+._]+", "-", text.lower()).strip("-.")
    if slug == text and len(slug) <= LONGEST_SLUG:
        return slug
    return f"{slug[:LONGEST_SLUG].rstrip('-.')}-{_hash(text)}"


def _hash(text: str) -> str:
    """Return a few characters that tell texts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _plain(value: Any) -> str:  # noqa: ANN401 - a YAML value
    """Write a value as JSON, which is YAML too."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
