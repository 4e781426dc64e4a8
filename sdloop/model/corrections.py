"""What StableDiffusionPipeline's constructor corrects of a model's configs when it loads them.

Configs that came out of old versions and of training scripts hold values that no Stable Diffusion
was trained with. diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py, `__init__`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdloop.model.config_files import read_json

STEPS_OFFSET = 1
INDEX = "model_index.json"


def read_scheduler(name: str, folder: Path) -> dict[str, Any]:
    """Read a model's scheduler config as its pipeline does: model_index.json names the class.

    Args:
        name: The model's, as the user gave it.
        folder: The model's.

    Returns:
        The content of scheduler_config.json; `_class_name` is what model_index.json says, if it
        says any.

    Raises:
        UserError: A file cannot be read, or is no JSON object.
    """
    config = read_json(name, folder / "scheduler/scheduler_config.json", infinities=True)
    index = read_json(name, folder / INDEX) if (folder / INDEX).is_file() else {}
    named = index.get("scheduler")  # [library, class]
    if isinstance(named, list) and named and isinstance(named[-1], str):
        config["_class_name"] = named[-1]
    return config


def correct_scheduler(config: Mapping[str, Any]) -> dict[str, Any]:
    """Correct a scheduler's config, whatever class it is read as.

    Args:
        config: As it was saved.

    Returns:
        A copy with steps_offset 1, and without clip_sample.
    """
    corrected = {**config, "steps_offset": STEPS_OFFSET}
    if config.get("clip_sample", True) is True:  # where nothing is said, some classes clip
        corrected["clip_sample"] = False
    return corrected
