"""The hub: what a repository holds, and its files into the hub's own cache.

huggingface_hub asks and keeps; here it does so silently, one commit serves a whole run, what is
damaged in the cache is fetched anew, and what goes wrong is told in one line.
https://huggingface.co/docs/huggingface_hub
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdloop.machine.errors import UserError, reason_of
from sdloop.machine.tensor_file import read_header

AT_ONCE = 8  # files; as the hub's client
GIT_SHA1 = re.compile(r"[0-9a-f]{40}")
INDEX = "model_index.json"

# told how many bytes will come, it gives a function that is called with each piece's
Watch = Callable[[int], AbstractContextManager[Callable[[int], None]]]


class Unreachable(UserError):
    """The hub cannot be asked, and its cache does not hold what is needed."""


def read_address(name: str) -> tuple[str, str | None]:
    """Read the address of a repository's page, as browsers show it, or hf://owner/name.

    Args:
        name: What the user gave for a model.

    Returns:
        The repository's id and the revision, or None for the main branch.

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
            f"(hf download {place.id} {place.path_in_repo}) and say model=<its path>"
        )
    return place.id, place.revision


@dataclass(frozen=True)
class Repository:
    """A repository of the hub, at one commit.

    Attributes:
        name: Its id, owner/name.
        folder: Its snapshot in the hub's cache; bears the commit's name.
        files: Size in bytes by path.
    """

    name: str
    folder: Path
    files: Mapping[str, int]

    @classmethod
    def ask(cls, name: str, revision: str | None = None) -> Repository:
        """Ask the hub for a repository's newest commit; where it cannot be asked, the cache.

        Args:
            name: The repository's id.
            revision: A branch, tag or commit; None is the main branch.

        Raises:
            UserError: Neither knows it.
            OSError: The cache cannot be written to.
        """
        from huggingface_hub import snapshot_download

        with _silence():
            wanted: dict[str, Any] = {
                "revision": revision,
                "allow_patterns": [INDEX],
                "tqdm_class": _HiddenBar,
            }
            try:
                folder = snapshot_download(name, **wanted)
            except Exception as error:  # the client raises its own, HTTP and OS errors
                try:
                    folder = snapshot_download(name, local_files_only=True, **wanted)
                except Exception:
                    raise _error_for(error, name, None) from None
        return cls.cached(name, Path(folder))

    @classmethod
    def cached(cls, name: str, folder: Path) -> Repository:
        """Describe a repository whose snapshot is known, without asking the hub."""
        from huggingface_hub import get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError

        try:
            tree = get_cached_repo_tree(name, revision=folder.name)
        except CachedRepoTreeNotFoundError:  # other clients leave no listing
            paths = [path for path in folder.rglob("*") if path.is_file()]
            sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
            return cls(name, folder, sizes)
        return cls(name, folder, {file.path: file.size for file in tree})

    def fetch(self, paths: Iterable[str], watch: Watch | None = None) -> None:
        """Fetch files that the cache lacks, or holds damaged.

        Args:
            paths: Of `files`.
            watch: Is told of the bytes as they come, if any have to.

        Raises:
            UserError: They cannot be had.
            OSError: The cache cannot be written to, or the disk is full; it names the place.
        """
        missing = [path for path in paths if not self._is_whole(path)]
        if not missing:
            return
        total = sum(self.files[path] for path in missing)
        self._check_room(total)
        opened = watch(total) if watch else nullcontext(lambda count: None)
        with _silence(), opened as advance:
            self._download(missing, advance)

    def holds(self, paths: Iterable[str]) -> bool:
        """Tell whether the cache has all of some files, whole or damaged."""
        return all((self.folder / path).is_file() for path in paths)

    def holds_whole(self, paths: Iterable[str]) -> bool:
        """Tell whether the cache has all of some files, none of them damaged for all one sees."""
        return all(map(self._is_whole, paths))

    def _is_whole(self, path: str) -> bool:
        """Tell whether the cache has a file, as far as that is told without hashing gigabytes."""
        file = self.folder / path
        if not file.is_file() or file.stat().st_size != self.files[path]:
            return False
        blob = file.resolve().name  # git names small files by their content
        if GIT_SHA1.fullmatch(blob):
            content = file.read_bytes()
            return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == blob
        if path.endswith(".safetensors"):
            try:
                read_header(file, path)
            except UserError:
                return False
        return True

    def _check_room(self, total: int) -> None:
        """Refuse to begin what the disk has no room for."""
        cache = next(folder for folder in self.folder.parents if folder.is_dir())
        free = shutil.disk_usage(cache).free
        if free < total:
            said = f"{total / 1e9:.1f} GB of {self.name} are to come, {free / 1e9:.1f} GB are free"
            raise OSError(errno.ENOSPC, said, str(cache))

    def _download(self, paths: list[str], advance: Callable[[int], None]) -> None:
        """Download files in threads, which an error or an interrupt does not wait for."""
        from huggingface_hub import hf_hub_download

        stopped, lock = threading.Event(), threading.Lock()

        class Bar(_HiddenBar):
            def update(self, n: float | None = 1) -> None:
                if stopped.is_set():
                    raise InterruptedError("another file's download failed")
                with lock:
                    advance(int(n or 0))

            def update_transfer(self, n: float | None = 1) -> None:
                """Count nothing: these bytes are counted where they are written."""

        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            begun: dict[Future[Any], str] = {
                pool.submit(
                    hf_hub_download,
                    self.name,
                    path,
                    revision=self.folder.name,
                    tqdm_class=Bar,
                    force_download=(self.folder / path).is_file(),  # it is there, but damaged
                ): path
                for path in paths
            }
            for future in as_completed(begun):
                try:
                    future.result()
                except Exception as error:  # as in `ask`
                    raise self._error_for(error, begun[future]) from None
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _error_for(self, error: Exception, path: str) -> Exception:
        """Say why a file was not fetched."""
        file = self.folder / path
        if file.is_file() and isinstance(error, ValueError):  # the hub could not be asked
            return UserError(
                f"model = {self.name}: {path} is damaged in the hub's cache; remove "
                f"{file.resolve()}, and it is fetched anew once the hub can be reached"
            )
        return _error_for(error, self.name, path)


