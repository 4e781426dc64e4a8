"""A command as a process: errors as one line, signals, exit codes, a quick end."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import NoReturn

from sdloop.machine.errors import UserError

USER_ERROR, SYSTEM_ERROR = 2, 1
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__(number)
        self.exit_code = 128 + number  # the convention of shells


def exit_code_of(command: Callable[[], None]) -> int:
    """Run a command; show an error that the user can fix as one line on stderr.

    Args:
        command: Does the work.

    Returns:
        0; 2 for a UserError; 1 for an error of the system, such as a full disk or memory that ran
        out; 130 after SIGINT, 143 after SIGTERM.
    """
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed: the next file opened would take its place
            setattr(sys, stream, Path(os.devnull).open("w"))  # noqa: SIM115 - to the very end
    try:
        with _signals_raised(), _anything_printable():
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
        print("interrupted; run the same command again to carry on", file=sys.stderr)
        return interrupt.exit_code
    return 0


def leave(exit_code: int) -> NoReturn:
    """End the process as Python does, but skip its last garbage collection, which takes seconds.

    A signal that arrives meanwhile does not change the exit code.
    """
    for each in SIGNALS:
        signal.signal(each, lambda number, frame: os._exit(exit_code))
    atexit._run_exitfuncs()  # profilers and the like register some
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # reported already, or there is nobody to report to
            stream.flush()
    os._exit(exit_code)


@contextmanager
def _anything_printable() -> Iterator[None]:
    """Make stdout escape what its encoding cannot show, as stderr always does."""
    stream = sys.stdout
    if not isinstance(stream, TextIOWrapper):  # a notebook's, a test's
        yield
        return
    before = stream.errors
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        stream.reconfigure(errors=before)


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise Interrupted; a second one ends the process at once."""

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(128 + number)  # safe at any moment: no file is ever half written

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, end)
        came.append(number)
        raise Interrupted(number)

    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    before = {each: signal.getsignal(each) for each in SIGNALS}
    heard = [each for each, handler in before.items() if handler is not signal.SIG_IGN]
    for each in heard:
        signal.signal(each, interrupt)
    try:
        yield
    except KeyboardInterrupt as error:
        # a library that waits in C, such as Ray, may raise a plain one in place of ours
        if came and not isinstance(error, Interrupted):
            raise Interrupted(came[0]) from None
        raise
    finally:
        for each in heard:
            signal.signal(each, before[each] or signal.SIG_DFL)
