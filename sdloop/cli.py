"""What both commands share: errors as one line, progress bars, the clock of the stages."""

import atexit
import gc
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from sdloop.errors import UserError
from sdloop.memory.shortage import naming_stage

USER_ERROR, SYSTEM_ERROR = 2, 1
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__(number)
        self.exit_code = 128 + number  # as shells say it


class Console:
    """Shows progress on a terminal and nothing elsewhere; keeps each stage's time either way.

    Attributes:
        timings_ms: Time of each finished stage, in order.
    """

    def __init__(self, quiet: bool) -> None:
        """Show nothing if `quiet`, or if stdout is no terminal."""
        self._quiet = quiet
        self.shows = not quiet and sys.stdout.isatty()
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(
        self, name: str, total: int | None = None, done: int = 0, unit: str = "it"
    ) -> Iterator[Callable[[int], None]]:
        """Time a block; with a total, show a bar that the yielded function moves on from `done`.

        Bytes are counted with the unit B.
        """
        from tqdm import tqdm

        start = time.perf_counter()
        bar = tqdm(
            total=total,
            initial=done,
            desc=f"{name:<9}",
            unit=unit,
            unit_scale=unit == "B",
            disable=not self.shows or total is None,
            leave=True,
        )
        with naming_stage(name), bar:

            def advance(count: int) -> None:
                bar.update(count)

            yield advance
        took_ms = self.timings_ms.get(name, 0) + (time.perf_counter() - start) * 1000
        self.timings_ms[name] = round(took_ms, 1)

    def note(self, message: str) -> None:
        """Print a line that the user should know of, terminal or not."""
        if not self._quiet:
            print(message, file=sys.stderr)

    def close(self, folder: Path) -> None:
        """Print the closing line: where everything is, and what took how long."""
        if self.shows:
            times = "  ".join(f"{name} {ms / 1000:.1f} s" for name, ms in self.timings_ms.items())
            print(f"{folder}  ({times})")


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from searching what is imported and loaded, which all stays.

    It takes a quarter of the time in which torch, transformers and diffusers are imported. At the
    process's end it may search again, as libraries of C++ take for a leak what it was kept from.
    """
    was_on = gc.isenabled()
    atexit.register(gc.unfreeze)
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
        0; 2 for a UserError; 1 for what the system refused; 130 after SIGINT, 143 after SIGTERM.
    """
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # it was closed, and the next file would take its place
            setattr(sys, stream, Path(os.devnull).open("w"))  # noqa: SIM115 - to the very end
    try:
        with _signals_raised():
            command()
            sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except MemoryError as error:
        print(f"error: {str(error) or 'out of memory'}", file=sys.stderr)
        return SYSTEM_ERROR
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return SYSTEM_ERROR
    except Interrupted as interrupt:
        print("interrupted; the same command carries on", file=sys.stderr)
        return interrupt.exit_code
    return 0


def leave(exit_code: int) -> NoReturn:
    """End the process as Python does, but for its last search for garbage, which takes seconds.

    A signal that comes meanwhile changes nothing any more.
    """
    for each in SIGNALS:
        signal.signal(each, lambda number, frame: os._exit(exit_code))
    atexit._run_exitfuncs()  # of profilers and the like
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # it was told already, or there is nobody to tell
            stream.flush()
    os._exit(exit_code)


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Let the signals that ask for an end raise Interrupted; a second one ends at once."""

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(128 + number)  # no file is half written at any moment

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, end)
        raise Interrupted(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    before = {each: signal.getsignal(each) for each in SIGNALS}
    heard = [each for each, handler in before.items() if handler is not signal.SIG_IGN]
    for each in heard:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each in heard:
            signal.signal(each, before[each] or signal.SIG_DFL)


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
