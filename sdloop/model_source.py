"""Name -> a model that was found and checked: configs, tokenizer, weight files. Nothing is loaded.

It reads only small JSON files and needs no network library, so that a wrong model, size or
scheduler is refused at once. Weights come from safetensors alone.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdloop.errors import UserError

BUNDLED = Path(__file__).parent / "bundled"
SINGLE_FILE_LAYOUT = "stable-diffusion-v1-5/stable-diffusion-v1-5"
STEMS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
SMALL_FILES = ("model_index.json", "tokenizer/*", "scheduler/*.json", "*/config.json")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class ModelSource:
    """A model that was found and checked, with nothing loaded yet.

    Attributes:
        name: As the user gave it.
        folder: Configs and tokenizer in diffusers' layout; the weights too, unless `checkpoint`.
        checkpoint: A single-file checkpoint that holds all weights, or None.
        from_hub: Whether the weights have still to be fetched.
        scheduler: The content of scheduler_config.json.
        latent_channels: Of the VAE and the UNet, 4.
        sample_size: (height, width) of the latents that the UNet was trained on.
        vae_factor: Pixels a latent covers in each direction, 8.
    """

    name: str
    folder: Path
    checkpoint: Path | None
    from_hub: bool
    scheduler: dict[str, Any]
    latent_channels: int
    sample_size: tuple[int, int]
    vae_factor: int


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
    path = BUNDLED if name == "bundled" else Path(name).expanduser()
    if name.endswith(".safetensors"):
        return _find_checkpoint(name, path, config_from)
    if path.is_dir():
        source = _read_folder(name, path, from_hub=False)
        for component in STEMS:
            weight_files(source, component)
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
            shards = set(json.loads(index.read_text())["weight_map"].values())
            return [folder / shard for shard in sorted(shards)], variant
    raise UserError(
        f"model = {source.name}: has no {component}/{stem}.safetensors; other weight formats can "
        "carry code and are not loaded"
    )


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
    """
    return {name: _sha256(file) for name, file in _all_weight_files(source, half).items()}


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


def _find_checkpoint(name: str, path: Path, config_from: str | None) -> ModelSource:
    """Find a single-file checkpoint, its configs in another model's folder."""
    from sdloop.single_file import check_checkpoint

    check_checkpoint(path)
    layout = config_from or SINGLE_FILE_LAYOUT
    folder = Path(layout).expanduser()
    if not folder.is_dir():
        try:
            folder = _hub_snapshot(layout, SMALL_FILES)
        except UserError as error:
            raise UserError(
                f"model = {name}: configs and tokenizer come from model_config_from, and {error}"
            ) from None
    return replace(_read_folder(name, folder, from_hub=False), checkpoint=path)


def _read_folder(name: str, folder: Path, from_hub: bool) -> ModelSource:
    """Read the configs and refuse what the loop cannot do."""
    unet = _read_json(name, folder / "unet/config.json")
    vae = _read_json(name, folder / "vae/config.json")
    text = _read_json(name, folder / "text_encoder/config.json")
    scheduler = _read_json(name, folder / "scheduler/scheduler_config.json")
    if not (folder / "tokenizer").is_dir():
        raise UserError(f"model = {name}: has no tokenizer folder")
    expected = (
        ("unet", "_class_name", unet, "UNet2DConditionModel"),
        ("vae", "_class_name", vae, "AutoencoderKL"),
        ("text_encoder", "model_type", text, "clip_text_model"),
        ("unet", "in_channels", unet, vae.get("latent_channels", 4)),
        ("unet", "addition_embed_type", unet, None),
        ("unet", "class_embed_type", unet, None),
        ("vae", "shift_factor", vae, None),
    )
    for component, key, config, wanted in expected:
        given = config.get(key, wanted)
        if given != wanted:
            raise UserError(
                f"model = {name}: {component} has {key} = {given}; supported: {wanted}, "
                "the layout of Stable Diffusion 1.x and 2.x"
            )
    size = unet.get("sample_size") or 64
    height, width = (size, size) if isinstance(size, int) else size
    return ModelSource(
        name=name,
        folder=folder,
        checkpoint=None,
        from_hub=from_hub,
        scheduler=scheduler,
        latent_channels=vae.get("latent_channels", 4),
        sample_size=(height, width),
        vae_factor=2 ** (len(vae["block_out_channels"]) - 1),
    )


def _read_json(name: str, path: Path) -> dict[str, Any]:
    """Read one config of the model."""
    part = f"{path.parent.name}/{path.name}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(
            f"model = {name}: has no {part}; a model is a folder in diffusers' layout"
        ) from None
    except ValueError as error:
        raise UserError(f"model = {name}: {part} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"model = {name}: {part} holds no JSON object")
    return content


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
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"model = {name}: no such folder here, and the hub gave nothing: {reason}"
            ) from None


def _sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
