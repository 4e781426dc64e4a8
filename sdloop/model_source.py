"""Name -> a model that was found and checked: configs, tokenizer, weight files. Nothing is loaded.

It reads only small JSON files and needs no network library, so that a wrong model, size or
scheduler is refused at once. Weights come from safetensors alone.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from sdloop.documents import opened
from sdloop.errors import UserError, reason_of
from sdloop.model_config import (
    TextConfig,
    TokenizerConfig,
    UNetConfig,
    VaeConfig,
    explain,
    read_json,
    read_part,
)
from sdloop.tensor_file import check_weights, read_header

BUNDLED = Path(__file__).parent / "bundled"
SINGLE_FILE_LAYOUT = "stable-diffusion-v1-5/stable-diffusion-v1-5"
STEMS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
SMALL_FILES = ("model_index.json", "tokenizer/*", "scheduler/*.json", "*/config.json")
BUNDLED_SUMS = BUNDLED / "sha256.json"  # of the weights, which no one else can vouch for
SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST_TOKENIZER_BYTES = 16_000_000
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class ModelSource:
    """A model that was found and checked, with nothing loaded yet.

    Attributes:
        name: As the user gave it.
        folder: Configs and tokenizer in diffusers' layout; the weights too, unless `checkpoint`.
        checkpoint: A single-file checkpoint that holds all weights, or None.
        from_hub: Whether the weights have still to be fetched.
        text: The text encoder's config.
        unet: The UNet's config.
        vae: The VAE's config.
        scheduler: The content of scheduler_config.json.
    """

    name: str
    folder: Path
    checkpoint: Path | None
    from_hub: bool
    text: TextConfig
    unet: UNetConfig
    vae: VaeConfig
    scheduler: dict[str, Any]

    @property
    def latent_channels(self) -> int:
        """Return the channels of a latent, 4 for Stable Diffusion."""
        return self.vae.latent_channels

    @property
    def sample_size(self) -> tuple[int, int]:
        """Return (height, width) of the latents that the UNet was trained on."""
        size = self.unet.sample_size or 64
        return (size, size) if isinstance(size, int) else size

    @property
    def vae_factor(self) -> int:
        """Return how many pixels a latent covers in each direction, 8 for Stable Diffusion."""
        return 2 ** (len(self.vae.block_out_channels) - 1)


ShardName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors$")]


class _ShardIndex(BaseModel):
    """The index beside weights that are cut into several files of the same folder."""

    weight_map: Annotated[dict[str, ShardName], Field(min_length=1)]


def find(name: str, config_from: str | None = None) -> ModelSource:
    """Find a model and check that its parts are there and supported.

    Args:
        name: "bundled", a folder in diffusers' Stable Diffusion layout, a .safetensors checkpoint,
            or a hub id.
        config_from: For a checkpoint, the folder or hub id whose configs and tokenizer fit it;
            None takes Stable Diffusion 1.5's.

    Returns:
        Where its parts are and what its configs say.

    Raises:
        UserError: There is no such model, it lacks safetensors, or its layout is another one.
    """
    if name.endswith(".safetensors"):
        return _find_checkpoint(name, _path_of(name), config_from)
    path = BUNDLED if name == "bundled" else _path_of(name)
    if _is_folder(path):
        source = _read_folder(name, path, from_hub=False)
        for component in STEMS:
            weight_names(source, component)
        return source
    if HUB_ID.fullmatch(name):
        return _read_folder(name, _hub_snapshot(name, SMALL_FILES), from_hub=True)
    raise UserError(
        f"model = {name}: no such folder; allowed: bundled, a folder in diffusers' layout, "
        f"a .safetensors checkpoint, or a hub id such as {SINGLE_FILE_LAYOUT}"
    )


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


def fetch_weights(source: ModelSource, component: str, half: bool) -> None:
    """Fetch one component's safetensors from the hub into the snapshot that its folder is.

    Args:
        source: A model whose small files were fetched by `find`.
        component: "text_encoder", "unet" or "vae".
        half: Whether to prefer the half-precision variant.

    Raises:
        UserError: The hub cannot be reached.
    """
    stem = STEMS[component]
    for variant in (".fp16", "") if half else ("", ".fp16"):
        # a shard's name goes on with -00001-of-00002, so other variants stay where they are
        _hub_snapshot(
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
    if source.folder == BUNDLED:
        return json.loads(BUNDLED_SUMS.read_text(encoding="utf-8")).get(name, "listed")
    blob = file.resolve().name  # the hub's cache names large files by their content
    return blob if source.from_hub and SHA256.fullmatch(blob) else None


def _find_checkpoint(name: str, path: Path, config_from: str | None) -> ModelSource:
    """Find a single-file checkpoint, its configs in another model's folder."""
    from sdloop.single_file import check_checkpoint

    check_checkpoint(path)
    layout = config_from or SINGLE_FILE_LAYOUT
    folder = _path_of(layout)
    if not _is_folder(folder):
        try:
            folder = _hub_snapshot(layout, SMALL_FILES)
        except UserError as error:
            raise UserError(
                f"model = {name}: configs and tokenizer come from model_config_from, and {error}"
            ) from None
    return replace(_read_folder(name, folder, from_hub=False), checkpoint=path)


