"""A sweep, from its config to its folder: plan, find what is finished, make the rest, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sdloop.job.config import model_of
from sdloop.job.events import Listener, Noted, Stages, Warned, warn
from sdloop.job.many.engines import LocalEngine, SweepEngine
from sdloop.job.many.planning import batches_of, facts_of, settle_all
from sdloop.job.many.shelf import Shelf, at_hand
from sdloop.job.many.sweep import Sources, Sweep
from sdloop.job.plan import Plan, Prepared, prepare
from sdloop.machine.errors import UserError
from sdloop.machine.files import replacing

if TYPE_CHECKING:
    from sdloop.job.many.workshop import Outcome
    from sdloop.sampler.table import Table

SWEEP_FILE = "sweep.yaml"


def prepare_all(sweep: Sweep) -> list[Prepared]:
    """Check every run of a sweep before any starts.

    Args:
        sweep: What `load_sweep` read.

    Returns:
        One for each run, in order; runs with equal tables share one.

    Raises:
        UserError: Names the first run that cannot be made, and why.
    """
    sources, tables = Sources(), dict[tuple[object, str], "Table"]()
    prepared = []
    for run in sweep.runs:
        try:
            one = prepare(run.config, sources.of(run.config))
        except UserError as error:
            raise UserError(f"{run.name}: {error}") from None
        key = (model_of(one.config), one.config.scheduler.model_dump_json())
        prepared.append(replace(one, table=tables.setdefault(key, one.table)))
    return prepared


def corrections_of(prepared: Sequence[Prepared]) -> list[str]:
    """List what runs take otherwise than their models' configs say, each line once."""
    return list(dict.fromkeys(filter(None, (one.correction for one in prepared))))


class Sweeper:
    """Makes the runs of a sweep that are not finished, then its sheets and its table."""

    def __init__(
        self,
        listen: Listener = warn,
        overwrite: bool = False,
        together: int | None = None,
        engine: SweepEngine | None = None,
    ) -> None:
        """Load nothing yet.

        Args:
            listen: Gets every event; by default warnings become Python's own.
            overwrite: Make finished runs again, and replace runs of other configs.
            together: How many runs may share a call of the network; None lets the memory decide.
            engine: Makes the runs; None makes them in this process.
        """
        self._listen, self._overwrite, self._together = listen, overwrite, together
        self._engine = engine or LocalEngine()

    def run(self, sweep: Sweep, prepared: Sequence[Prepared]) -> list[Outcome]:
        """Make the runs that are missing, then the sheets and the table of all.

        Args:
            sweep: What `load_sweep` read.
            prepared: What `prepare_all` made of it.

        Returns:
            The runs that failed; the others are complete. Calling it again tries these again.

        Raises:
            UserError: A folder holds something else, or a finished run would differ today.
        """
        from sdloop.job.occupancy import occupy

        stages = Stages(self._listen)
        if find_spec("pyarrow") is None:
            self._listen(Warned("sweep.parquet: needs pyarrow; pip install 'sdloop[sweep]'"))
        with at_hand(sweep, prepared) as (local, placed, shelf), occupy(local.folder):
            with stages.stage("import"):
                from sdloop.job.many.report import write_report

                plans = self._engine.there(settle_all, placed)
            todo = self._unfinished(plans, sweep.keep)
            with replacing(local.folder / SWEEP_FILE) as temporary:
                temporary.write_text(sweep.text, encoding="utf-8")
            if shelf is not None:
                shelf.put_files(local.folder)  # if that fails, it does at once
            failed = self._make(plans, todo, sweep.keep, stages, shelf) if todo else []
            with stages.stage("report"):
                write_report(local, plans, self._listen)
                if shelf is not None:
                    shelf.put_files(local.folder)
        if not failed:
            stages.finish(sweep.url or sweep.folder)
        return failed

    def _unfinished(self, plans: Sequence[Plan], keep: Sequence[str]) -> list[Plan]:
        """List the runs that are still to be made; refuse where one would be laid over another."""
        from sdloop.job.many.kept import is_finished
        from sdloop.job.occupancy import (
            check_made_with,
            check_overwritable,
            check_replaceable,
        )

        for plan in plans:
            (check_overwritable if self._overwrite else check_replaceable)(plan)
        if self._overwrite:
            return list(plans)
        todo: list[Plan] = []
        finished: list[Plan] = []
        for plan in plans:
            (finished if is_finished(plan, keep) else todo).append(plan)
        if finished:
            for plan, facts in zip(finished, self._engine.there(facts_of, finished), strict=True):
                check_made_with(plan.folder, facts)
            self._listen(Noted(f"{len(finished)} of {len(plans)} runs are finished"))
        return todo

    def _make(
        self,
        plans: Sequence[Plan],
        todo: Sequence[Plan],
        keep: Sequence[str],
        stages: Stages,
        shelf: Shelf | None,
    ) -> list[Outcome]:
        """Make runs as one stage; return those that failed."""
        for line in corrections_of(todo):
            self._listen(Warned(line))
        total, missing = (sum(len(plan.table) for plan in some) for some in (plans, todo))
        failed = []
        plan_of = {plan.config.output: plan for plan in todo}
        engine = self._engine
        from sdloop.job.many.kept import drop_numbers

        workers, beside = engine.workers(todo), engine.beside(todo)
        batches = engine.there(batches_of, todo, self._together, workers, beside)
        if self._overwrite:
            for plan in todo:
                if shelf is not None:
                    shelf.clear_run(plan.folder)
                drop_numbers(plan.folder)
        with stages.stage("sweep", total, total - missing) as advance:
            told = counted = 0

            def on_row(count: int) -> None:
                nonlocal told
                told += count
                advance(count)

            url = None if shelf is None else shelf.url
            for outcomes in engine.make(batches, keep, url, self._listen, on_row):
                done = [plan_of[one.output] for one in outcomes if one.error is None]
                counted += sum(len(plan_of[one.output].table) for one in outcomes)
                failed += [one for one in outcomes if one.error is not None]
                if shelf is not None and done:
                    shelf.fetch(done[0].folder.parent, [plan.folder.name for plan in done])
                if told < counted:  # the batch failed, or its rows were not reported
                    on_row(counted - told)
        return failed
