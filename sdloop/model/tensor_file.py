"""A safetensors file's header, checked before any tensor of it is read.

The format: eight bytes with the header's length, the header (JSON: name -> dtype, shape and place),
then the tensors' bytes without gaps. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sdloop.documents import opened, parse_json
from sdloop.errors import UserError, reason_of, shown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LARGEST_HEADER_BYTES = 4_000_000  # a checkpoint's 2,500 tensors take 0.4 MB
ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
WEIGHT_DTYPES = ("F32", "F16", "BF16", "F64")
Count = Annotated[int, Field(ge=0, le=2**48)]


class TensorEntry(BaseModel):
    """What the header says of one tensor; offsets count from the header's end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: str
    shape: Annotated[tuple[Count, ...], Field(max_length=8)]
    data_offsets: tuple[Count, Count]


@dataclass(frozen=True)
class TensorHeader:
    """A safetensors file's header.

    Attributes:
        tensors: Name -> dtype ("F32", ...), shape and place.
        metadata: The texts that the file carries beside them.
    """

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


_ENTRIES = TypeAdapter(dict[str, TensorEntry])
_METADATA = TypeAdapter(dict[str, str])


def read_header(path: Path, named: str) -> TensorHeader:
    """Read and check a header.

    Args:
        path: A safetensors file.
        named: What a message calls it.

    Returns:
        The header; its tensors fill the file to the last byte and none overlap.

    Raises:
        UserError: The file cannot be read, is no safetensors file, or not as long as its header
            says.
    """
    with opened(path, named) as file:
        data_bytes = os.fstat(file.fileno()).st_size - 8
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size <= min(LARGEST_HEADER_BYTES, data_bytes):
            raise UserError(f"{named}: is not a safetensors file, or cut short")
        content = file.read(size)
    values = parse_json(content, f"{named}: is not a safetensors file: its header")
    try:
        metadata = _METADATA.validate_python(values.pop("__metadata__", None) or {}, strict=True)
        tensors = _ENTRIES.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{named}: is not a safetensors file: {place}: {first['msg']}") from None
    _check_places(tensors, data_bytes - size, named)
    return TensorHeader(tensors, metadata)


def check_weights(header: TensorHeader, names: Iterable[str], named: str) -> None:
    """Refuse tensors that are no weights as they are: quantised ones, whole numbers.

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


def _check_places(tensors: Mapping[str, TensorEntry], data_bytes: int, named: str) -> None:
    """Refuse tensors that overlap, leave gaps, or are longer or shorter than their shapes."""
    end = 0
    for name, entry in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        if entry.dtype not in ITEM_BYTES:
            raise UserError(f"{named}: {shown(name)} has the unknown dtype {shown(entry.dtype)}")
        size = math.prod(entry.shape) * ITEM_BYTES[entry.dtype]
        if entry.data_offsets != (end, end + size):
            raise UserError(
                f"{named}: is damaged: {shown(name)}, {entry.dtype} {list(entry.shape)}, lies at "
                f"{list(entry.data_offsets)}, not at {[end, end + size]}"
            )
        end += size
    if end != data_bytes:
        raise UserError(f"{named}: is damaged: holds {data_bytes} bytes of tensors, not {end}")
