"""A run's folder while a process works in it: who may, what is there, what may be replaced."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from sdloop.job.config import dump_config
from sdloop.job.config_file import check_values, read_values
from sdloop.job.folder import (
    CONFIG_FILE,
    MANIFEST_FILE,
    PROGRESS_FILE,
    TRAJECTORY_FILE,
    RunFiles,
)
from sdloop.machine.documents import parse_json, read_file
from sdloop.machine.errors import UserError
from sdloop.machine.files import check_writable, remove_unfinished
from sdloop.show.file_names import DIFFERENCES_FOLDER, FRAMES_FOLDER

if TYPE_CHECKING:
    from sdloop.job.config import RunConfig
    from sdloop.job.plan import Plan

LOCK_FILE = ".lock"
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
# every run's config holds these, a user's hardly ever all
WRITTEN_KEYS = {
    *("prompt", "negative_prompt", "model", "seed", "height", "width", "guidance_scale"),
    *("scheduler", "device", "dtype", "decode", "difference", "measure", "export"),
}


@contextmanager
def occupy(folder: Path, key: str = "output =") -> Iterator[None]:
    """Lock a run's folder for this process, and remove what a killed one left half written.

    Args:
        folder: Created if missing, and then removed again if it stays empty.
        key: The key or option that named it, for messages.

    Raises:
        UserError: The folder cannot be written to, another process holds it, or its file system
            has no locks.
    """
    check_writable(folder, key)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{key} {folder}: another process is working there; wait for it or use another "
                "folder"
            ) from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise
            raise UserError(
                f"{key} {folder}: its file system has no locks (flock), by which another process "
                "is kept out; use a folder on another one"
            ) from None
        _tidy(folder)
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows cannot remove an open file; an empty one stays
                (folder / LOCK_FILE).unlink()
            lock.release()
        if is_new:
            with suppress(OSError):  # unless something was written
                folder.rmdir()


def _tidy(folder: Path) -> None:
    """Remove what a killed process left half written, and links that lead out of the folder."""
    remove_unfinished(folder)
    for name in (FRAMES_FOLDER, DIFFERENCES_FOLDER):
        if (folder / name).is_symlink():  # pictures would be written, and removed, elsewhere
            (folder / name).unlink()
        remove_unfinished(folder / name)


def check_replaceable(plan: Plan) -> None:
    """Never lay a run over another one, finished or not, that the user did not give up.

    Args:
        plan: The run's; its folder is looked at, if it is there.

    Raises:
        UserError: The folder holds something else.
    """
    from sdloop.job.progress import read_facts

    folder = plan.folder
    if folder.exists() and not holds_config(folder, plan.config):
        if holds_run(folder):
            raise _occupied(folder, f"holds a run of another config{_elsewhere(folder, plan)}")
        if any(path.name not in (LOCK_FILE, PROGRESS_FILE) for path in folder.iterdir()):
            raise UserError(
                f"output = {folder}: holds files that are no run; use another folder or --overwrite"
            )
    unfinished = read_facts(folder / PROGRESS_FILE)
    if unfinished and unfinished.get("config") != plan.identity:
        raise _occupied(folder, "holds an unfinished run of another config")


def _elsewhere(folder: Path, plan: Plan) -> str:
    """Name device and dtype where they alone differ, as "auto" may take others than it did."""
    saved, now = _saved_config(folder), plan.config
    if saved is None:
        return ""
    ours = {"device": now.device, "dtype": now.dtype}
    if saved.model_copy(update={**ours, "output": now.output}) != now:
        return ""
    then = f"device={saved.device} dtype={saved.dtype}"
    return f", made with {then}; this one has device={now.device} dtype={now.dtype}"


def check_overwritable(plan: Plan) -> None:
    """Never lay a run over the user's own files.

    Args:
        plan: The run's; its folder is checked.

    Raises:
        UserError: The folder holds no run, but files with names that this run writes.
    """
    folder = plan.folder
    if holds_run(folder):
        return
    written = RunFiles.of_config(folder, plan.config, len(plan.table)).all
    for path in (folder / CONFIG_FILE, folder / MANIFEST_FILE, folder / TRAJECTORY_FILE, *written):
        if path.exists():
            raise UserError(
                f"output = {folder}: holds {path.relative_to(folder)}, which no run wrote; use "
                "another folder (output=...)"
            )


def holds_run(folder: Path) -> bool:
    """Tell whether a folder's config was written by a run, with every value in it."""
    return _saved_config(folder) is not None


