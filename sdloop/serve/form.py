"""The form: its fields as the config's schema has them, and what was typed -> a config."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdloop.job.config import RunConfig
from sdloop.job.config_file import default_config, load_config
from sdloop.job.plan import prepare
from sdloop.machine.errors import UserError

LABELS = {
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "model": "Model",
    "seed": "Seed",
    "scheduler.type": "Sampler",
    "scheduler.num_steps": "Steps",
    "guidance_scale": "Guidance",
    "width": "Width",
    "height": "Height",
}
LONGEST_NAME = 40
NAMELESS = ".new"
FREE_STAGES = "export.stages=null"  # those of the config may not fit other steps


class WrongValue(UserError):
    """A value was refused.

    Attributes:
        key: The form's field; "" if it is none of them.
    """

    def __init__(self, message: str, key: str) -> None:
        """Keep the field beside the message."""
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class Form:
    """A form over a config.

    Attributes:
        path: The config that it starts from; None starts from the defaults.
        overrides: The `key=value` texts over it.
        runs: The folder in which runs land.
    """

    path: Path | None
    overrides: tuple[str, ...]
    runs: Path
    base: RunConfig = field(init=False)

    def __post_init__(self) -> None:
        """Read the config."""
        object.__setattr__(self, "base", self._load([]))

    @property
    def models(self) -> list[str]:
        """Return the models that may be chosen."""
        return list(dict.fromkeys(["bundled", self.base.model]))

    def fields(self) -> list[dict[str, Any]]:
        """List the fields.

        Returns:
            `FieldData` of web/form.js, in order.
        """
        from sdloop.sampler.methods import METHODS

        choices = {
            "model": self.models,
            "scheduler.type": list(dict.fromkeys(["model", *METHODS, self.base.scheduler.type])),
        }
        return [
            {
                "key": key,
                "label": label,
                "value": _text(_value_of(self.base, key)),
                "choices": choices.get(key),
                **_limits(key),
            }
            for key, label in LABELS.items()
        ]

    def read(self, values: Mapping[str, str], start: tuple[str, int] | None = None) -> RunConfig:
        """Make a config of what was typed.

        Args:
            values: Field -> text.
            start: The name of a run in `runs`, and the frame to start from.

        Returns:
            The config; its folder is not named yet.

        Raises:
            WrongValue: A value was refused.
        """
        written = [f"{key}={value}" for key, value in values.items() if key in LABELS]
        if start is not None:
            run = str(self.runs / start[0])
            written.append(f"start={json.dumps({'run': run, 'frame': start[1]})}")
        try:
            config = self._load(written)
            rows = (config.scheduler.type, config.scheduler.num_steps)
            if rows != (self.base.scheduler.type, self.base.scheduler.num_steps):
                config = self._load([*written, FREE_STAGES])
        except UserError as error:
            raise wrong_value(error, self.path) from None
        if config.model not in self.models:  # a browser may not look around on the disk
            allowed = ", ".join(self.models)
            raise WrongValue(f"model = {config.model}: allowed: {allowed}", "model")
        return config.model_copy(update={"output": str(self.runs / NAMELESS)})

    def named(self, config: RunConfig) -> RunConfig:
        """Check a config and name its folder: equal runs get the same one.

        Args:
            config: Of `read`.

        Returns:
            The config, with its folder.

        Raises:
            WrongValue: It cannot run.
        """
        try:
            settled = prepare(config).config
        except UserError as error:
            raise wrong_value(error, self.path) from None
        return config.model_copy(update={"output": str(self.runs / name_of(settled))})

    def command(self, config: RunConfig) -> str:
        """Write the command that makes the same run."""
        words = ["python", "-m", "sdloop.run"]
        if self.path is not None:
            words.append(str(self.path))
        words += self.overrides
        for key in LABELS:
            value = _value_of(config, key)
            if value != _value_of(self.base, key) or (key == "prompt" and self.path is None):
                words.append(f"{key}={'null' if value is None else _text(value)}")
        if config.export.stages != self.base.export.stages:
            words.append(FREE_STAGES)
        if config.start.run is not None:
            words += ["--from", config.start.run, "--at", str(config.start.frame)]
        return shlex.join([*words, f"output={config.output}"])

    def _load(self, overrides: list[str]) -> RunConfig:
        """Read the config with overrides, over those of the command line."""
        every = [*self.overrides, *overrides]
        return default_config(every) if self.path is None else load_config(self.path, every)


def wrong_value(error: UserError, path: Path | None = None) -> WrongValue:
    """Find the field that an error names, after the config's name if it has that."""
    message = str(error).removeprefix(f"{path}: ")
    named = re.match(r"([\w.]+)(?= =|:)", message)
    return WrongValue(message, named[1] if named and named[1] in LABELS else "")


def name_of(config: RunConfig) -> str:
    """Name a run's folder after its prompt and all of its values."""
    plain = unicodedata.normalize("NFKD", config.prompt).encode("ascii", "ignore").decode().lower()
    slug = "-".join(re.findall(r"[a-z0-9]+", plain))[:LONGEST_NAME].strip("-") or "run"
    values = config.model_dump(mode="json", exclude={"output"})
    return f"{slug}-{hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]}"


def _value_of(config: RunConfig, key: str) -> object:
    """Return the value of a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _text(value: object) -> str:
    """Write a value as the form shows it; nothing for null."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _limits(key: str) -> dict[str, Any]:
    """Return what the schema says of a field: its type, its least and largest value."""
    schema = RunConfig.model_json_schema()
    part: dict[str, Any] = schema
    for name in key.split("."):
        if "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        part = part["properties"][name]
    facts = next((each for each in part.get("anyOf", [part]) if each.get("type") != "null"), part)
    return {
        "type": facts.get("type", "string"),
        "least": facts.get("minimum"),
        "largest": facts.get("maximum"),
        "longest": facts.get("maxLength"),
    }
