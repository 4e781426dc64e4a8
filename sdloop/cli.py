"""What both commands share: errors as one line, progress bars, the clock of the stages."""

import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sdloop.errors import UserError

USER_ERROR, SYSTEM_ERROR, INTERRUPTED = 2, 1, 130


class Console:
    """Shows progress on a terminal and nothing elsewhere; keeps each stage's time either way.

    Attributes:
        timings_ms: Time of each finished stage, in order.
    """

    def __init__(self, quiet: bool) -> None:
        """Show nothing if `quiet`, or if stdout is no terminal."""
        self.shows = not quiet and sys.stdout.isatty()
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Time a block; with a total, show a bar that the yielded function moves on."""
        from tqdm import tqdm

        start = time.perf_counter()
        with tqdm(
            total=total, desc=f"{name:<9}", disable=not self.shows or total is None, leave=True
        ) as bar:

            def advance(count: int) -> None:
                bar.update(count)

            yield advance
        self.timings_ms[name] = round((time.perf_counter() - start) * 1000, 1)

    def close(self, folder: Path) -> None:
        """Print the closing line: where everything is, and what took how long."""
        if self.shows:
            times = "  ".join(f"{name} {ms / 1000:.1f} s" for name, ms in self.timings_ms.items())
            print(f"{folder}  ({times})")


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from searching what is imported and loaded, which all stays.

    It takes a quarter of the time in which torch, transformers and diffusers are imported.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_on:
            gc.enable()


def warn(message: str) -> None:
    """Print a warning to stderr."""
    print(f"warning: {message}", file=sys.stderr)


def exit_code_of(command: Callable[[], None]) -> int:
    """Run a command; show an error that the user can mend as one line on stderr.

    Args:
        command: Does the work.

    Returns:
        0; 2 for a UserError; 1 for what the system refused; 130 after an interrupt.
    """
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return SYSTEM_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


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
