"""What a trajectory.safetensors may hold, told from its header and its facts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sdloop.machine.documents import parse_json
from sdloop.machine.errors import UserError, shown
from sdloop.machine.tensor_file import TensorHeader

FORMAT_VERSION = 5
READABLE = {3: "I64", 4: "F64", 5: "F64"}  # format version -> the dtype of its timesteps
METADATA_KEY = "sdloop"
REQUIRED = ("latents", "z0_hat", "timesteps")
OPTIONAL = ("guidance", "guidance_factor", "guidance_scales", "seeds")
DROPPED = ("eps_uncond", "eps_cond")  # older files hold them; they follow from the others
CAPTURED = re.compile(r"attention_([1-9]\d{0,4})x([1-9]\d{0,4})")  # height, width of a map
MOST_TOKENS = 4096


def digest_of(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Hash facts and tensors: their names, dtypes, shapes and bytes."""
    digest = hashlib.sha256(json.dumps(facts).encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy())  # type: ignore[arg-type]
    return digest.hexdigest()


def read_facts(path: Path, header: TensorHeader) -> dict[str, Any]:
    """Read the facts beside the tensors; they must be spelled exactly as `save` writes them."""
    text = header.metadata.get(METADATA_KEY, "{}")
    facts = parse_json(text, f"{path}: is damaged: its metadata")
    version = facts.get("format_version")
    if type(version) is not int or version not in READABLE:
        raise UserError(
            f"{path}: format_version = {shown(version)}; this version of sdloop reads "
            f"{' and '.join(map(str, READABLE))}"
        )
    if json.dumps(facts) != text or not isinstance(facts.get("config"), dict):
        raise UserError(f"{path}: is damaged: its metadata is not what sdloop writes")
    return facts


def check_header(
    path: Path, header: TensorHeader, latents_shape: tuple[int, ...] | None, times_dtype: str
) -> None:
    """Refuse names, shapes and dtypes that no run has."""
    entries = header.tensors
    for name in REQUIRED:
        if name not in entries:
            raise UserError(f"{path}: has no {name}")
    frames, *inner = latents_shape or entries["latents"].shape or (0,)
    rows = frames - 1
    if latents_shape is None and (rows < 1 or len(inner) != 3 or 0 in inner):
        raise UserError(f"{path}: latents is {list(entries['latents'].shape)}: not a run's shape")
    steps = ("F32", (rows, *inner))
    expected = {"latents": ("F32", (frames, *inner)), "timesteps": (times_dtype, (rows,))}
    expected |= dict.fromkeys(("z0_hat", "guidance", *DROPPED), steps)
    expected["guidance_factor"] = ("F32", (rows,))
    expected |= {"guidance_scales": ("F64", (rows,)), "seeds": ("I64", (rows,))}
    expected |= _expected_captures(header, rows)
    strange = [name for name in entries if name not in expected]
    if strange:
        raise UserError(f"{path}: holds {shown(strange[0])}, which is not part of a run")
    for name, (dtype, shape) in expected.items():
        entry = entries.get(name)
        if entry is not None and (entry.dtype, entry.shape) != (dtype, shape):
            raise UserError(
                f"{path}: {name} is {entry.dtype} {list(entry.shape)}, not {dtype} {list(shape)}"
            )


def captures_of(header: TensorHeader) -> list[str]:
    """Name the maps that a file holds, the finest first."""
    sizes = {name: _size_of(name) for name in header.tensors if CAPTURED.fullmatch(name)}
    return sorted(sizes, key=lambda name: sizes[name], reverse=True)


def check_words(path: Path, words: object, header: TensorHeader) -> list[tuple[str, list[int]]]:
    """Refuse words whose tokens the maps do not have.

    Args:
        path: The file, for messages.
        words: What its facts say: a list of [text, [token, ...]].
        header: The file's, checked.

    Returns:
        The words.
    """
    names = captures_of(header)
    tokens = header.tensors[names[0]].shape[1] if names else 0
    if isinstance(words, list) and all(_is_word(each, tokens) for each in words):
        return [(text, numbers) for text, numbers in words]
    raise UserError(f"{path}: is damaged: its words are not those of its maps")


def _is_word(word: object, tokens: int) -> bool:
    """Tell whether this is a text with the numbers of tokens that there are."""
    if not isinstance(word, list) or len(word) != 2 or not isinstance(word[0], str):
        return False
    numbers = word[1]
    return isinstance(numbers, list) and all(
        type(each) is int and 0 <= each < tokens for each in numbers
    )


def _expected_captures(
    header: TensorHeader, rows: int
) -> dict[str, tuple[str, tuple[int, int, int, int]]]:
    """Return the dtype and shape that each of a file's maps must have; all have as many tokens."""
    names = captures_of(header)
    shapes = [header.tensors[name].shape for name in names]
    tokens = shapes[0][1] if shapes and len(shapes[0]) == 4 else 0
    if not 1 <= tokens <= MOST_TOKENS:
        return {}
    return {name: ("F16", (rows, tokens, *_size_of(name))) for name in names}


def _size_of(name: str) -> tuple[int, int]:
    """Return the (height, width) that the name of maps says."""
    found = CAPTURED.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else (0, 0)
