"""Shows what the model believes in while a run goes on, in a terminal or in a notebook."""

from __future__ import annotations

import io
import logging
import sys
import time
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from sdloop.job.events import Event, StageEnded, StepMade, WalkBegan, Warned
from sdloop.machine.errors import UserError, reason_of

if TYPE_CHECKING:
    import numpy as np
    from IPython.display import DisplayHandle
    from numpy.typing import NDArray
    from rich.live import Live
    from torch import Tensor

    from sdloop.job.preview import Previewer

LARGEST_SHARE = 0.1  # of the time that went by, for previews
TALLEST_LINES, SPARE_LINES = 24, 4  # of the terminal
NOTEBOOK_PX = 256


class Screen(Protocol):
    """Where previews are drawn."""

    def begin(self) -> None:
        """Get ready: pictures are about to come."""

    def show(self, picture: NDArray[np.uint8], words: str) -> None:
        """Draw a picture, uint8 (H, W, 3), with a line of words, in place of the one before."""

    def end(self) -> None:
        """Leave what is there, or take it away: no more pictures come."""


class Preview:
    """A listener that draws each step's z0_hat, as often as a small share of the time allows."""

    def __init__(self, screen: Screen) -> None:
        """Draw nothing yet.

        Args:
            screen: Where to draw.
        """
        self._screen = screen
        self._previewer: Previewer | None = None
        self._last: tuple[Tensor, str] | None = None  # not drawn yet
        self._rows = 0
        self._began = self._spent = 0.0

    def __call__(self, event: Event) -> None:
        """Follow a run's loop."""
        match event:
            case WalkBegan(plan, engine):
                from sdloop.job.preview import Previewer

                self._screen.begin()
                self._previewer = Previewer(plan, engine)
                self._rows, self._spent = len(plan.table), 0.0
                self._began = time.perf_counter()
            case StepMade(step) if self._previewer is not None:
                words = f"step {step.row} of 0 to {self._rows - 1}: what the model believes in"
                self._last = step.z0_hat, words
                if self._spent <= LARGEST_SHARE * (time.perf_counter() - self._began):
                    self._draw()
            case StageEnded("denoise") if self._previewer is not None:
                self._draw()
                if self._previewer is not None:
                    self._previewer = None
                    self._screen.end()

    def _draw(self) -> None:
        """Draw the newest step, unless it is drawn already."""
        if self._last is not None and self._previewer is not None:
            start = time.perf_counter()
            z0_hat, words = self._last
            self._last = None
            picture = self._previewer.pictures(z0_hat)[0]
            try:
                self._screen.show(picture, words)
            except Exception as error:  # the run matters more than its previews
                print(f"warning: no previews: {reason_of(error)}", file=sys.stderr)
                self._previewer = None
                self._screen.end()
            self._spent += time.perf_counter() - start


class TerminalScreen:
    """The terminal that stdout is: sixels or kitty's graphics if it has them, else half blocks."""

    def __init__(self) -> None:
        """Draw nothing yet.

        Raises:
            UserError: A package is missing.
        """
        if find_spec("textual_image") is None:
            raise UserError("--preview: needs textual-image; pip install 'sdloop[preview]'")
        self._live: Live | None = None

    def begin(self) -> None:
        """Ask the terminal what it can draw."""
        import textual_image.renderable  # noqa: F401 - asks when it is imported
        from rich.live import Live

        # it warns of terminals that do not say how large their letters are; it guesses then
        logging.getLogger("textual_image").setLevel(logging.ERROR)
        self._live = Live(auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._live.start()

    def show(self, picture: NDArray[np.uint8], words: str) -> None:
        """Draw a picture over a line of words."""
        from PIL import Image
        from rich.console import Group
        from rich.text import Text
        from textual_image.renderable import Image as Drawn

        if self._live is None:
            return
        lines = max(1, min(TALLEST_LINES, self._live.console.height - SPARE_LINES))
        drawn = Drawn(Image.fromarray(picture), width="auto", height=lines)
        self._live.update(Group(drawn, Text(words, style="dim")), refresh=True)

    def end(self) -> None:
        """Leave the last picture where it is."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class NotebookScreen:
    """The output of the cell that runs."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._handle: DisplayHandle | None = None

    def begin(self) -> None:
        """Wait for the first picture."""

    def show(self, picture: NDArray[np.uint8], words: str) -> None:
        """Draw a picture, with its words for those who cannot see it."""
        from IPython.display import Image, display
        from PIL import Image as Pillow

        buffer = io.BytesIO()
        Pillow.fromarray(picture).save(buffer, "PNG", compress_level=1)
        drawn = Image(buffer.getvalue(), format="png", alt=words, width=NOTEBOOK_PX)
        if self._handle is None:
            self._handle = display(drawn, display_id=True)
        else:
            self._handle.update(drawn)

    def end(self) -> None:
        """Take the picture away: the run displays as its page."""
        from IPython.display import HTML

        if self._handle is not None:
            self._handle.update(HTML(""))
            self._handle = None


class NotebookPreview:
    """A listener for notebooks: previews while a run goes on, and warnings as Python's own.

    sdloop.Runner(sdloop.NotebookPreview()).run(sdloop.prepare(config))
    """

    def __init__(self) -> None:
        """Draw nothing yet.

        Raises:
            UserError: IPython is missing.
        """
        if find_spec("IPython") is None:
            raise UserError("NotebookPreview: needs a notebook; IPython is not installed")
        self._preview = Preview(NotebookScreen())

    def __call__(self, event: Event) -> None:
        """Draw a step, or pass a warning on."""
        self._preview(event)
        if isinstance(event, Warned):
            warnings.warn(event.message, stacklevel=2)