def is_under_way(plan: Plan) -> bool:
    """Tell whether a run's folder holds this very run, but not its last file, the manifest."""
    return holds_config(plan.folder, plan.config) and not (plan.folder / MANIFEST_FILE).exists()


def is_whole(plan: Plan) -> bool:
    """Tell whether a run's folder holds this very run, finished and with all its files."""
    folder = plan.folder
    if not holds_config(folder, plan.config):
        return False
    exported = RunFiles.of_config(folder, plan.config, len(plan.table)).all
    return all(
        path.is_file() for path in (folder / MANIFEST_FILE, folder / TRAJECTORY_FILE, *exported)
    )


def holds_config(folder: Path, config: RunConfig) -> bool:
    """Tell whether the config that a run saved in a folder equals this one."""
    path = folder / CONFIG_FILE
    try:
        if read_file(path, str(path)) == dump_config(config).encode():
            return True  # spares a sweep one YAML parse per run
    except UserError:
        return False
    saved = _saved_config(folder)
    return saved is not None and saved.model_copy(update={"output": config.output}) == config


def _saved_config(folder: Path) -> RunConfig | None:
    """Read the config that a run wrote to a folder; None if there is none, or it is the user's."""
    path = folder / CONFIG_FILE
    try:
        values, text = read_values(path)
        return check_values(values, path, text) if values.keys() >= WRITTEN_KEYS else None
    except UserError:
        return None


def check_made_with(folder: Path, made_with: Mapping[str, Any]) -> None:
    """Refuse a finished run that would come out differently today.

    Args:
        folder: The run's.
        made_with: What `manifest.made_with` returns today.

    Raises:
        UserError: The run was made with something else, or its manifest is damaged.
    """
    path = folder / MANIFEST_FILE
    try:
        saved = parse_json(read_file(path, str(path)), f"{path}:")
        then = _flatten({key: saved[key] for key in made_with})
    except (UserError, KeyError):
        raise _occupied(folder, f"{MANIFEST_FILE} is damaged") from None
    for key, now in _flatten(made_with).items():
        if then.get(key) != now:
            made = f"holds this run made with {key} {then.get(key)}, which is now {now}"
            raise _occupied(folder, made)


def _occupied(folder: Path, why: str) -> UserError:
    """Make the error that says why a folder is left alone, and what the user can do."""
    return UserError(f"output = {folder}: {why}; use another folder (output=...) or --overwrite")


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the values of inner mappings into the outer one."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= value if isinstance(value, Mapping) else {key: value}
    return flat


def remove_exports(folder: Path, but: RunFiles | None = None) -> None:
    """Remove the files of earlier exports, so that no old one stays among the new ones.

    PNGs of frames are removed only if the saved config asked for them; others are the user's.

    Args:
        folder: The run's.
        but: The files to keep.
    """
    saved, ever = _saved_config(folder), RunFiles.ever_in(folder)
    staying = set(but.all if but else ())
    for path in ever.all if saved is not None and saved.export.png_frames else ever.linked:
        if path not in staying:
            path.unlink(missing_ok=True)
    for name in (FRAMES_FOLDER, DIFFERENCES_FOLDER):
        with suppress(OSError):  # it does not exist, or holds a file that is not ours
            (folder / name).rmdir()


def clear(folder: Path) -> None:
    """Remove an earlier run, its config last, because the config marks the folder as a run's."""
    if not holds_run(folder):
        return
    remove_exports(folder)
    for name in (MANIFEST_FILE, TRAJECTORY_FILE, CONFIG_FILE):
        (folder / name).unlink(missing_ok=True)
