"""Fetches from a hub repository what a run needs: configs and tokenizer, then weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sdloop.machine.errors import UserError
from sdloop.model.hub import Repository, Watch
from sdloop.model.hub_client import Unreachable
from sdloop.model.weight_files import STEMS, check_variant, choices, entries, no_weights

if TYPE_CHECKING:
    from sdloop.model.source import ModelSource

SMALL_FILES = (
    "model_index.json",
    "tokenizer/*",
    "scheduler/*.json",
    "*/config.json",
    "*/*.safetensors*.json",  # shard indices
)
LARGEST_SMALL_BYTES = 16_000_000


def fetch_configs(name: str, weights: bool, revision: str | None = None) -> Path:
    """Fetch a hub repository's configs and tokenizer.

    Args:
        name: The repository's id.
        weights: Whether its weights will be needed too; if it lacks them, fetch nothing.
        revision: A branch, tag or commit; None is the main branch.

    Returns:
        The folder that holds them, a snapshot in the hub's cache.

    Raises:
        UserError: The repository is out of reach or lacks weights, or a small file is too large.
        OSError: The cache cannot be written to, or the disk is full.
    """
    repository = Repository.ask(name, revision)
    if weights:
        _check_weights_are_listed(repository)
    small = [path for path in repository.files if _is_small(path)]
    for path in small:
        if repository.files[path] > LARGEST_SMALL_BYTES:
            raise UserError(f"model = {name}: {path} is larger than {LARGEST_SMALL_BYTES} bytes")
    repository.fetch(small)
    return repository.folder


def fetch_weights(
    source: ModelSource,
    half: bool,
    components: Iterable[str] = tuple(STEMS),
    watch: Watch | None = None,
) -> None:
    """Fetch a hub model's safetensors into its snapshot folder; do nothing for other models.

    Args:
        source: A model that `find` found.
        half: Whether to prefer the half-precision variant.
        components: Any of "text_encoder", "unet" and "vae".
        watch: Called with the bytes fetched so far, if there are any to fetch.

    Raises:
        UserError: The hub cannot be reached, or the download broke off.
        OSError: The cache cannot be written to, or the disk is full.
    """
    if not source.from_hub:
        return
    repository = Repository.cached(source.name, source.folder)
    check_variant(source, lambda component: _names_in(component, repository.files))
    offered: list[list[list[str]]] = []
    for component in components:
        if component == "vae" and source.vae_place is not None:
            continue
        found = choices(source, component, half, _names_in(component, repository.files))
        offered.append([[f"{component}/{name}" for name in names] for names, _ in found])
    try:
        repository.fetch((path for ways in offered for path in ways[0]), watch)
    except Unreachable:  # use another variant if the cache has it
        for ways in offered:
            here = next(filter(repository.holds, ways), None)
            if here is None or not repository.holds_whole(here):
                raise


def _check_weights_are_listed(repository: Repository) -> None:
    """Refuse a repository without a network's safetensors; say what it has instead."""
    name, files = repository.name, repository.files
    single = sorted(path for path in files if "/" not in path and path.endswith(".safetensors"))
    for component in STEMS:
        names = _names_in(component, files)
        if entries(component, False, names):
            continue
        if not repository.listed:
            raise UserError(
                f"model = {name}: the weights of its {component} are not in the hub's cache, and "
                "the hub cannot be asked"
            )
        if single and "model_index.json" not in files:
            raise UserError(
                f"model = {name}: holds single files, not diffusers' layout; download one "
                f"(hf download {name} {single[0]}) and set model=<its path>"
            )
        raise no_weights(name, component, names)


def _is_small(path: str) -> bool:
    """Tell whether a file is a config, a tokenizer file or a shard index."""
    return path.count("/") < 2 and any(map(PurePosixPath(path).match, SMALL_FILES))


def _names_in(component: str, paths: Iterable[str]) -> set[str]:
    """List the files of a component's folder."""
    start = f"{component}/"
    return {path.removeprefix(start) for path in paths if path.startswith(start)}
