"""Events that tell a listener how a run is going; the library itself prints nothing."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdloop.machine.memory import naming_stage

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from sdloop.job.engine import Engine
    from sdloop.job.plan import Plan
    from sdloop.job.start import Fork
    from sdloop.sampler.loop import Step


class StopRun(Exception):
    """Raised by a listener that is told of a step: the run ends there and keeps its steps."""


@dataclass(frozen=True)
class StageBegan:
    """A stage of a run began.

    Attributes:
        name: "import", "load", "text", "denoise", "decode" and so on.
        total: How many parts it has; None if they are not counted.
        done: How many of these are done already.
        unit: What is counted: "it", or "B" for bytes.
    """

    name: str
    total: int | None = None
    done: int = 0
    unit: str = "it"


@dataclass(frozen=True)
class StageAdvanced:
    """Some more parts of a stage are done."""

    name: str
    count: int


@dataclass(frozen=True)
class StageEnded:
    """A stage ended, well or by an error."""

    name: str
    took_ms: float
    failed: bool = False


@dataclass(frozen=True)
class WalkBegan:
    """The loop is about to begin.

    Attributes:
        plan: The run's.
        engine: The loaded networks.
        z: The first row's frame, float32 (1, channels, h, w).
        fork: The run that it starts from; None if it starts from noise.
    """

    plan: Plan
    engine: Engine
    z: Tensor
    fork: Fork | None


@dataclass(frozen=True)
class StepMade:
    """A row of the walk was issued.

    A listener may raise StopRun.

    On a GPU its tensors may not be computed yet, and the next run overwrites them: copy what you
    want to keep.
    """

    step: Step


@dataclass(frozen=True)
class FramesDecoded:
    """More frames, or z0_hats, were decoded."""

    count: int


@dataclass(frozen=True)
class Warned:
    """Something may not be what the user meant."""

    message: str


@dataclass(frozen=True)
class Noted:
    """Something that the user should know, such as that a run is finished already."""

    message: str


@dataclass(frozen=True)
class Stopped:
    """A listener stopped the run; the same run carries on from there.

    Attributes:
        path: Its folder, which holds the steps so far and their page.
        rows: How many steps these are.
        timings_ms: Each stage's time, in order.
    """

    path: Path
    rows: int
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class Finished:
    """Everything is written.

    Attributes:
        path: Where it is; a text if that is a URL.
        timings_ms: Each stage's time, in order.
    """

    path: Path | str
    timings_ms: dict[str, float]


Event = (
    StageBegan
    | StageAdvanced
    | StageEnded
    | WalkBegan
    | StepMade
    | FramesDecoded
    | Warned
    | Noted
    | Stopped
    | Finished
)
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""


def warn(event: Event) -> None:
    """Pass warnings on to Python's own, and listen to nothing else."""
    if isinstance(event, Warned):
        warnings.warn(event.message, stacklevel=2)


class Stages:
    """Tells a listener of stages and keeps each one's time.

    Attributes:
        listen: Gets every event.
        timings_ms: Each finished stage's time, in order; a stage that comes twice is added up.
    """

    def __init__(self, listen: Listener) -> None:
        """Start with no stage."""
        self.listen = listen
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(
        self, name: str, total: int | None = None, done: int = 0, unit: str = "it"
    ) -> Iterator[Callable[[int], None]]:
        """Run a block as a stage: tell the listener, time it, name it if memory runs out.

        Args:
            name: The stage's.
            total: How many parts it has; None if they are not counted.
            done: How many of these are done already.
            unit: What is counted: "it", or "B" for bytes.

        Yields:
            A function to call with the number of parts that were just done.

        Raises:
            OutOfMemory: Memory ran out in the block.
        """
        start = time.perf_counter()
        self.listen(StageBegan(name, total, done, unit))
        failed = True
        try:
            with naming_stage(name):
                yield lambda count: self.listen(StageAdvanced(name, count))
            failed = False
        finally:
            took_ms = (time.perf_counter() - start) * 1000
            self.timings_ms[name] = round(self.timings_ms.get(name, 0) + took_ms, 1)
            self.listen(StageEnded(name, took_ms, failed))

    def finish(self, path: Path | str) -> None:
        """Tell that everything is written."""
        self.listen(Finished(path, dict(self.timings_ms)))

    def stop(self, path: Path, rows: int) -> None:
        """Tell that a run was stopped after so many rows, and that these are written."""
        self.listen(Stopped(path, rows, dict(self.timings_ms)))
