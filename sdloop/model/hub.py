"""The hub: what a repository holds, and its files into the hub's own cache.

huggingface_hub asks and keeps; here it does so silently, one commit serves a whole run, what is
damaged in the cache is fetched anew, and what goes wrong is told in one line.
https://huggingface.co/docs/huggingface_hub
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdloop.machine.errors import UserError
from sdloop.machine.tensor_file import read_header
from sdloop.model.hub_client import HiddenBar, error_for, silence

AT_ONCE = 8  # files; as the hub's client
GIT_SHA1 = re.compile(r"[0-9a-f]{40}")
INDEX = "model_index.json"

# told how many bytes will come, it gives a function that is called with each piece's
Watch = Callable[[int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Repository:
    """A repository of the hub, at one commit.

    Attributes:
        name: Its id, owner/name.
        folder: Its snapshot in the hub's cache; bears the commit's name.
        files: Size in bytes by path.
        listed: Whether the hub said what the files are; else they are those in its cache.
        key: The key of the config that named it, for messages.
    """

    name: str
    folder: Path
    files: Mapping[str, int]
    listed: bool
    key: str = "model"

    @classmethod
    def ask(cls, name: str, revision: str | None = None, key: str = "model") -> Repository:
        """Ask the hub for a repository's newest commit; where it cannot be asked, the cache.

        Args:
            name: The repository's id.
            revision: A branch, tag or commit; None is the main branch.
            key: The key of the config that named it.

        Raises:
            UserError: Neither knows it.
            OSError: The cache cannot be written to.
        """
        from huggingface_hub import snapshot_download

        with silence():
            wanted: dict[str, Any] = {
                "revision": revision,
                "allow_patterns": [INDEX],
                "tqdm_class": HiddenBar,
            }
            try:
                folder = snapshot_download(name, **wanted)
            except Exception as error:  # the client raises its own, HTTP and OS errors
                try:
                    folder = snapshot_download(name, local_files_only=True, **wanted)
                except Exception:
                    raise error_for(error, name, None, key) from None
        return cls.cached(name, Path(folder), key)

    @classmethod
    def cached(cls, name: str, folder: Path, key: str = "model") -> Repository:
        """Describe a repository whose snapshot is known, without asking the hub."""
        from huggingface_hub import get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError

        try:
            tree = get_cached_repo_tree(name, revision=folder.name)
        except CachedRepoTreeNotFoundError:  # other clients leave no listing
            paths = [path for path in folder.rglob("*") if path.is_file()]
            sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
            return cls(name, folder, sizes, listed=False, key=key)
        sizes = {file.path: file.size for file in tree}
        return cls(name, folder, sizes, listed=True, key=key)

    def fetch(self, paths: Iterable[str], watch: Watch | None = None) -> None:
        """Fetch files that the cache lacks, or holds damaged.

        Args:
            paths: Of the files.
            watch: Is told of the bytes as they come, if any have to.

        Raises:
            UserError: They cannot be had.
            OSError: The cache cannot be written to, or the disk is full; it names the place.
        """
        paths = list(paths)
        unknown = [path for path in paths if path not in self.files]
        if unknown:
            where = "repository" if self.listed else "hub's cache"
            raise UserError(f"{self.key} = {self.name}: {unknown[0]} is not in the {where}")
        missing = [path for path in paths if not self._is_whole(path)]
        if not missing:
            return
        total = sum(self.files[path] for path in missing)
        self._check_room(total)
        opened = watch(total) if watch else nullcontext(lambda count: None)
        with opened as advance:
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
        if not file.is_file() or file.stat().st_size != self.files.get(path):
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
        """Download files in threads: the first error stops all, an interrupt waits for none."""
        from huggingface_hub import hf_hub_download

        stopped, lock = threading.Event(), threading.Lock()
        failed: list[tuple[Exception, str]] = []

        class Bar(HiddenBar):
            def update(self, n: float | None = 1) -> None:
                if stopped.is_set():
                    raise InterruptedError
                with lock:
                    advance(int(n or 0))

            def update_transfer(self, n: float | None = 1) -> None:
                """Count nothing: these bytes are counted where they are written."""

        def download(path: str) -> None:
            if stopped.is_set():
                return
            try:
                with silence():
                    hf_hub_download(
                        self.name,
                        path,
                        revision=self.folder.name,
                        tqdm_class=Bar,
                        force_download=(self.folder / path).is_file(),  # it is there, but damaged
                    )
            except Exception as error:  # as in `ask`
                failed.append((error, path))
                stopped.set()

        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            wait([pool.submit(download, path) for path in paths])
        finally:
            stopped.set()  # after an interrupt each thread ends by itself, with its next piece
            pool.shutdown(wait=False)
        if failed:
            # the client closes its session on an error, by which other threads' requests fail too
            causes = [each for each in failed if not isinstance(each[0], RuntimeError)]
            raise self._error_for(*(causes or failed)[0])

    def _error_for(self, error: Exception, path: str) -> Exception:
        """Say why a file was not fetched."""
        file = self.folder / path
        if file.is_file() and isinstance(error, ValueError):  # the hub could not be asked
            return UserError(
                f"{self.key} = {self.name}: {path} is damaged in the hub's cache; remove "
                f"{file.resolve()}, and it is fetched anew once the hub can be reached"
            )
        return error_for(error, self.name, path, self.key)
