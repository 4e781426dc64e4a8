"""Writing files so that no half-written file ever has its final name."""

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdloop.machine.errors import UserError, reason_of

AnyPath = str | os.PathLike[str]
MARK = ".unfinished"  # in the names of files still being written
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.*")  # two letters or more: C:// is a drive


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    The content is on the disk before the rename, so that even a power cut leaves the old file
    intact.

    Args:
        path: The final name. Its folder is made if it does not exist.

    Yields:
        A path in the same folder, with the same suffix, for the block to write to. It is removed
        if the block raises. Its name is random, so that nobody can plant a link there.

    Raises:
        OSError: The system refused to write; the error names `path`.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{MARK}{path.suffix}")
    with naming(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, instead_of: Path | None = None) -> Iterator[None]:
    """Add a path to the block's system errors; that of a full disk has none.

    Args:
        path: The path that the user knows.
        instead_of: A path that means nothing to the user; `path` is named in its place.

    Raises:
        OSError: The block's error, naming `path`.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(instead_of)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def as_path(value: AnyPath, argument: str) -> Path:
    """Take what a caller passes for a path.

    Args:
        value: A text or a path; a leading ~ stays as it is.
        argument: The argument's name, for the message.

    Returns:
        The path.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, str | os.PathLike):
        try:
            return Path(value)
        except TypeError:  # a path of bytes
            pass
    raise TypeError(f"{argument}: must be a path or a text, not {type(value).__name__}")


def is_url(name: str) -> bool:
    """Tell whether a name from the user is a URL, such as s3://bucket/prefix, and not a path."""
    return _URL.fullmatch(name) is not None


def expanded(name: str, key: str) -> Path:
    """Turn a name from the user into a path; a leading ~ stands for a home folder.

    Args:
        name: The name.
        key: The key that it was given for, for messages.

    Raises:
        UserError: The user after the ~ does not exist.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UserError(f"{key} = {name}: {reason_of(error)}") from None


def remove_unfinished(folder: Path) -> None:
    """Remove the files that a killed process left half written in a folder."""
    for path in folder.glob(f".*{MARK}*"):
        path.unlink(missing_ok=True)


def check_writable(folder: Path, key: str = "output =") -> None:
    """Refuse an output folder that cannot be made or written to, before any work is done.

    Args:
        folder: The folder; it need not exist yet.
        key: The key or option that named it, for messages.

    Raises:
        UserError: A part of its path is not a folder, or cannot be written to.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise UserError(f"{key} {folder}: {existing} is not a folder")
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise UserError(
            f"{key} {folder}: {existing} cannot be written to: {error.strerror}"
        ) from None
