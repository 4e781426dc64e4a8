"""How many weights a model has: from the headers of its files or, without these, its configs."""

from __future__ import annotations

from math import prod

from sdloop.machine.errors import UserError
from sdloop.model.single_file import check_checkpoint
from sdloop.model.source import ModelSource
from sdloop.model.weight_files import STEMS, weight_names


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
        components = check_checkpoint(source.checkpoint).values()
        numbers = sum(prod(shape) for shapes in components for shape in shapes.values())
        return numbers, source.checkpoint.stat().st_size
    counted = [_count_component(source, component, item_bytes) for component in STEMS]
    return sum(numbers for numbers, _ in counted), sum(size for _, size in counted)


def _count_component(source: ModelSource, component: str, item_bytes: int) -> tuple[int, int]:
    """Count one network's weights and bytes by its files' headers; without files, by its config."""
    try:
        files = weight_names(source, component, item_bytes == 2)
    except UserError:
        if not source.from_hub:
            raise
        network = source.family.make_network(source, component)
        numbers = sum(weight.numel() for weight in network.parameters())
        return numbers, numbers * item_bytes
    numbers = sum(prod(shape) for shapes in files.values() for shape in shapes.values())
    return numbers, sum(file.stat().st_size for file in files)
