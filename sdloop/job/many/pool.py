"""A sweep on Ray: a pool of actors that each load the networks once and take batches.

Ray places the actors, starts a dead one again elsewhere or here, and repeats its batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from sdloop.job.events import Listener, Warned
from sdloop.job.many.sweep import Sources
from sdloop.job.many.workshop import Outcome, Workshop
from sdloop.machine.errors import reason_of

if TYPE_CHECKING:
    from sdloop.job.plan import Plan
    from sdloop.model.source import ModelSource

MOST_RETRIES = 3  # of a batch whose worker died; then its runs have failed
POLL_S = 0.5  # between two looks at how far the batches are
ANY_NUMBER = -1  # Ray's word for no limit
Given = ParamSpec("Given")
Returned = TypeVar("Returned")


class RayEngine:
    """Makes batches on the actors of a Ray that is running."""

    def __init__(self, workers: int | None = None) -> None:
        """Look at what the cluster has.

        Args:
            workers: How many actors; None takes one per GPU or, where there are none, as many as
                CPUs and memory allow.
        """
        self._asked = workers
        self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._gpus = int(sum(node.get("GPU", 0) for node in self._nodes))

    def there(
        self, function: Callable[Given, Returned], *given: Given.args, **named: Given.kwargs
    ) -> Returned:
        """Call a function where there is a GPU, if there are any; this machine may have none."""
        if not self._gpus:
            return function(*given, **named)
        task = ray.remote(num_gpus=1)(function)
        try:
            return ray.get(task.remote(*given, **named))
        except RayTaskError as error:
            raise error.cause from None

    def workers(self, plans: Sequence[Plan]) -> int:
        """Say how many actors these runs get."""
        if self._gpus:
            return min(self._asked or self._gpus, self._gpus)
        return self._asked or max(1, self._room_for(plans[0]))

    def beside(self, plans: Sequence[Plan]) -> int:
        """Say how many actors share a machine, if all machines have equally many."""
        return ceil(self.workers(plans) / len(self._nodes))

    def make(
        self,
        batches: Sequence[Sequence[Plan]],
        keep: Collection[str],
        url: str | None,
        listen: Listener,
        on_row: Callable[[int], None],
    ) -> Iterator[list[Outcome]]:
        """Make every run; see `SweepEngine`.

        Each actor has one batch at a time. One that gets no more is let go, and frees its place.
        """
        count = self.workers(batches[0])
        tally = ray.remote(Tally).options(**_restarted(ANY_NUMBER), num_cpus=0).remote()
        worker = ray.remote(Worker).options(**_restarted(MOST_RETRIES), **self._share_of(count))
        waiting, running = deque(enumerate(batches)), dict[Any, tuple[int, Any]]()
        told: dict[int, int] = {}
        warned: set[str] = set()

        def give(actor: Any) -> None:  # noqa: ANN401 - Ray makes the class
            if waiting:
                number, batch = waiting.popleft()
                told[number] = 0
                plans = [_portable(plan) for plan in batch]
                running[actor.make.remote(plans, number, tally)] = (number, actor)

        def tell(rows: Mapping[int, int]) -> None:
            for number, done in rows.items():
                if number in told:  # a batch that is repeated counts once
                    on_row(max(0, done - told[number]))
                    told[number] = max(done, told[number])

        for _ in range(min(count, len(batches))):
            give(worker.remote(keep, url))
        while running:
            ended, _ = ray.wait(list(running), timeout=POLL_S)
            tell(ray.get(tally.take.remote()))
            for reference in ended:
                number, actor = running.pop(reference)
                try:
                    outcomes, warnings = ray.get(reference)
                except RayError as error:
                    outcomes, warnings = _failed(batches[number], error), []
                    if waiting and not isinstance(error, RayTaskError):
                        # one that cannot start would take all batches, and fail each at once
                        actor = worker.remote(keep, url)
                give(actor)
                del actor
                for message in warnings:
                    if message not in warned:
                        warned.add(message)
                        listen(Warned(message))
                tell({number: sum(len(plan.table) for plan in batches[number])})
                del told[number]
                yield outcomes

    def _share_of(self, count: int) -> dict[str, float]:
        """Say what an actor takes, in Ray's options: one GPU, and its share of the CPUs."""
        cpus = [node.get("CPU", 0) for node in self._nodes]
        if self._gpus:
            shares = [
                node.get("CPU", 0) // node["GPU"] for node in self._nodes if node.get("GPU", 0)
            ]
            return {"num_gpus": 1, "num_cpus": max(1, min(shares))}
        for share in range(int(max(cpus)), 0, -1):
            if sum(its // share for its in cpus) >= count:
                return {"num_cpus": share}
        return {"num_cpus": sum(cpus) / count}

    def _room_for(self, plan: Plan) -> int:
        """Count the actors of one CPU each that the memory of all machines allows."""
        from sdloop.job.forecast import estimate

        need = estimate(plan, 1)[0].peak_bytes
        return int(
            sum(min(node.get("CPU", 0), node.get("memory", 0) // need) for node in self._nodes)
        )


class Tally:
    """How far each batch is: an actor that workers tell, and the driver asks."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._rows: dict[int, int] = {}

    def put(self, number: int, rows: int) -> None:
        """Note how many rows of a batch are done."""
        self._rows[number] = rows

    def take(self) -> dict[int, int]:
        """Return what was put since the last time."""
        rows, self._rows = self._rows, {}
        return rows


class Worker:
    """An actor: its own loaded networks, and the batches that it makes one after another."""

    def __init__(self, keep: Collection[str], url: str | None) -> None:
        """Load nothing yet.

        Args:
            keep: Which of KEEPS each run leaves.
            url: Where the runs' folders go; None: where their plans say.
        """
        self._warnings: list[str] = []
        self._workshop = Workshop(keep, self._listen, url)
        self._sources = Sources()

    def make(
        self,
        plans: Sequence[Plan],
        number: int,
        tally: Any,  # noqa: ANN401 - Ray makes the class
    ) -> tuple[list[Outcome], list[str]]:
        """Make a batch.

        Args:
            plans: Its runs'.
            number: The batch's, for the tally.
            tally: The handle of a `Tally`, to tell how far the batch is.

        Returns:
            The outcomes, and what there was to warn of.
        """
        rows = 0

        def on_row(count: int) -> None:
            nonlocal rows
            rows += count
            tally.put.remote(number, rows)

        self._warnings.clear()
        outcomes = self._workshop.make([self._here(plan) for plan in plans], on_row)
        return outcomes, list(self._warnings)

    def _here(self, plan: Plan) -> Plan:
        """Find a model again that lies elsewhere on each machine."""
        if plan.source.from_hub or plan.config.model == "bundled":
            return replace(plan, source=self._sources.of(plan.config))
        return plan

    def _listen(self, event: object) -> None:
        """Keep warnings."""
        if isinstance(event, Warned):
            self._warnings.append(event.message)


def _restarted(retries: int) -> dict[str, int]:
    """Let Ray start a dead actor again, and repeat what it was at."""
    return {"max_restarts": ANY_NUMBER, "max_task_retries": retries}


def _portable(plan: Plan) -> Plan:
    """Make a plan's paths absolute: a worker may have another working folder."""
    source = plan.source
    paths: dict[str, Any] = {
        name: path.absolute()
        for name in ("folder", "checkpoint", "vae_place")
        if (path := getattr(source, name)) is not None
    }
    moved: ModelSource = replace(source, **paths)
    return replace(plan, folder=plan.folder.absolute(), source=moved)


def _failed(batch: Sequence[Plan], error: RayError) -> list[Outcome]:
    """Say of every run of a batch that Ray gave up."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    said = f"its worker failed: {reason_of(cause)}"
    if not isinstance(error, RayTaskError):
        often = f"died {MOST_RETRIES + 1} times, or could not start"
        said = f"its worker {often}: {reason_of(cause)}"
    return [Outcome(plan.config.output, said) for plan in batch]
