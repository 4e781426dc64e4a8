"""A sweep's output at a URL, such as s3://bucket/prefix: put there whole, and looked up there."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sdloop.job.folder import CONFIG_FILE, MANIFEST_FILE
from sdloop.job.many.small_file import SMALL_FILE
from sdloop.job.many.summary import SUMMARY_FILE
from sdloop.job.occupancy import clear
from sdloop.machine.errors import UserError, reason_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from sdloop.job.many.sweep import Sweep
    from sdloop.job.plan import Prepared

# what sheets, page, table and resuming read of a run; of all other files they need only the names
READ_AGAIN = (CONFIG_FILE, MANIFEST_FILE, SUMMARY_FILE, SMALL_FILE)
_OWN_MACHINE = ("file", "local")


class Shelf:
    """The runs at a URL: a name in it for each, below which its files are.

    A run is put there file by file, its config first and its manifest last. The config marks the
    files as a run's, the manifest marks the run as whole.

    Attributes:
        url: As the user gave it, without a slash at its end.
    """

    def __init__(self, url: str) -> None:
        """Open the file system of a URL.

        Raises:
            UserError: There is none, or a package for it is missing.
        """
        import fsspec

        self.url = url.rstrip("/")
        scheme = url.partition("://")[0]
        if scheme.lower() in _OWN_MACHINE:
            raise UserError(f"output = {url}: is on this machine; give the folder without {scheme}")
        try:
            fs, root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:  # the message names the package
            raise UserError(f"output = {url}: {reason_of(error)}") from None
        self._fs: AbstractFileSystem = fs
        self._root: str = root.rstrip("/")
        fs.invalidate_cache()

    def mirror(self, folder: Path, names: Collection[str]) -> None:
        """Copy what runs left to a folder: READ_AGAIN, and of other files the name alone.

        Args:
            folder: Gets a folder for each run that is there.
            names: The runs'.

        Raises:
            UserError: The URL cannot be read.
        """
        with self._reported("be read"):
            try:
                found = self._fs.find(self._root)
            except FileNotFoundError:
                return
            wanted = set(names)
            start = len(self._root) + 1
            paths = [PurePosixPath(path[start:]) for path in found]
            ours = [path for path in paths if path.parts[0] in wanted and ".." not in path.parts]
            for path in ours:
                local = folder / path
                local.parent.mkdir(parents=True, exist_ok=True)
                if not _is_read_again(path):
                    local.touch()
            self._get(folder, [path for path in ours if _is_read_again(path)])

    def fetch(self, folder: Path, names: Sequence[str]) -> None:
        """Copy READ_AGAIN of runs that were just put there to their folders.

        Raises:
            UserError: The URL cannot be read.
        """
        self._fs.invalidate_cache()  # other processes put them there
        with self._reported("be read"):
            for name in names:
                (folder / name).mkdir(parents=True, exist_ok=True)
                there = self._fs.find(f"{self._root}/{name}", maxdepth=1)
                files = (PurePosixPath(path).name for path in there)
                self._get(folder, [PurePosixPath(name, it) for it in files if it in READ_AGAIN])

    def put_run(self, folder: Path) -> None:
        """Put a run there under its folder's name; before its end it does not count as finished.

        Args:
            folder: The run's, on this machine.
        """
        there = f"{self._root}/{folder.name}"
        rest = sorted(_files_in(folder) - {CONFIG_FILE, MANIFEST_FILE})
        self.remove(folder.name, [MANIFEST_FILE])
        for some in ([CONFIG_FILE], rest, [MANIFEST_FILE]):
            self._fs.put([str(folder / name) for name in some], [f"{there}/{it}" for it in some])

    def put_files(self, folder: Path) -> None:
        """Put the files of a folder there, but not those of folders in it.

        Raises:
            UserError: The URL cannot be written to.
        """
        files = [it for it in folder.iterdir() if it.is_file() and not it.name.startswith(".")]
        with self._reported("be written to"):
            self._fs.put([str(it) for it in files], [f"{self._root}/{it.name}" for it in files])

    def remove(self, name: str, files: Sequence[str]) -> None:
        """Remove files of a run, in this order, if they are there."""
        for file in files:
            path = f"{self._root}/{name}/{file}"
            if self._fs.exists(path):
                self._fs.rm_file(path)

    def clear_run(self, mirror: Path) -> None:
        """Remove an earlier run from its mirror and from here, but no file of the user's.

        Args:
            mirror: The run's folder in the mirror.

        Raises:
            UserError: The URL cannot be written to.
        """
        before = _files_in(mirror)
        clear(mirror)
        gone = before - _files_in(mirror)
        first, last = gone & {MANIFEST_FILE}, gone & {CONFIG_FILE}
        with self._reported("be written to"):
            self.remove(mirror.name, [*first, *sorted(gone - first - last), *last])

    def _get(self, folder: Path, paths: Sequence[PurePosixPath]) -> None:
        """Copy files from there."""
        if paths:
            there = [f"{self._root}/{path}" for path in paths]
            self._fs.get(there, [str(folder / path) for path in paths])

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        """Name the URL in any error of a file system; each has classes of its own."""
        try:
            yield
        except Exception as error:
            raise UserError(f"output = {self.url}: cannot {what}: {reason_of(error)}") from None


@contextmanager
def at_hand(
    sweep: Sweep, prepared: Sequence[Prepared]
) -> Iterator[tuple[Sweep, Sequence[Prepared], Shelf | None]]:
    """Give a sweep a folder on this machine: its own, or a mirror of the URL that it goes to.

    Args:
        sweep: The sweep.
        prepared: Its runs, in order.

    Yields:
        Both with folders on this machine, and the shelf if there is one.

    Raises:
        UserError: The URL cannot be read; or the block's own, with the URL for the mirror.
    """
    if sweep.url is None:
        yield sweep, prepared, None
        return
    shelf = Shelf(sweep.url)
    with tempfile.TemporaryDirectory(prefix="sdloop-") as name:
        folder = Path(name)
        shelf.mirror(folder, [run.name for run in sweep.runs])
        placed = [
            replace(one, folder=folder / run.name)
            for one, run in zip(prepared, sweep.runs, strict=True)
        ]
        try:
            yield replace(sweep, folder=folder), placed, shelf
        except UserError as error:
            raise UserError(str(error).replace(name, shelf.url)) from None


def _is_read_again(path: PurePosixPath) -> bool:
    """Tell whether a file, relative to the URL, is one of READ_AGAIN in a run's folder."""
    return len(path.parts) == 2 and path.name in READ_AGAIN


def _files_in(folder: Path) -> set[str]:
    """Name the files in a folder and in those in it; none if it does not exist."""
    return {it.relative_to(folder).as_posix() for it in folder.rglob("*") if it.is_file()}
