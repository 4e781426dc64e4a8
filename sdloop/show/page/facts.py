"""What a page knows of a run before its first step."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sdloop.sampler.table import Table


def run_facts(
    name: str,
    config: Mapping[str, Any],
    schedule: Table,
    size: Sequence[int],
    stages: Sequence[int],
    columns: Sequence[str],
    has_z0_hat: bool,
    small_decoder: bool = False,
    start_frame: int | None = None,
    words: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """List what is known of a run before its first step.

    Args:
        name: Of its folder.
        config: See `PageRun`.
        schedule: See `PageRun`.
        size: The pictures' height and width.
        stages: See `PageRun`.
        columns: Names of the numbers that each step will have.
        has_z0_hat: Whether each step will have it.
        small_decoder: See `PageRun`.
        start_frame: See `PageRun`.
        words: What `word_facts` says of the prompt; None where no attention is kept.

    Returns:
        `RunFacts` of web/data.js.
    """
    rows = zip(
        schedule.timesteps.tolist(),
        schedule.base.tolist(),
        (schedule.signal_to**2).tolist(),
        schedule.marks,
        strict=True,
    )
    return {
        "name": name,
        "prompt": config["prompt"],
        "config": list(_flatten(config)),
        "delay_ms": config["export"]["delay_ms"],
        "hold_ms": config["export"]["hold_ms"],
        "scale": config["difference"]["scale"],
        "height": size[0],
        "width": size[1],
        "table": [
            {"timestep": time, "base_frame": base, "signal_power": signal_power, "mark": mark}
            for time, base, signal_power, mark in rows
        ],
        "stages": list(stages),
        "start_frame": start_frame,
        "columns": list(columns),
        "has_z0_hat": has_z0_hat,
        "small_decoder": small_decoder,
        "words": words,
    }


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """List a config's values as text under dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _text(value)


def _text(value: object) -> str:
    """Write a value as a config file may; a text, unless empty, without quotes."""
    return value if value and isinstance(value, str) else json.dumps(value, ensure_ascii=False)
