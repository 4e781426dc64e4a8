"""The desk -> one browser tab: what it does not know yet, as server-sent events."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdloop.job.config import RunConfig
    from sdloop.serve.desk import Desk, Job
    from sdloop.serve.live import Live

HEARTBEAT_S = 10
MOST_BEHIND = 8  # steps; a reader further behind gets the older ones without pictures


class Bell:
    """Wakes coroutines when any thread rings."""

    def __init__(self) -> None:
        """Wake nobody yet."""
        self._lock = threading.Lock()
        self._heard: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def ring(self) -> None:
        """Wake all that listen."""
        with self._lock:
            for loop, heard in self._heard:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(heard.set)

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Yield an event that every ring sets."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._heard.add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._heard.discard(entry)

    def __len__(self) -> int:
        """Count those that listen."""
        return len(self._heard)


class Reader:
    """What one tab has been told; it is told only what is new."""

    def __init__(self, desk: Desk, command: Callable[[RunConfig], str]) -> None:
        """Have told nothing.

        Args:
            desk: Tells how things stand.
            command: Writes a config's command.
        """
        self._desk, self._command = desk, command
        self._told = {"jobs": "", "doing": ""}
        self._live: Live | None = None
        self._steps = 0

    def news(self) -> Iterator[str]:
        """Yield the events that bring the tab up to date."""
        job = self._desk.current
        for name, data in (
            ("jobs", [self._job_data(job) for job in self._desk.jobs()]),
            ("doing", None if job is None else _doing(job)),
        ):
            text = json.dumps(data)
            if text != self._told[name]:
                self._told[name] = text
                yield _event(name, text)
        live = None if job is None else job.live
        if job is None or live is None or live.facts is None:
            return
        if live is not self._live:
            self._live, self._steps = live, 0
            start = {"facts": live.facts, "start": live.start, "first": live.first}
            yield _event("begin", json.dumps({"name": job.name, **start}))
        new = live.steps[self._steps :]
        for at, step in enumerate(new):
            row = live.first + self._steps
            self._steps += 1
            seen = step if at >= len(new) - MOST_BEHIND else hollow(step)
            yield _event("step", json.dumps({"name": job.name, "row": row, "step": seen}))

    def _job_data(self, job: Job) -> dict[str, Any]:
        """Describe a job: `JobData` of web/queue.js."""
        config = job.config
        return {
            "name": job.name,
            "state": "stopping" if job.stopping else job.state,
            "message": job.message,
            "warnings": job.warnings,
            "prompt": config.prompt,
            "seed": config.seed,
            "origin": None if config.start.run is None else config.start.run.rpartition("/")[2],
            "frame": config.start.frame,
            "command": self._command(config),
        }


def _doing(job: Job) -> dict[str, Any]:
    """Describe what the run under way is doing: `DoingData` of web/queue.js."""
    return {"name": job.name, "stage": job.doing, "made": job.made, "total": job.total}


def hollow(step: dict[str, Any]) -> dict[str, Any]:
    """Leave a step's pictures out."""
    return step | dict.fromkeys(("frame", "difference", "sixteenths", "z0_hat"))


async def tell(reader: Reader, bell: Bell, desk: Desk) -> AsyncIterator[str]:
    """Yield a tab's events until the desk is closed or the tab is.

    While a slow tab takes its time over one event nothing is kept for it: afterwards it is told
    how things stand then.
    """
    with bell.listening() as heard:
        yield "retry: 1000\n\n"
        while not desk.closed:
            heard.clear()
            for event in reader.news():
                yield event
            try:
                await asyncio.wait_for(heard.wait(), HEARTBEAT_S)
            except TimeoutError:
                yield ": still here\n\n"


def _event(name: str, data: str) -> str:
    """Write one event; JSON has no line ends of its own."""
    return f"event: {name}\ndata: {data}\n\n"
