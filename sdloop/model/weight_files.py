"""A model's weight files: which they are, what their headers say, what their content must be.

Weights come from safetensors alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, ValidationError

from sdloop.machine.documents import opened
from sdloop.machine.errors import UserError, explain, reason_of
from sdloop.machine.tensor_file import check_weights, read_header
from sdloop.model.config_files import read_json

if TYPE_CHECKING:
    from sdloop.model.source import ModelSource

STEMS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
BUNDLED_SUMS = "sha256.json"  # of the bundled weights, beside them
SHA256 = re.compile(r"[0-9a-f]{64}")
ShardName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors$")]


class _ShardIndex(BaseModel):
    """The index beside weights that are cut into several files of the same folder."""

    weight_map: Annotated[dict[str, ShardName], Field(min_length=1)]


def weight_files(
    source: ModelSource, component: str, half: bool = False
) -> tuple[list[Path], str | None]:
    """Find a component's safetensors.

    Args:
        source: A model in diffusers' layout.
        component: "text_encoder", "unet" or "vae".
        half: Whether to prefer the half-precision variant that some models have.

    Returns:
        The file, or its shards, and the variant: "fp16" or None.

    Raises:
        UserError: There are none, or only in formats that can carry code.
    """
    folder, stem = source.folder / component, STEMS[component]
    for variant in ("fp16", None) if half else (None, "fp16"):
        infix = f".{variant}" if variant else ""
        whole = folder / f"{stem}{infix}.safetensors"
        index = folder / f"{stem}.safetensors.index{infix}.json"
        if whole.is_file():
            return [whole], variant
        if index.is_file():
            return [folder / shard for shard in _shards_of(source.name, index)], variant
    raise UserError(
        f"model = {source.name}: has no {component}/{stem}.safetensors; other weight formats can "
        "carry code and are not loaded"
    )


def weight_names(
    source: ModelSource, component: str, half: bool = False
) -> dict[Path, dict[str, tuple[int, ...]]]:
    """Read the headers of a component's safetensors.

    Args:
        source: A model in diffusers' layout.
        component: "text_encoder", "unet" or "vae".
        half: As of `weight_files`.

    Returns:
        File -> name of a weight -> its shape.

    Raises:
        UserError: As of `weight_files`, or a file is damaged, or holds what are no weights.
    """
    found: dict[Path, dict[str, tuple[int, ...]]] = {}
    for path in weight_files(source, component, half)[0]:
        named = f"model = {source.name}: {component}: {path.name}"
        header = read_header(path, named)
        # text encoders of old carry their positions, 0 to 76, as whole numbers
        names = [name for name in header.tensors if not name.endswith(".position_ids")]
        check_weights(header, names, named)
        found[path] = {name: header.tensors[name].shape for name in names}
    return found


def fetch_weights(
    source: ModelSource, half: bool, components: Iterable[str] = tuple(STEMS)
) -> None:
    """Fetch safetensors into the snapshot that a model's folder is, if it comes from the hub.

    Args:
        source: A model whose small files were fetched by `find`.
        half: Whether to prefer the half-precision variant.
        components: Of "text_encoder", "unet" and "vae".

    Raises:
        UserError: The hub cannot be reached.
    """
    for component in components if source.from_hub else ():
        _fetch_component(source, component, half)


def _fetch_component(source: ModelSource, component: str, half: bool) -> None:
    """Fetch one component's safetensors."""
    stem = STEMS[component]
    for variant in (".fp16", "") if half else ("", ".fp16"):
        # a shard's name goes on with -00001-of-00002, so other variants stay where they are
        hub_snapshot(
            source.name,
            (
                f"{component}/{stem}{variant}.safetensors*",
                f"{component}/{stem}{variant}-*.safetensors",
            ),
        )
        if list((source.folder / component).glob(f"{stem}{variant}*.safetensors")):
            return


def hash_weights(source: ModelSource, half: bool) -> dict[str, str]:
    """Name every file that `load` takes weights from by its content.

    Args:
        source: The loaded model.
        half: Whether it was loaded in half precision, which has files of its own in some models.

    Returns:
        SHA-256 in hexadecimal by file name, relative to the model's folder.

    Raises:
        UserError: The bundled model's weights, or some that came from the hub, are not what was
            published.
    """
    files = _all_weight_files(source, half)
    sums = {name: _sha256(file) for name, file in files.items()}
    for name, found in sums.items():
        expected = _expected_sum(source, name, files[name])
        if expected is not None and found != expected:
            raise UserError(
                f"model = {source.name}: {name} is damaged: its sha256 is {found}, not {expected}"
            )
    return sums


def stamp_weights(source: ModelSource, half: bool) -> dict[str, list[int]]:
    """Name every file that `load` takes weights from by what can be had without reading it.

    Args:
        source: The model; its weights were fetched.
        half: As of `hash_weights`.

    Returns:
        Size in bytes and time of the last change in ns by file name.
    """
    stats = {name: file.stat() for name, file in _all_weight_files(source, half).items()}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _all_weight_files(source: ModelSource, half: bool) -> dict[str, Path]:
    """List the files of all three networks by their names in the model's folder."""
    if source.checkpoint is not None:
        return {source.checkpoint.name: source.checkpoint}
    return {
        file.relative_to(source.folder).as_posix(): file
        for component in STEMS
        for file in weight_files(source, component, half)[0]
    }


def _expected_sum(source: ModelSource, name: str, file: Path) -> str | None:
    """Return what a file's hash must be, where that is known."""
    if source.name == "bundled":
        return json.loads((source.folder / BUNDLED_SUMS).read_text(encoding="utf-8"))[name]
    blob = file.resolve().name  # the hub's cache names large files by their content
    return blob if source.from_hub and SHA256.fullmatch(blob) else None


def hub_snapshot(name: str, patterns: tuple[str, ...]) -> Path:
    """Fetch files of a hub repository; where it cannot be asked, take them from the cache.

    Args:
        name: The repository's id.
        patterns: Of the files.

    Returns:
        The folder that holds them.

    Raises:
        UserError: Neither the hub nor the cache has them.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except Exception as error:  # the hub's client raises its own, HTTP and OS errors
        try:
            return Path(
                snapshot_download(name, allow_patterns=list(patterns), local_files_only=True)
            )
        except Exception:
            raise UserError(
                f"model = {name}: no such folder here, and the hub gave nothing: {reason_of(error)}"
            ) from None


def _shards_of(name: str, index: Path) -> list[str]:
    """List the files that an index names, all beside it."""
    try:
        known = _ShardIndex.model_validate(read_json(name, index))
    except ValidationError as error:
        raise UserError(
            f"model = {name}: {index.parent.name}/{index.name} has {explain(error)}; allowed are "
            "names of .safetensors files in the same folder"
        ) from None
    return sorted(set(known.weight_map.values()))


def _sha256(path: Path) -> str:
    """Hash a file."""
    with opened(path, str(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