def _read_folder(name: str, folder: Path, from_hub: bool) -> ModelSource:
    """Read the configs and refuse what the loop cannot do."""
    text = read_part(name, folder / "text_encoder/config.json", TextConfig)
    unet = read_part(name, folder / "unet/config.json", UNetConfig)
    vae = read_part(name, folder / "vae/config.json", VaeConfig)
    scheduler = read_json(name, folder / "scheduler/scheduler_config.json")
    widths = unet.cross_attention_dim
    expected = (
        ("unet has in_channels", unet.in_channels, vae.latent_channels),
        ("unet has out_channels", unet.out_channels, vae.latent_channels),
        ("unet has cross_attention_dim", widths, text.hidden_size),
    )
    for what, given, wanted in expected:
        if given != wanted and given != (wanted,) * len(unet.block_out_channels):
            raise UserError(
                f"model = {name}: {what} = {given}; supported: {wanted}, as its other parts have"
            )
    _check_tokenizer(name, folder / "tokenizer", text)
    return ModelSource(name, folder, None, from_hub, text, unet, vae, scheduler)


def _check_tokenizer(name: str, folder: Path, text: TextConfig) -> None:
    """Refuse a tokenizer that is not there, of absurd size, or longer than the text encoder."""
    if not _is_folder(folder):
        raise UserError(f"model = {name}: has no tokenizer folder")
    config = read_part(name, folder / "tokenizer_config.json", TokenizerConfig)
    if config.model_max_length > text.max_position_embeddings:
        raise UserError(
            f"model = {name}: tokenizer has model_max_length = {config.model_max_length}; the text "
            f"encoder takes {text.max_position_embeddings} tokens"
        )
    for path in folder.iterdir():
        if path.is_file() and path.stat().st_size > LARGEST_TOKENIZER_BYTES:
            raise UserError(
                f"model = {name}: tokenizer/{path.name} is larger than "
                f"{LARGEST_TOKENIZER_BYTES} bytes"
            )


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


def _path_of(name: str) -> Path:
    """Take a name for a path."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # ~nobody
        raise UserError(f"model = {name}: {reason_of(error)}") from None


def _is_folder(path: Path) -> bool:
    """Tell whether there is such a folder; a name that no file system takes is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _hub_snapshot(name: str, patterns: tuple[str, ...]) -> Path:
    """Fetch files of a hub repository; where it cannot be asked, take them from the cache."""
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


def _sha256(path: Path) -> str:
    """Hash a file."""
    with opened(path, str(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
