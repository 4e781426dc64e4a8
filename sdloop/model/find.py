"""Name -> a model that was found and checked: configs, tokenizer, weight files. Nothing is loaded.

It reads only small JSON files and needs no network library, so that a wrong model, size or
scheduler is refused at once. Weights come from safetensors alone.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdloop.machine.errors import UserError
from sdloop.machine.files import AnyPath, as_path, expanded
from sdloop.model.config_files import VaeConfig, read_part
from sdloop.model.sd import STABLE_DIFFUSION
from sdloop.model.source import ModelSource
from sdloop.model.weight_files import check_variant, weight_names

BUNDLED = Path(__file__).parents[1] / "bundled"
SINGLE_FILE_LAYOUT, SINGLE_FILE_WIDTH = "stable-diffusion-v1-5/stable-diffusion-v1-5", 768
SD2_LAYOUTS = "stabilityai/stable-diffusion-2-1 (predicts v) or -2-1-base (predicts epsilon)"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
ADDRESS = re.compile(r"https?://.*|hf://.*|(huggingface\.co|hf\.co)/.*")
PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


def find(
    name: AnyPath,
    config_from: AnyPath | None = None,
    as_saved: bool = False,
    variant: str | None = None,
    vae: AnyPath | None = None,
) -> ModelSource:
    """Find a model and check that its parts are there and supported.

    Args:
        name: "bundled", a folder in diffusers' Stable Diffusion layout, a .safetensors checkpoint,
            a hub id, or the address of its page.
        config_from: For a checkpoint, the folder, hub id or address whose configs and tokenizer fit
            it; None takes Stable Diffusion 1.5's.
        as_saved: Take the configs to the letter, where StableDiffusionPipeline corrects them on
            loading: steps_offset, clip_sample, the sample_size of a UNet from before diffusers 0.9.
        variant: Which weight files to prefer, as in diffusers, such as "fp16" or "non_ema"; parts
            that have none such take their others.
        vae: A folder or a .safetensors file that holds another VAE; None takes the model's own.

    Returns:
        Where its parts are and what its configs say.

    Raises:
        UserError: There is no such model, it lacks safetensors, or its layout is another one.
        TypeError: A name is no text and no path.
    """
    source = _find(_as_name(name, "name"), config_from, as_saved, variant, vae is not None)
    if vae is not None:
        source = _with_vae(source, _as_name(vae, "vae"))
    if source.checkpoint is None and not source.from_hub:
        for component in source.family.parts:
            weight_names(source, component)
    return source


def _find(
    name: str, config_from: AnyPath | None, as_saved: bool, variant: str | None, has_vae: bool
) -> ModelSource:
    """Find a model, whatever its name is."""
    config_from = None if config_from is None else _as_name(config_from, "config_from")
    if ADDRESS.fullmatch(name):
        return _find_on_hub(name, as_saved, variant)
    path = BUNDLED if name == "bundled" else expanded(name, "model")
    if name.lower().endswith(".safetensors"):
        if variant is not None:
            raise UserError(f"model_variant = {variant}: model = {name} is one file")
        parts = [part for part in STABLE_DIFFUSION.parts if part != "vae" or not has_vae]
        return _find_checkpoint(name, path, config_from, as_saved, parts)
    if _is_folder(path):
        source = replace(STABLE_DIFFUSION.check(name, path, as_saved), variant=variant)
        check_variant(source, lambda part: [file.name for file in (path / part).glob("*")])
        return source
    if _is_file(path):
        raise _no_checkpoint(name, path)
    if HUB_ID.fullmatch(name):
        return _find_on_hub(name, as_saved, variant)
    raise UserError(
        f"model = {name}: no such folder; allowed: bundled, a folder in diffusers' layout, "
        f"a .safetensors checkpoint, or a hub id such as {SINGLE_FILE_LAYOUT}"
    )


def _as_name(value: AnyPath, argument: str) -> str:
    """Take a path for its text."""
    return value if isinstance(value, str) else str(as_path(value, argument))


def _find_on_hub(name: str, as_saved: bool, variant: str | None) -> ModelSource:
    """Find a repository of the hub by its id or its address."""
    repository, folder = _fetch_configs(name, weights=True)
    source = STABLE_DIFFUSION.check(repository, folder, as_saved)
    return replace(source, from_hub=True, variant=variant)


def _fetch_configs(name: str, weights: bool) -> tuple[str, Path]:
    """Fetch a hub repository's small files; returns its id, and the folder that holds them."""
    from sdloop.model.fetch import fetch_configs
    from sdloop.model.hub_client import read_address

    if not ADDRESS.fullmatch(name) and not HUB_ID.fullmatch(name):
        raise UserError(f"{name}: no such folder here, and no hub id such as {SINGLE_FILE_LAYOUT}")
    repository, revision = read_address(name) if ADDRESS.fullmatch(name) else (name, None)
    return repository, fetch_configs(repository, weights, revision)


