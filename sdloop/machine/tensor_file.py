"""A safetensors file's header, checked before any of its tensors is read.

The format: eight bytes for the header's length, the header (JSON: name -> dtype, shape and place),
then the tensors' bytes without gaps. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdloop.machine.documents import opened, parse_json
from sdloop.machine.errors import UserError, reason_of, shown

MOST_TENSORS = 20_000  # a checkpoint has some 2,500
MOST_SIDES, LONGEST_SIDE = 8, 2**48
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_NOT_WHOLE = "is cut short, damaged or not a safetensors file"


@dataclass(frozen=True)
class TensorEntry:
    """What the header says about one tensor.

    Attributes:
        dtype: In safetensors' spelling: "F32", "BF16", "I64", ...
        shape: The length of each dimension.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class TensorHeader:
    """A safetensors file's header.

    Attributes:
        tensors: Name -> dtype and shape.
        metadata: The strings that the file holds beside the tensors.
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
                f"{named}: is a git-lfs pointer, not the file itself; fetch that with: git lfs pull"
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
        # of two tensors with one name safetensors takes the last, other readers may take the first
        parse_json(file.read(size), f"{named}: is damaged: its header")
    for name, entry in tensors.items():
        if len(entry.shape) > MOST_SIDES or max(entry.shape, default=0) > LONGEST_SIDE:
            raise UserError(f"{named}: {shown(name)} has the shape {shown(list(entry.shape))}")
    return TensorHeader(tensors, metadata)
