"""Keeps the hub client silent, and turns its errors into one line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from sdloop.machine.errors import UserError, reason_of


class Unreachable(UserError):
    """The hub cannot be asked, and its cache does not hold what is needed."""


def read_address(name: str) -> tuple[str, str | None]:
    """Parse the URL of a repository's page, or hf://owner/name.

    Args:
        name: The config's `model`.

    Returns:
        The repository's id, and the revision or None for the main branch.

    Raises:
        UserError: It is the address of something else.
    """
    from huggingface_hub import parse_hf_uri
    from huggingface_hub.errors import HfUriError

    try:
        place = parse_hf_uri(name.removesuffix(".git"))
    except HfUriError as error:
        raise UserError(f"model = {name}: {reason_of(error)}") from None
    if place.type != "model":
        raise UserError(f"model = {name}: is a {place.type} of the hub, not a model")
    if place.path_in_repo.endswith(".safetensors"):
        raise UserError(
            f"model = {name}: is one file of a repository; download it "
            f"(hf download {place.id} {place.path_in_repo}) and set model=<its path>"
        )
    return place.id, place.revision


class HiddenBar(tqdm):
    """A progress bar for the hub client that is never shown."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as tqdm's
        """Take whatever tqdm takes."""
        options.pop("name", None)
        super().__init__(*arguments, **options | {"disable": True})


@contextmanager
def silence() -> Iterator[None]:
    """Keep the hub client from writing to stderr; errors are raised anyway.

    Only its logger's own handlers are muted within the block, not the user's.
    """

    def shut(record: logging.LogRecord) -> bool:
        return False

    handlers = list(logging.getLogger("huggingface_hub").handlers)
    for handler in handlers:
        handler.addFilter(shut)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(shut)


def error_for(error: Exception, name: str, path: str | None, key: str = "model") -> Exception:
    """Say in one line why a repository, named by a config's key, or its file cannot be fetched."""
    from huggingface_hub import constants, errors

    causes: list[BaseException] = [error]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    nowhere = f"{key} = {name}: " + (f"{path}: " if path else "no such folder here, and ")
    if isinstance(error, errors.HFValidationError):
        return UserError(f"{nowhere}not a hub id: {reason_of(error)}")
    if isinstance(error, errors.GatedRepoError):
        return UserError(
            f"{key} = {name}: access is gated: accept the terms at "
            f"{constants.ENDPOINT}/{name}, then log in (hf auth login)"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(
            f"{nowhere}the hub has no such repository, or it is private (hf auth login)"
        )
    if any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in causes):
        return Unreachable(
            f"{nowhere}not in the hub's cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE is set"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return Unreachable(f"{nowhere}the hub cannot be reached: {reason_of(causes[-1])}")
    if isinstance(error, errors.HfHubHTTPError):
        return UserError(f"{nowhere}the hub refused: {reason_of(error)}")
    is_line = isinstance(error, ConnectionError | TimeoutError)
    if isinstance(error, OSError) and error.errno is not None and not is_line:
        return OSError(error.errno, error.strerror, error.filename or constants.HF_HUB_CACHE)
    return UserError(
        f"{key} = {name}: the download of {path or 'its listing'} was interrupted "
        f"({reason_of(error)}); run the same command again to fetch the rest"
    )
