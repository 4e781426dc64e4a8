"""Where a sweep's runs are made: what an engine answers, and the one that is this process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from sdloop.job.events import Listener
    from sdloop.job.many.workshop import Outcome
    from sdloop.job.plan import Plan

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


class SweepEngine(Protocol):
    """Makes batches of runs, here or elsewhere."""

    def there(
        self, function: Callable[Given, Returned], *given: Given.args, **named: Given.kwargs
    ) -> Returned:
        """Call a function where the runs are made: its answer depends on device or memory."""

    def workers(self, plans: Sequence[Plan]) -> int:
        """Say how many batches of these runs are made at once."""

    def beside(self, plans: Sequence[Plan]) -> int:
        """Say how many of them share a machine's memory."""

    def make(
        self,
        batches: Sequence[Sequence[Plan]],
        keep: Collection[str],
        url: str | None,
        listen: Listener,
        on_row: Callable[[int], None],
    ) -> Iterator[list[Outcome]]:
        """Make every run.

        Args:
            batches: Runs that can share their calls.
            keep: Which of KEEPS each run leaves.
            url: Where the runs' folders go; None: where their plans say.
            listen: Gets warnings.
            on_row: Called now and then with the number of rows that were walked since.

        Yields:
            The outcomes of each batch, in any order.
        """


class LocalEngine:
    """Makes every batch in this process, one after another."""

    def there(
        self, function: Callable[Given, Returned], *given: Given.args, **named: Given.kwargs
    ) -> Returned:
        """Call a function here."""
        return function(*given, **named)

    def workers(self, plans: Sequence[Plan]) -> int:
        """Return 1."""
        return 1

    def beside(self, plans: Sequence[Plan]) -> int:
        """Return 1."""
        return 1

    def make(
        self,
        batches: Sequence[Sequence[Plan]],
        keep: Collection[str],
        url: str | None,
        listen: Listener,
        on_row: Callable[[int], None],
    ) -> Iterator[list[Outcome]]:
        """Make every run; see `SweepEngine`."""
        from sdloop.job.many.workshop import Workshop

        workshop = Workshop(keep, listen, url)
        for batch in batches:
            yield workshop.make(batch, on_row)
