"""Name -> a model that was found and checked: configs, tokenizer, weight files. Nothing is loaded.

It reads only small JSON files and needs no network library, so that a wrong model, size or
scheduler is refused at once. Weights come from safetensors alone.
"""

import re
from dataclasses import replace
from pathlib import Path

from sdloop.machine.errors import UserError, reason_of
from sdloop.model.sd import STABLE_DIFFUSION
from sdloop.model.source import ModelSource
from sdloop.model.weight_files import hub_snapshot, weight_names

BUNDLED = Path(__file__).parents[1] / "bundled"
SINGLE_FILE_LAYOUT = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SMALL_FILES = ("model_index.json", "tokenizer/*", "scheduler/*.json", "*/config.json")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


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
        source = STABLE_DIFFUSION.check(name, path)
        for component in STABLE_DIFFUSION.parts:
            weight_names(source, component)
        return source
    if HUB_ID.fullmatch(name):
        source = STABLE_DIFFUSION.check(name, hub_snapshot(name, SMALL_FILES))
        return replace(source, from_hub=True)
    raise UserError(
        f"model = {name}: no such folder; allowed: bundled, a folder in diffusers' layout, "
        f"a .safetensors checkpoint, or a hub id such as {SINGLE_FILE_LAYOUT}"
    )


def _find_checkpoint(name: str, path: Path, config_from: str | None) -> ModelSource:
    """Find a single-file checkpoint, its configs in another model's folder."""
    from sdloop.model.single_file import check_checkpoint

    check_checkpoint(path)
    layout = config_from or SINGLE_FILE_LAYOUT
    folder = _path_of(layout)
    if not _is_folder(folder):
        try:
            folder = hub_snapshot(layout, SMALL_FILES)
        except UserError as error:
            raise UserError(
                f"model = {name}: configs and tokenizer come from model_config_from, and {error}"
            ) from None
    return replace(STABLE_DIFFUSION.check(name, folder), checkpoint=path)


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