class _HiddenBar(tqdm):
    """A progress bar of the hub's client that is never shown."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as tqdm's
        """Take whatever tqdm takes."""
        options.pop("name", None)
        super().__init__(*arguments, **options | {"disable": True})


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the hub's client from writing to stderr; what fails reaches its caller anyway.

    Its logger's own handlers are held shut for the time of the block; those of the user stay open.
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


def _error_for(error: Exception, name: str, path: str | None) -> Exception:
    """Say in one line why a repository, or a file of it, cannot be had."""
    from huggingface_hub import constants, errors

    causes: list[BaseException] = [error]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    nowhere = f"model = {name}: " + (f"{path}: " if path else "no such folder here, and ")
    if isinstance(error, errors.HFValidationError):
        return UserError(f"{nowhere}no hub id: {reason_of(error)}")
    if isinstance(error, errors.GatedRepoError):
        return UserError(
            f"model = {name}: its authors let in who asks: accept the terms at "
            f"{constants.ENDPOINT}/{name}, then log in (hf auth login)"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(
            f"{nowhere}the hub has no such repository, or a private one (hf auth login)"
        )
    if any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in causes):
        return Unreachable(
            f"{nowhere}not in the hub's cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE is set"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return Unreachable(f"{nowhere}the hub cannot be reached: {reason_of(causes[-1])}")
    if isinstance(error, errors.HfHubHTTPError):
        return UserError(f"{nowhere}the hub refused: {reason_of(error)}")
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, error.filename or constants.HF_HUB_CACHE)
    return UserError(
        f"model = {name}: the download of {path or 'its listing'} was interrupted "
        f"({reason_of(error)}); the same command goes on with what is missing"
    )
