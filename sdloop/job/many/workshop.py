"""The networks that one process has loaded, and the batches of runs that it makes with them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdloop.job.events import Listener, Stages, Warned
from sdloop.job.loader import Loader
from sdloop.job.many.batch import Sampled, Texts, loads_alike, sample_together
from sdloop.job.many.kept import Made, write_run
from sdloop.job.many.shelf import Shelf
from sdloop.job.texts import unused_texts
from sdloop.machine.errors import UserError, reason_of

if TYPE_CHECKING:
    from sdloop.job.engine import Engine
    from sdloop.job.plan import Plan


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        output: The run's folder or URL, as its config says.
        error: Why it failed, in one line; None if its files are written.
    """

    output: str
    error: str | None = None


class Workshop:
    """Makes batches of runs; those that share a model share its loaded networks."""

    def __init__(self, keep: Collection[str], listen: Listener, url: str | None = None) -> None:
        """Load nothing yet.

        Args:
            keep: Which of KEEPS each run leaves.
            listen: Gets the stages of loading, and warnings.
            url: Where the runs' folders go; None leaves each where its plan says.
        """
        self._keep, self._listen = keep, listen
        self._shelf = None if url is None else Shelf(url)
        self._warned: set[str] = set()
        self._loader = Loader()
        self._texts: Texts | None = None
        self._facts: dict[tuple[object, ...], Mapping[str, Any]] = {}

    def make(self, plans: Sequence[Plan], on_row: Callable[[int], None]) -> list[Outcome]:
        """Sample runs side by side, and write each.

        Args:
            plans: The plans of runs that can share their calls.
            on_row: Called after each row with the number of runs that took it.

        Returns:
            One for each run, in order. A run that fails does not affect the others.
        """
        try:
            texts = self._load(plans[0])
            engine = texts.engine
            sampled = sample_together(plans, engine, texts, on_row)
            engine.weights_sha256.result()  # damaged ones are noticed here
        except Exception as error:  # a model that does not load fails its runs, not the sweep
            return [Outcome(plan.config.output, _said(error)) for plan in plans]
        pairs = zip(plans, sampled, strict=True)
        return [self._finish(plan, one, engine) for plan, one in pairs]

    def _finish(self, plan: Plan, one: Sampled, engine: Engine) -> Outcome:
        """Write one run."""
        if one.trajectory is None:
            return Outcome(plan.config.output, str(one.error))
        try:
            for line in unused_texts(plan, engine):
                self._warn(line)
            facts = self._made_with(plan, engine)
            took_ms = round(one.took_ms, 1)
            with self._placed(plan) as placed:
                made = Made(placed, one.trajectory, took_ms, one.together, facts)
                write_run(made, engine.models.vae, self._keep, Stages(self._tell_warnings))
        except Exception as error:  # a full disk, an overflow in the VAE: the others go on
            return Outcome(plan.config.output, _said(error))
        return Outcome(plan.config.output)

    @contextmanager
    def _placed(self, plan: Plan) -> Iterator[Plan]:
        """Give a run that goes to a URL a folder here until it is whole; then put it there."""
        if self._shelf is None:
            yield plan
            return
        with tempfile.TemporaryDirectory(prefix="sdloop-") as scratch:
            folder = Path(scratch) / plan.folder.name
            yield replace(plan, folder=folder)
            self._shelf.put_run(folder)

    def _load(self, plan: Plan) -> Texts:
        """Load a model, or reuse the loaded one."""
        if self._texts is not None and self._loader.serves(plan):
            return self._texts
        self._texts = None  # it holds the old engine: free that before loading the next
        self._texts = Texts(self._loader.engine_of(plan, Stages(self._listen)))
        return self._texts

    def _made_with(self, plan: Plan, engine: Engine) -> Mapping[str, Any]:
        """Return what a run was made with; equal for all runs of an engine."""
        from sdloop.job.manifest import made_with

        key = loads_alike(plan)
        if key not in self._facts:
            self._facts[key] = made_with(plan, engine.weights_sha256.result())
        return self._facts[key]

    def _warn(self, message: str) -> None:
        """Warn of something once, however many runs it applies to."""
        if message not in self._warned:
            self._warned.add(message)
            self._listen(Warned(message))

    def _tell_warnings(self, event: object) -> None:
        """Pass on a run's warnings, but not its stages."""
        if isinstance(event, Warned):
            self._warn(event.message)


def _said(error: Exception) -> str:
    """Write an error in one line; name the class of an unexpected one."""
    if isinstance(error, UserError | MemoryError):
        return reason_of(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return f"{type(error).__name__}: {reason_of(error)}"
