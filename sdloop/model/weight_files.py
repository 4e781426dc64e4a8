"""A model's weight files: which they are, what their headers say, what their content must be.

Weights come from safetensors alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, ValidationError

from sdloop.machine.documents import opened
from sdloop.machine.errors import UserError, explain
from sdloop.machine.tensor_file import read_header
from sdloop.model.config_files import read_json
from sdloop.model.weights import check_weights

if TYPE_CHECKING:
    from sdloop.model.source import ModelSource

STEMS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
BUNDLED_SUMS = "sha256.json"  # of the bundled weights, beside them
VARIANTS = (None, "fp16", "non_ema")  # by preference
VARIANTS_HALF = ("fp16", None, "non_ema")
PICKLED = (".bin", ".ckpt", ".pt", ".pth")
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
        The file, or its shards, and the variant: "fp16", "non_ema" or None.

    Raises:
        UserError: There are none, only some of the shards, or only formats that can carry code.
    """
    folder = source.folder_of(component)
    here = {path.name for path in folder.glob("*") if path.is_file()}
    found = choices(source, component, half, here)
    if source.from_hub:  # its cache may hold one variant of several
        found = [choice for choice in found if here.issuperset(choice[0])] or found
    names, variant = found[0]
    lost = sorted(set(names) - here)
    if lost:
        raise UserError(
            f"model = {source.name}: {component}/{lost[0]} is not there, though an index names it"
        )
    return [folder / name for name in names], variant


def entries(
    component: str, half: bool, names: Collection[str], wanted: str | None = None
) -> list[tuple[str, str | None]]:
    """List a component's variants by preference, each as the file to begin at.

    Where a variant is there whole and in shards, the libraries differ: diffusers reads the shards
    (ModelMixin.from_pretrained), transformers the whole.

    Args:
        component: "text_encoder", "unet" or "vae".
        half: Whether to prefer the half-precision variant that some models have.
        names: Of the files in the component's folder.
        wanted: The variant that is asked for; where a component has it, there is no other choice.

    Returns:
        (a weight file or the index of its shards, "fp16", "non_ema" or None), the preferred first.
    """
    stem = STEMS[component]
    found = []
    for variant in (*([wanted] if wanted else []), *(VARIANTS_HALF if half else VARIANTS)):
        infix = f".{variant}" if variant else ""
        whole = f"{stem}{infix}.safetensors"
        indices = [f"{stem}.safetensors.index{infix}.json", f"{stem}.safetensors{infix}.index.json"]
        order = [whole, *indices] if component == "text_encoder" else [*indices, whole]
        found += [(name, variant) for name in order if name in names][:1]
    return [choice for choice in found if choice[1] == wanted and wanted] or found


def choices(
    source: ModelSource, component: str, half: bool, names: Collection[str]
) -> list[tuple[list[str], str | None]]:
    """List a component's variants by preference, each as its files.

    Args:
        source: A model in diffusers' layout; the indices of shards are in its folder.
        component: "text_encoder", "unet" or "vae".
        half: Whether to prefer the half-precision variant that some models have.
        names: Of the files in the component's folder, or of those that the hub has for it.

    Returns:
        (the weight file or its shards, "fp16", "non_ema" or None), the preferred first.

    Raises:
        UserError: There are none, or an index is damaged.
    """
    folder = source.folder_of(component)
    found = [
        (_shards_of(source.name, folder / name) if name.endswith(".json") else [name], variant)
        for name, variant in entries(component, half, names, source.variant)
    ]
    if not found:
        raise no_weights(source.name, component, names)
    return found


def check_variant(source: ModelSource, names_of: Callable[[str], Collection[str]]) -> None:
    """Refuse a variant that no part of a model has; those that lack it take their other files.

    Args:
        source: The model.
        names_of: Component -> names of its files.

    Raises:
        UserError: It has none of the variant that is asked for.
    """
    if source.variant is None:
        return
    for component in source.family.parts:
        for _, variant in entries(component, False, names_of(component), source.variant):
            if variant == source.variant:
                return
    raise UserError(
        f"model_variant = {source.variant}: model = {source.name} has no weights of that variant "
        f"(such as unet/{STEMS['unet']}.{source.variant}.safetensors)"
    )


def no_weights(name: str, component: str, files: Iterable[str]) -> UserError:
    """Say that a model's component has no safetensors, and what it has instead."""
    pickled = sorted(file for file in files if file.endswith(PICKLED))
    there = f" ({component}/{pickled[0]})" if pickled else ""
    return UserError(
        f"model = {name}: has no {component}/{STEMS[component]}.safetensors; other weight formats"
        f"{there} can carry code and are not loaded"
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


def hash_weights(
    source: ModelSource, half: bool, components: Iterable[str] = tuple(STEMS)
) -> dict[str, str]:
    """Name every file that `load` takes weights from by its content.

    Args:
        source: The loaded model.
        half: Whether it was loaded in half precision, which has files of its own in some models.
        components: Of which networks.

    Returns:
        SHA-256 in hexadecimal by file name, relative to the model's folder.

    Raises:
        UserError: The bundled model's weights, or some that came from the hub, are not what was
            published.
    """
    files = _all_weight_files(source, half, components)
    sums = {name: _sha256(file) for name, file in files.items()}
    for name, found in sums.items():
        expected = _expected_sum(source, name, files[name])
        if expected is not None and found != expected:
            cure = f"; remove {files[name].resolve()}, and it is fetched anew"
            raise UserError(
                f"model = {source.name}: {name} is damaged: its sha256 is {found}, not {expected}"
                + (cure if source.from_hub else "")
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


def _all_weight_files(
    source: ModelSource, half: bool, components: Iterable[str] = tuple(STEMS)
) -> dict[str, Path]:
    """List the files of networks by their names in the model's folder."""
    found: dict[str, Path] = {}
    for component in components:
        single = source.file_of(component)
        if single is not None:
            elsewhere = "vae: " if single == source.vae_place else ""
            found[elsewhere + single.name] = single
            continue
        for file in weight_files(source, component, half)[0]:
            found[f"{component}/{file.name}"] = file
    return found


def _expected_sum(source: ModelSource, name: str, file: Path) -> str | None:
    """Return what a file's hash must be, where that is known."""
    if source.name == "bundled":
        return json.loads((source.folder / BUNDLED_SUMS).read_text(encoding="utf-8"))[name]
    blob = file.resolve().name  # the hub's cache names large files by their content
    return blob if source.from_hub and SHA256.fullmatch(blob) else None


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
