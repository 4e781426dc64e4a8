"""How many weights a model has: from the headers of its files or, without these, its configs."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from sdloop.errors import UserError
from sdloop.model_source import STEMS, ModelSource, weight_files
from sdloop.single_file import PREFIXES


def read_config(source: ModelSource, component: str) -> dict[str, Any]:
    """Read a network's config, which `find` has checked."""
    config: dict[str, Any] = json.loads((source.folder / component / "config.json").read_text())
    return config


def count_weights(source: ModelSource, item_bytes: int) -> tuple[int, int]:
    """Count a model's weights.

    Args:
        source: The model. Where its weights were not fetched yet, torch is imported to make its
            networks of nothing but shapes.
        item_bytes: Of a weight once it is loaded; 2 prefers files in half precision.

    Returns:
        How many weights there are, and the size of their files in bytes.

    Raises:
        UserError: A file cannot be read.
    """
    if source.checkpoint is not None:
        counts = [_count_file(source, source.checkpoint, names) for names in PREFIXES.values()]
        return sum(counts), source.checkpoint.stat().st_size
    counted = [_count_component(source, component, item_bytes) for component in STEMS]
    return sum(numbers for numbers, _ in counted), sum(size for _, size in counted)


def _count_component(source: ModelSource, component: str, item_bytes: int) -> tuple[int, int]:
    """Count one network's weights and bytes by its files' headers; without files, by its config."""
    try:
        files, _ = weight_files(source, component, item_bytes == 2)
    except UserError:
        if not source.from_hub:
            raise
        numbers = _count_config(source, component)
        return numbers, numbers * item_bytes
    numbers = sum(_count_file(source, file, ("",)) for file in files)
    return numbers, sum(file.stat().st_size for file in files)


def _count_file(source: ModelSource, path: Path, prefixes: tuple[str, ...]) -> int:
    """Count the weights in a safetensors file whose names begin in one of these ways."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name.startswith(prefixes)]  # noqa: SIM118
            shapes = [file.get_slice(name).get_shape() for name in names]
    except (OSError, SafetensorError) as error:
        raise UserError(f"model = {source.name}: {path.name} cannot be read: {error}") from None
    return sum(prod(shape) for shape in shapes)


def _count_config(source: ModelSource, component: str) -> int:
    """Count a network's weights without any: it is made of nothing but shapes."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    config = read_config(source, component)
    with torch.device("meta"):
        if component == "text_encoder":
            network = CLIPTextModel(CLIPTextConfig(**config))
        elif component == "unet":
            network = UNet2DConditionModel.from_config(config)
        else:
            network = AutoencoderKL.from_config(config)
    return sum(weight.numel() for weight in network.parameters())
