"""Tensors of a safetensors file -> a network's weights: what they may be, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.machine.device import name_of
from sdloop.machine.errors import UserError, reason_of, shown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sdloop.machine.tensor_file import TensorHeader

WEIGHT_DTYPES = ("F32", "F16", "BF16", "F64")


def check_weights(header: TensorHeader, names: Iterable[str], named: str) -> None:
    """Refuse tensors that cannot be used as weights: quantised ones, whole numbers.

    Args:
        header: The file's.
        names: Of the tensors that will be read.
        named: What a message calls the file.

    Raises:
        UserError: Names the first one.
    """
    for name in names:
        dtype = header.tensors[name].dtype
        if dtype not in WEIGHT_DTYPES:
            raise UserError(
                f"{named}: {shown(name)} is {dtype}; allowed: {', '.join(WEIGHT_DTYPES)}"
            )


def read_weights(
    path: Path, names: Iterable[str], device: torch.device, dtype: torch.dtype, named: str
) -> dict[str, Tensor]:
    """Read tensors to a device; copies, so that the file may go.

    Args:
        path: A safetensors file whose header was checked.
        names: Of the tensors.
        device: Where to.
        dtype: To what.
        named: What a message calls the file.

    Returns:
        Name -> tensor.

    Raises:
        UserError: The file is damaged, or a weight is not finite in this dtype.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    weights: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in names:
                tensor = file.get_tensor(name)
                # convolutions in the order in which they are used, or they would be held twice
                order = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
                weights[name] = tensor.to(device, dtype, copy=True, memory_format=order)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{named}: {reason_of(error)}") from None
    filled = {name: weight for name, weight in weights.items() if weight.numel()}
    # smallest and largest tell it in one pass, and the device is waited for once
    ends = [torch.stack(weight.aminmax()).isfinite().all() for weight in filled.values()]
    if ends:
        for name, finite in zip(filled, torch.stack(ends).tolist(), strict=True):
            if not finite:
                raise UserError(
                    f"{named}: {shown(name)} holds values that are not finite in {name_of(dtype)}"
                )
    return weights
