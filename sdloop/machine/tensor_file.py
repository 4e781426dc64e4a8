"""A safetensors file's header, checked before any tensor of it is read.

The format: eight bytes with the header's length, the header (JSON: name -> dtype, shape and place),
then the tensors' bytes without gaps. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.machine.documents import opened, parse_json
from sdloop.machine.errors import UserError, reason_of, shown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WEIGHT_DTYPES = ("F32", "F16", "BF16", "F64")
MOST_TENSORS = 20_000  # a checkpoint has some 2,500
MOST_SIDES, LONGEST_SIDE = 8, 2**48
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_NOT_WHOLE = "is cut short, damaged or not a safetensors file"


@dataclass(frozen=True)
class TensorEntry:
    """What the header says of one tensor.

    Attributes:
        dtype: In safetensors' spelling: "F32", "BF16", "I64", ...
        shape: Its sides.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class TensorHeader:
    """A safetensors file's header.

    Attributes:
        tensors: Name -> dtype and shape.
        metadata: The texts that the file carries beside them.
    """

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def read_header(path: Path, named: str) -> TensorHeader:
    """Read and check a header.

    Args:
        path: A safetensors file.
        named: What a message calls it.

    Returns:
        The header; its tensors fill the file to the last byte and none overlap.

    Raises:
        UserError: The file cannot be read, is not a safetensors file, is shorter or longer than its
            header says, or its header names a tensor twice.
    """
    from safetensors import SafetensorError, safe_open

    with opened(path, named) as file:
        data_bytes = os.fstat(file.fileno()).st_size - 8
        head = file.read(8)
        if head == _LFS_POINTER[:8] and head + file.read(len(_LFS_POINTER) - 8) == _LFS_POINTER:
            raise UserError(
                f"{named}: is a git-lfs pointer, not the file it stands for; fetch that with: "
                "git lfs pull"
            )
        size = int.from_bytes(head, "little")
        if not 0 < size <= data_bytes:
            raise UserError(f"{named}: {_NOT_WHOLE}")
        try:
            with safe_open(path, framework="np") as safe:
                names = safe.keys()
                if len(names) > MOST_TENSORS:
                    raise UserError(f"{named}: holds {len(names)} tensors; allowed: {MOST_TENSORS}")
                slices = {name: safe.get_slice(name) for name in names}
                metadata = safe.metadata() or {}
                tensors = {
                    name: TensorEntry(part.get_dtype(), tuple(part.get_shape()))
                    for name, part in slices.items()
                }
        except (OSError, SafetensorError) as error:
            reason = reason_of(error).removeprefix("Error while deserializing header: ")
            raise UserError(f"{named}: {_NOT_WHOLE}: {reason}") from None
        # safetensors takes the last of two tensors of one name; other readers may take the first
        parse_json(file.read(size), f"{named}: is damaged: its header")
    for name, entry in tensors.items():
        if len(entry.shape) > MOST_SIDES or max(entry.shape, default=0) > LONGEST_SIDE:
            raise UserError(f"{named}: {shown(name)} has the shape {shown(list(entry.shape))}")
    return TensorHeader(tensors, metadata)


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
                kind = str(dtype).removeprefix("torch.")
                raise UserError(
                    f"{named}: {shown(name)} holds values that are not finite in {kind}"
                )
    return weights
