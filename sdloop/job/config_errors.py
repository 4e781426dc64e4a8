"""A wrong config in one line: the key, the value, and what is allowed."""

import difflib
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from sdloop.job.config import RunConfig
from sdloop.machine.documents import spelling_at
from sdloop.machine.errors import shown

LONGEST_QUOTE = 100
# what other programs call a key, for a hint
ELSEWHERE = {
    "num_inference_steps": "scheduler.num_steps",
    "num_steps": "scheduler.num_steps",
    "steps": "scheduler.num_steps",
    "sampler": "scheduler.type",
    "sampler_name": "scheduler.type",
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "guidance": "guidance_scale",
    "negative": "negative_prompt",
    "output_dir": "output",
    "out": "output",
    "checkpoint": "model",
    "ckpt": "model",
    "model_id": "model",
    "generator": "seed",
}
_YAML_TYPES = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    type(None): "nothing",
    list: "a list",
    dict: "a mapping",
}


def explain_error(error: ValidationError, text: str, overrides: Sequence[str]) -> str:
    """Say the first thing that is wrong with a config in one line.

    Args:
        error: What checking it raised.
        text: The config file's text, to quote a value as it was written; "" for none.
        overrides: What was put over it.

    Returns:
        The line, without the file's name.
    """
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = cut(".".join(path))
    if first["type"] == "extra_forbidden":
        allowed = _keys_beside(path)
        close = difflib.get_close_matches(path[-1], allowed, n=1)
        meant = ELSEWHERE.get(path[-1].lower()) or next(iter(close), None)
        hint = f"did you mean {meant}? " if meant else ""
        return f"{key}: unknown key; {hint}allowed: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{key}: is missing"
    if first["type"] == "string_type":
        return _explain_text(path, first["input"], text, overrides)
    if first["type"] in ("model_type", "model_attributes_type"):
        return _explain_scalar(path, first["input"])
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if first["type"] == "string_pattern_mismatch":
        allowed_here = _model_around(path).model_fields[path[-1]].description
        message = f"allowed: {allowed_here}" if allowed_here else message
    if path == ["guidance_scale"] and first["type"] == "greater_than_equal":
        message += "; 1 turns guidance off"
    return f"{key} = {shown(first['input'])}: {message}" if key else message


def _explain_scalar(path: list[str], value: object) -> str:
    """Say where a value belongs that was given to a key with keys of its own."""
    key = ".".join(path)
    inner = list(_model_around([*path, ""]).model_fields)
    meant = f"{key}.type" if "type" in inner and isinstance(value, str) else None
    hint = f"say {meant}={cut(str(value))}" if meant else "say one of them"
    return f"{key} = {shown(value)}: has keys of its own ({', '.join(inner)}); {hint}"


def _explain_text(path: list[str], value: object, text: str, overrides: Sequence[str]) -> str:
    """Say how to write a text that YAML takes for something else."""
    key, taken_for = ".".join(path), _YAML_TYPES.get(type(value), "no text")
    written, override = _as_written(path, text, overrides)
    if written is None:
        return f"{key} = {shown(value)}: must be a text, not {taken_for}"
    quoted = f"""{key}='"{written}"'""" if override else f'{path[-1]}: "{written}"'
    return f"{key} = {written}: YAML reads {taken_for}; put the text in quotes: {quoted}"


def _as_written(
    path: list[str], text: str, overrides: Sequence[str]
) -> tuple[str | None, str | None]:
    """Find a value as the user spelled it, and the override that it comes from, if one does."""
    for override in reversed(overrides):
        key, _, value = override.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if path[: len(parts)] == parts:
            return spelling_at(value, path[len(parts) :]), override
    return spelling_at(text, path), None


def cut(text: str) -> str:
    """Return a text as short as a message can quote it without quotes."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


def _keys_beside(path: list[str]) -> list[str]:
    """List the keys allowed where an unknown one stood."""
    return list(_model_around(path).model_fields)


def _model_around(path: list[str]) -> type[BaseModel]:
    """Find the part of the config that a key stands in."""
    model: type[BaseModel] = RunConfig
    for part in path[:-1]:
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model
