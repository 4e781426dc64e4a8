"""A sweep, from its config to its folder: plan, find what is finished, make the rest, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sdloop.job.config import model_of
from sdloop.job.events import Listener, Noted, Stages, Warned, warn
from sdloop.job.many.sweep import Sources, Sweep
from sdloop.job.plan import Plan, Prepared, prepare, settle
from sdloop.machine.errors import UserError
from sdloop.machine.files import replacing

if TYPE_CHECKING:
    from sdloop.job.many.workshop import Outcome
    from sdloop.sampler.table import Table

SWEEP_FILE = "sweep.yaml"
Engine = Callable[[Sequence[Sequence[Plan]], Callable[[int], None]], Iterator["list[Outcome]"]]
"""(batches, on_row) -> the outcomes of each batch, in any order."""


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


def batches_of(plans: Sequence[Plan], together: int | None = None) -> list[list[Plan]]:
    """Group runs that can share calls of the network into batches.

    Args:
        plans: The runs'.
        together: The largest batch; None lets the memory decide.

    Returns:
        The batches; those of one model follow each other.
    """
    from sdloop.job.many.batch import calls_alike, largest_together, loads_alike

    kinds: dict[tuple[object, ...], dict[tuple[object, ...], list[Plan]]] = {}
    for plan in plans:
        kinds.setdefault(loads_alike(plan), {}).setdefault(calls_alike(plan), []).append(plan)
    batches = []
    for alike in (alike for model in kinds.values() for alike in model.values()):
        size = together or largest_together(alike[0])
        count = -(-len(alike) // size)
        size = -(-len(alike) // count)  # as few batches as possible, evenly filled
        batches += [alike[start : start + size] for start in range(0, len(alike), size)]
    return batches


class Sweeper:
    """Makes the runs of a sweep that are not finished, then its sheets and its table."""

    def __init__(
        self,
        listen: Listener = warn,
        overwrite: bool = False,
        together: int | None = None,
        engine: Engine | None = None,
    ) -> None:
        """Load nothing yet.

        Args:
            listen: Gets every event; by default warnings become Python's own.
            overwrite: Make finished runs again, and replace runs of other configs.
            together: How many runs may share a call of the network; None lets the memory decide.
            engine: Makes the batches; None makes them in this process.
        """
        self._listen, self._overwrite, self._together = listen, overwrite, together
        self._engine = engine

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
        with occupy(sweep.folder):
            with stages.stage("import"):
                from sdloop.job.many.report import write_report

                plans = [settle(one) for one in prepared]
            todo = self._unfinished(plans, sweep.keep)
            with replacing(sweep.folder / SWEEP_FILE) as temporary:
                temporary.write_text(sweep.text, encoding="utf-8")
            failed = self._make(plans, todo, sweep.keep, stages) if todo else []
            with stages.stage("report"):
                write_report(sweep, plans)
        if not failed:
            stages.finish(sweep.folder)
        return failed

    def _unfinished(self, plans: Sequence[Plan], keep: Sequence[str]) -> list[Plan]:
        """List the runs that are still to be made; refuse where one would be laid over another."""
        from sdloop.job.many.kept import is_finished
        from sdloop.job.occupancy import check_overwritable, check_replaceable

        for plan in plans:
            (check_overwritable if self._overwrite else check_replaceable)(plan)
        if self._overwrite:
            return list(plans)
        todo: list[Plan] = []
        finished: list[Plan] = []
        for plan in plans:
            (finished if is_finished(plan, keep) else todo).append(plan)
        _check_finished(finished)
        if finished:
            self._listen(Noted(f"{len(finished)} of {len(plans)} runs are finished"))
        return todo

    def _make(
        self, plans: Sequence[Plan], todo: Sequence[Plan], keep: Sequence[str], stages: Stages
    ) -> list[Outcome]:
        """Make runs as one stage; return those that failed."""
        for line in corrections_of(todo):
            self._listen(Warned(line))
        engine = self._engine or _local(keep, self._listen)
        total, missing = (sum(len(plan.table) for plan in some) for some in (plans, todo))
        failed = []
        rows = {plan.folder: len(plan.table) for plan in todo}
        batches = batches_of(todo, self._together)
        with stages.stage("sweep", total, total - missing) as advance:
            told = counted = 0

            def on_row(count: int) -> None:
                nonlocal told
                told += count
                advance(count)

            for outcomes in engine(batches, on_row):
                counted += sum(rows[one.folder] for one in outcomes)
                failed += [one for one in outcomes if one.error is not None]
                if told < counted:  # the batch failed, or its rows were not reported
                    on_row(counted - told)
        return failed


def _local(keep: Sequence[str], listen: Listener) -> Engine:
    """Make every batch in this process, one after another."""

    def make(
        batches: Sequence[Sequence[Plan]], on_row: Callable[[int], None]
    ) -> Iterator[list[Outcome]]:
        from sdloop.job.many.workshop import Workshop

        workshop = Workshop(keep, listen)
        for batch in batches:
            yield workshop.make(batch, on_row)

    return make


def _check_finished(plans: Sequence[Plan]) -> None:
    """Refuse finished runs that would come out differently today."""
    from sdloop.job.manifest import made_with
    from sdloop.job.many.batch import loads_alike
    from sdloop.job.occupancy import check_made_with
    from sdloop.model.fetch import fetch_weights
    from sdloop.model.weight_files import hash_weights

    facts: dict[tuple[object, ...], dict[str, object]] = {}
    for plan in plans:
        key = loads_alike(plan)
        if key not in facts:
            fetch_weights(plan.source, plan.half)
            facts[key] = made_with(plan, hash_weights(plan.source, plan.half))
        check_made_with(plan.folder, facts[key])
