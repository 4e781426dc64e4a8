"""What a model's weights take: by the headers of its files or, without these, by its configs."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.machine.device import is_half
from sdloop.machine.errors import UserError
from sdloop.model.networks import dtype_of, weights_of
from sdloop.model.source import ModelSource

if TYPE_CHECKING:
    import torch


def weight_bytes(source: ModelSource, dtype: torch.dtype) -> tuple[int, int]:
    """Count what a model's weights take.

    Args:
        source: The model; its weights need not have been fetched yet.
        dtype: In which they are to be loaded; one of half precision prefers files of that kind.

    Returns:
        Bytes once they are loaded, and bytes of their files.

    Raises:
        UserError: A file cannot be read.
    """
    counted = [_part_bytes(source, part, dtype) for part in source.family.parts]
    files = {path: size for _, sizes in counted for path, size in sizes.items()}
    return sum(loaded for loaded, _ in counted), sum(files.values())


def number_of_weights(source: ModelSource, part: str, dtype: torch.dtype) -> int:
    """Count the numbers in a part's weights; arguments and errors as `weight_bytes`."""
    return _count_part(source, part, dtype)[0]


def _part_bytes(
    source: ModelSource, part: str, dtype: torch.dtype
) -> tuple[int, dict[Path | str, int]]:
    """Count one network's bytes once it is loaded, and those of its files."""
    numbers, files = _count_part(source, part, dtype)
    return numbers * dtype_of(source, part, dtype).itemsize, files


def _count_part(
    source: ModelSource, part: str, dtype: torch.dtype
) -> tuple[int, dict[Path | str, int]]:
    """Count one network by its files' headers; before they are fetched, by its config."""
    try:
        files = weights_of(source, part, is_half(dtype))
    except UserError:
        if not source.from_hub:
            raise
        network = source.family.make_network(source, part)
        numbers = sum(weight.numel() for weight in network.parameters())
        return numbers, {part: numbers * dtype.itemsize}
    numbers = sum(_numbers(shapes.values()) for shapes in files.values())
    return numbers, {file: file.stat().st_size for file in files}


def _numbers(shapes: Iterable[tuple[int, ...]]) -> int:
    """Count the numbers in tensors of these shapes."""
    return sum(prod(shape) for shape in shapes)
