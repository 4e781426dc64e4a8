"""Writing files so that none ever bears its final name half written."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdloop.machine.errors import UserError, reason_of

AnyPath = str | os.PathLike[str]
MARK = ".unfinished"  # in the names of files that are being written


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    What was written is on the disk before it gets its name, so that a cut in the power leaves the
    file as it was before, too.

    Args:
        path: The final name. Its folder is made if it is not there.

    Yields:
        A path in the same folder, with the same suffix, for the block to write to. It is removed
        if the block raises; its name cannot be foreseen, so that nobody can lay a link there.

    Raises:
        OSError: The system refused to write; it names `path`.
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
    """Let an error of the system name a path, as a full disk names none by itself.

    Args:
        path: What the user knows it by.
        instead_of: A path that means nothing to the user; `path` is named in its place.

    Raises:
        OSError: As the block's, with a path.
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


def expanded(name: str, key: str) -> Path:
    """Take a name that a user gave for a path; a leading ~ is a home folder.

    Args:
        name: The name.
        key: What it was given for.

    Raises:
        UserError: There is no such user.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UserError(f"{key} = {name}: {reason_of(error)}") from None


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing in a folder."""
    for path in folder.glob(f".*{MARK}*"):
        path.unlink(missing_ok=True)


def check_writable(folder: Path, key: str = "output =") -> None:
    """Refuse an output folder that cannot be made or written to, before any work is done.

    Args:
        folder: It need not be there yet.
        key: What the user called it.

    Raises:
        UserError: Something on its way is no folder, or must not be written to.
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
