"""YAML and key=value overrides -> a RunConfig, or one line that says what is wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sdloop.job.config import COMMENT_START, RunConfig, check_path
from sdloop.job.config_errors import cut, explain_error
from sdloop.machine.documents import parse_yaml, read_file
from sdloop.machine.errors import UserError, shown
from sdloop.machine.files import AnyPath, as_path
from sdloop.show.comment import COMMENTED, read_comment

DROPPED_CAPTURES = ("eps_uncond", "eps_cond")  # Trajectory.eps() returns both


def load_config(path: AnyPath, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a config file and apply overrides to it.

    Args:
        path: A YAML file that holds a mapping, or a picture or animation of a run, which carries
            its config. Without an `output` key its run goes to runs/<name of the file>.
        overrides: `key=value` texts; dots reach into nested values, values are YAML.

    Returns:
        The checked config.

    Raises:
        UserError: One line that names the file, the key, the value and what is allowed.
        TypeError: An argument is of another type.
    """
    path = as_path(path, "path")
    if isinstance(overrides, str) or not all(isinstance(each, str) for each in overrides):
        raise TypeError('overrides: must be a list of texts, such as ["seed=3"]')
    values, text = read_values(path, overrides)
    return check_values(values, path, text, overrides)


def read_values(path: Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """Read a config file and apply overrides to it; check the YAML, but no key or value.

    Args:
        path: See `load_config`.
        overrides: See `load_config`.

    Returns:
        The values by key, and the file's text.

    Raises:
        UserError: The file is not a YAML mapping, or an override is not `key=value`.
    """
    text = _read_text(path)
    values = _mapping_of(text, path)
    _drop_capture(values)
    for override in overrides:
        _apply_override(values, override)
    if "output" not in values:
        values["output"] = _default_output(path)
    return values, text


def check_values(
    values: Mapping[str, Any], path: Path, text: str, overrides: Sequence[str] = ()
) -> RunConfig:
    """Make a config of values that `read_values` read.

    Args:
        values: By key.
        path: The file, for messages.
        text: Its text, for messages.
        overrides: The overrides applied to it, for messages.

    Returns:
        The checked config.

    Raises:
        UserError: One line that names the file, the key, the value and what is allowed.
    """
    return _checked(values, f"{path}: ", text, overrides)


def default_config(overrides: Sequence[str]) -> RunConfig:
    """Apply overrides to the defaults.

    Args:
        overrides: See `load_config`.

    Returns:
        The checked config, with an empty prompt unless an override sets one.

    Raises:
        UserError: One line that names the key, the value and what is allowed.
    """
    values: dict[str, Any] = {"prompt": ""}
    for override in overrides:
        _apply_override(values, override)
    return _checked(values, "", "", overrides)


def _checked(
    values: Mapping[str, Any], before: str, text: str, overrides: Sequence[str]
) -> RunConfig:
    """Make a config of values; a message begins with `before`."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{before}{explain_error(error, text, overrides)}") from None


def _drop_capture(values: dict[str, Any]) -> None:
    """Drop what older runs' configs asked for, and every trajectory now gives."""
    asked = values.get("capture")
    if isinstance(asked, list):
        values["capture"] = [name for name in asked if name not in DROPPED_CAPTURES]


def _read_text(path: Path) -> str:
    """Read a YAML file, or the YAML in a picture of a run."""
    if path.suffix.lower() in COMMENTED:
        text = read_comment(path)
        if text is None or not text.startswith(COMMENT_START):
            raise UserError(f"{path}: holds no settings of a run; pictures that sdloop made do")
        return text
    try:
        return read_file(path, str(path)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8: {error}; save the file as UTF-8") from None


def _mapping_of(text: str, path: Path) -> dict[str, Any]:
    """Parse a YAML file whose top is a mapping."""
    values = parse_yaml(text, f"{path}:")
    if not isinstance(values, dict):
        raise UserError(f"{path}: must be a YAML mapping (key: value), not {_type_name(values)}")
    return values


def _default_output(path: Path) -> str:
    """Derive a run's folder from a config file's name, which must not lead out of runs/."""
    try:
        if path.stem.startswith(".") or not path.stem:
            raise ValueError("begins with a dot")
        return f"runs/{check_path(path.stem)}"
    except ValueError as error:
        raise UserError(
            f"{path}: cannot name the run's folder after it, as its name {error}; set output=..."
        ) from None


def _type_name(value: object) -> str:
    """Name a YAML value's type as YAML does."""
    names = {list: "a list", str: "a text", type(None): "empty"}
    return names.get(type(value), f"a {type(value).__name__}")


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Set one dotted key."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key or not key.isprintable():
        raise UserError(f"{shown(override)}: an override is key=value, such as seed=3")
    *parents, leaf = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(f"{cut(key)}: {cut(parent)} holds no keys of its own")
        values = inner
    is_text = not parents and _is_text(leaf)
    values[leaf] = text if is_text else parse_yaml(text, f"{cut(key)} = {cut(text)}:")


def _is_text(key: str) -> bool:
    """Tell whether a top-level key takes text as it is ("prompt=yes" is not a boolean)."""
    field = RunConfig.model_fields.get(key)
    return field is not None and field.annotation is str
