"""Shows events on a terminal: bars, warnings, the closing line."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from sdloop.job.events import (
    Event,
    Finished,
    Listener,
    Noted,
    StageAdvanced,
    StageBegan,
    StageEnded,
    Warned,
)

if TYPE_CHECKING:
    from tqdm import tqdm

LOADING = ("import", "load")  # nearly every object made in these stages stays


class Console:
    """A listener that shows progress on a terminal; warnings go to stderr, terminal or not."""

    def __init__(self, quiet: bool = False, but: Collection[str] = ()) -> None:
        """Draw no bar yet.

        Args:
            quiet: Show nothing but warnings.
            but: Stages that get no bar, as something else shows them.
        """
        self._quiet, self._but = quiet, but
        self._shows = not quiet and sys.stdout.isatty()
        self._bar: tqdm | None = None
        self._drawn = ""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case StageBegan(name, total, done, unit):
                if self._shows and total is not None and name not in self._but:
                    from tqdm import tqdm

                    in_bytes = unit == "B"
                    self._drawn = name
                    self._bar = tqdm(
                        total=total, initial=done, desc=f"{name:<9}", unit=unit, unit_scale=in_bytes
                    )
            case StageAdvanced(name, count):
                if self._bar is not None and self._drawn == name:
                    self._bar.update(count)
            case StageEnded(name):
                if self._bar is not None and self._drawn == name:
                    self._bar.close()
                    self._bar = None
            case Warned(message):
                print(f"warning: {message}", file=sys.stderr)
            case Noted(message):
                if not self._quiet:
                    print(message, file=sys.stderr)
            case Finished(path, timings_ms):
                if self._shows:
                    times = "  ".join(
                        f"{name} {ms / 1000:.1f} s" for name, ms in timings_ms.items()
                    )
                    print(f"{path}  ({times})")


class CollectorPause:
    """A listener that keeps the garbage collector from searching what is imported and loaded.

    The search takes a quarter of the time of importing torch, transformers and diffusers. Only a
    process that does nothing else may skip it: frozen garbage is never collected. At exit all is
    unfrozen, because C++ libraries report what is still frozen as a leak.
    """

    def __init__(self) -> None:
        """Pause nothing yet."""
        self._was_on = False
        atexit.register(gc.unfreeze)

    def __call__(self, event: Event) -> None:
        """Pause when a loading stage begins; when it ends, freeze what it made."""
        match event:
            case StageBegan(name) if name in LOADING:
                self._was_on = gc.isenabled()
                gc.disable()
            case StageEnded(name, failed=failed) if name in LOADING:
                if not failed:
                    gc.freeze()
                if self._was_on:
                    gc.enable()


def listener(quiet: bool, owns_process: bool, preview: bool = False) -> Listener:
    """Make a command's listener.

    Args:
        quiet: Show nothing but warnings.
        owns_process: Whether the process does nothing else: then garbage collection pauses while
            loading.
        preview: Draw what the model believes in, step by step; only if stdout is a terminal.

    Returns:
        The listener.

    Raises:
        UserError: A package for previews is missing.
    """
    draws = preview and not quiet and sys.stdout.isatty()
    listeners: list[Listener] = [Console(quiet, ["denoise"] if draws else [])]
    if owns_process:
        listeners.append(CollectorPause())
    if draws:
        from sdloop.cli.preview import Preview, TerminalScreen

        listeners.append(Preview(TerminalScreen()))

    def tell(event: Event) -> None:
        for each in listeners:
            each(event)

    return tell
