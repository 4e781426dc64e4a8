"""The engine of the run at hand: runs that follow each other share it where they can."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdloop.job.engine import Engine
    from sdloop.job.events import Stages
    from sdloop.job.plan import Plan


class Loader:
    """Holds one engine at a time."""

    def __init__(self) -> None:
        """Load nothing yet."""
        self._engine: Engine | None = None

    def serves(self, plan: Plan) -> bool:
        """Tell whether the engine that is loaded is a plan's."""
        return self._engine is not None and self._engine.serves(plan)

    def engine_of(self, plan: Plan, stages: Stages) -> Engine:
        """Load a plan's model, or take the one that is loaded.

        Args:
            plan: The run's.
            stages: Are told of what happens.

        Returns:
            Its engine.

        Raises:
            UserError: The weights cannot be had or do not fit their configs.
        """
        with stages.stage("import"):
            from sdloop.job.engine import Engine
            from sdloop.model.fetch import fetch_weights
            from sdloop.model.tiny_source import fetch_tiny

        def watch(total: int) -> AbstractContextManager[Callable[[int], None]]:
            return stages.stage("fetch", total, unit="B")

        fetch_weights(plan.source, plan.half, watch=watch)
        if plan.tiny is not None:
            fetch_tiny(plan.tiny, watch)
        with stages.stage("load"):
            if self._engine is None or not self._engine.serves(plan):
                self._engine = None  # free the old engine before loading the next
                self._engine = Engine.start(plan)
        return self._engine