def _no_checkpoint(name: str, path: Path) -> UserError:
    """Say what to do with a file that is no .safetensors checkpoint."""
    if path.suffix.lower() not in PICKLED:
        return UserError(
            f"model = {name}: is a file; allowed: a folder in diffusers' layout, or a .safetensors "
            "checkpoint"
        )
    return UserError(
        f"model = {name}: pickled checkpoints can carry code and are not loaded; convert it once: "
        f'weights = torch.load("{path.name}", weights_only=True); weights = '
        'weights.get("state_dict", weights); safetensors.torch.save_file({name: '
        "weight.clone().contiguous() for name, weight in weights.items() "
        "if isinstance(weight, torch.Tensor)}, "
        f'"{path.stem}.safetensors")'
    )


def _find_checkpoint(
    name: str, path: Path, config_from: str | None, as_saved: bool, parts: Sequence[str]
) -> ModelSource:
    """Find a single-file checkpoint, its configs in another model's folder."""
    from sdloop.model.single_file import check_checkpoint, context_width

    width = context_width(check_checkpoint(path, parts)["unet"])
    if config_from is None and width not in (SINGLE_FILE_WIDTH, None):
        example = SD2_LAYOUTS if width == 1024 else "a folder or hub id"
        raise UserError(
            f"model = {name}: attends to a text {width} wide, so it is not of Stable Diffusion 1.x;"
            f" say model_config_from=<the model whose configs it has>: {example}"
        )
    layout = config_from or SINGLE_FILE_LAYOUT
    folder = expanded(layout, "model_config_from")
    if not _is_folder(folder):
        try:
            folder = _fetch_configs(layout, weights=False)[1]
        except UserError as error:
            raise UserError(
                f"model = {name}: configs and tokenizer come from model_config_from, and {error}"
            ) from None
    source = replace(STABLE_DIFFUSION.check(name, folder, as_saved), checkpoint=path)
    if width not in (source.text.hidden_size, None):
        raise UserError(
            f"model = {name}: attends to a text {width} wide; the text encoder of "
            f"model_config_from = {layout} makes one {source.text.hidden_size} wide"
        )
    return source


def _with_vae(source: ModelSource, vae: str) -> ModelSource:
    """Let a model take its VAE from another place."""
    from sdloop.model.single_file import check_vae_file

    place, config = expanded(vae, "vae"), source.vae
    if _is_file(place):
        check_vae_file(place, f"vae = {vae}")
    elif _is_folder(place):
        place = place / "vae" if _is_folder(place / "vae") else place
        config = read_part(vae, place / "config.json", VaeConfig)
    else:
        raise UserError(
            f"vae = {vae}: no such folder or file; allowed: a VAE's folder, a model's, or a "
            ".safetensors file; one of the hub comes by: hf download <id> --local-dir <folder>"
        )
    if config.latent_channels != source.latent_channels:
        raise UserError(
            f"vae = {vae}: has latent_channels = {config.latent_channels}; the model has "
            f"{source.latent_channels}"
        )
    return replace(source, vae=config, vae_place=place)


def _is_file(path: Path) -> bool:
    """Tell whether there is such a file; a name that no file system takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    """Tell whether there is such a folder; a name that no file system takes is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
