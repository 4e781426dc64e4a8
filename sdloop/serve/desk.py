"""The desk: takes runs, makes one at a time, and knows how each of them stands."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sdloop.job.config import RunConfig
from sdloop.job.config_file import load_config
from sdloop.job.events import (
    Event,
    Finished,
    Noted,
    StageAdvanced,
    StageBegan,
    StepMade,
    Stopped,
    StopRun,
    WalkBegan,
    Warned,
)
from sdloop.job.folder import CONFIG_FILE, MANIFEST_FILE, PAGE_FILE
from sdloop.job.plan import prepare
from sdloop.job.runner import Runner, import_libraries
from sdloop.machine.errors import UserError
from sdloop.machine.files import replacing
from sdloop.serve.live import Live

State = Literal["waiting", "running", "finished", "stopped", "failed"]
ENDED = ("finished", "stopped", "failed")
MOST_WAITING, MOST_SHOWN = 500, 60
WALK = "denoise"  # the stage whose steps `Live` tells of
QUEUE_FILE = ".watch-queue.json"
log = logging.getLogger(__name__)


class Full(UserError):
    """There are too many runs in the queue."""


@dataclass
class Job:
    """One run, as the desk knows it.

    Attributes:
        config: Its own; `output` is its folder.
        state: How it stands.
        doing: The stage that it is in, while it is running.
        made: How many of the stage's parts are done.
        total: How many parts the stage has; None if they are not counted.
        message: Why it failed.
        warnings: What may not be as it was meant.
        live: Its steps, while it is running.
    """

    config: RunConfig
    state: State = "waiting"
    doing: str = ""
    made: int = 0
    total: int | None = None
    message: str = ""
    warnings: list[str] = field(default_factory=list)
    live: Live | None = None
    stopping: bool = False

    @property
    def name(self) -> str:
        """Return its folder's name, which is its own."""
        return Path(self.config.output).name


class Desk:
    """Makes runs one after the other, in a thread of its own.

    Runs that wait are kept in a file, so that a desk which is opened again goes on with them.
    """

    def __init__(self, runs: Path, changed: Callable[[], None]) -> None:
        """Open the desk: what was made in the folder is there, what waited goes on.

        Args:
            runs: The folder in which runs land.
            changed: Called, from any thread, when anything changed.
        """
        self._runs, self._changed = runs, changed
        self._lock = threading.Condition()
        self._jobs: dict[str, Job] = {job.name: job for job in _earlier(runs)}
        self._queue: list[Job] = []
        self._closed = False
        self._current: Job | None = None
        self._runner = Runner(self._hear)
        for config in _read_queue(runs):
            self._take(config)
        threading.Thread(target=self._work, daemon=True).start()

    def add(self, config: RunConfig) -> Job:
        """Put a run at the end of the queue.

        A run that waits, is under way or finished already is not made twice; one that was stopped
        or failed carries on.

        Args:
            config: The run's; its folder is named after all of its values.

        Returns:
            The run's job.

        Raises:
            Full: Too many are waiting.
        """
        with self._lock:
            name = Path(config.output).name
            job = self._jobs.get(name)
            if job is not None and job.state not in ("stopped", "failed"):
                is_there = (self._runs / name / MANIFEST_FILE).is_file()
                if job.state != "finished" or is_there:
                    return job
            if len(self._queue) >= MOST_WAITING:
                raise Full(
                    f"{MOST_WAITING} runs are waiting; let some of them end, or take some out"
                )
            job = self._take(config)
            self._queue_changed()
        return job

    def _take(self, config: RunConfig) -> Job:
        """Let a run wait, as the latest of all."""
        job = Job(config)
        self._jobs.pop(job.name, None)
        self._jobs[job.name] = job
        self._queue.append(job)
        return job

    def stop(self, name: str) -> bool:
        """Stop a run after its current step, or take it out of the queue.

        Args:
            name: The run's.

        Returns:
            Whether it was under way or waiting.
        """
        with self._lock:
            job = self._jobs.get(name)
            if job is None or job.state in ENDED:
                return False
            if job in self._queue:
                self._queue.remove(job)
                job.state = "stopped"
                if not (self._runs / name / CONFIG_FILE).exists():
                    del self._jobs[name]
                self._queue_changed()
            else:
                job.stopping = True
                self._changed()
        return True

    def get(self, name: str) -> Job | None:
        """Return a job by its name."""
        with self._lock:
            return self._jobs.get(name)

    def jobs(self) -> list[Job]:
        """Return what to show: all that wait, the run under way, and the last that ended."""
        with self._lock:
            jobs = list(self._jobs.values())
            ended = [job for job in jobs if job.state in ENDED]
            dropped = {id(job) for job in ended[:-MOST_SHOWN]}
            return [job for job in jobs if id(job) not in dropped]

    @property
    def current(self) -> Job | None:
        """Return the run that is under way."""
        return self._current

    @property
    def closed(self) -> bool:
        """Tell whether the desk is closing."""
        return self._closed

    def close(self) -> None:
        """Begin no more runs; the one under way goes on until the process ends."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._changed()

    def _queue_changed(self) -> None:
        """Save the queue, wake the worker, tell the browsers; a full disk stops none of them."""
        waiting = [self._current] if self._current and self._current.state == "running" else []
        configs = [job.config.model_dump(mode="json") for job in [*waiting, *self._queue]]
        try:
            self._runs.mkdir(parents=True, exist_ok=True)
            with replacing(self._runs / QUEUE_FILE) as temporary:
                temporary.write_text(json.dumps(configs), encoding="utf-8")
        except (OSError, UserError) as error:
            log.warning("%s: the queue is not saved: %s", self._runs / QUEUE_FILE, error)
        self._lock.notify_all()
        self._changed()

    def _work(self) -> None:
        """Make runs until the desk is closed."""
        import_libraries()
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                job = self._current = self._queue.pop(0)
                job.state, job.live = "running", Live(self._changed)
                self._queue_changed()
            self._make(job)
            with self._lock:
                self._current = None
                self._queue_changed()

    def _make(self, job: Job) -> None:
        """Make one run; whatever goes wrong is its message."""
        assert job.live is not None
        state: State = "failed"
        try:
            self._runner.run(prepare(job.config))
            state = "stopped" if job.state == "stopped" else "finished"
        except (UserError, MemoryError, OSError) as error:
            job.message = str(error) or type(error).__name__
        except Exception as error:  # whatever it is, the next run has its turn
            log.exception("%s failed", job.name)
            job.message = f"{type(error).__name__}: {error}"
        job.live.close()
        with self._lock:
            job.live, job.doing, job.stopping, job.state = None, "", False, state

    def _hear(self, event: Event) -> None:
        """Take note of an event of the run under way, in its thread."""
        job = self._current
        if job is None or job.live is None:
            return
        job.live.hear(event)
        match event:
            case StageBegan(name, total, done):
                job.doing, job.made, job.total = name, done, total
            case StageAdvanced(_, count):
                job.made += count
                if job.doing == WALK:
                    return  # the steps themselves tell, when they are drawn
            case Warned(message):
                job.warnings.append(message)
            case Noted() | Finished():
                pass
            case Stopped():
                job.state = "stopped"
            case StepMade() if job.stopping:
                raise StopRun
            case StepMade() | WalkBegan():
                return  # `Live` tells when they are drawn
        self._changed()


def _earlier(runs: Path) -> list[Job]:
    """Read the runs that a folder holds, the latest last."""
    found: list[tuple[float, Job]] = []
    for path in runs.glob(f"*/{CONFIG_FILE}"):
        folder = path.parent
        if not (folder / PAGE_FILE).is_file():
            continue
        try:
            config = load_config(path).model_copy(update={"output": str(folder)})
            changed = (folder / PAGE_FILE).stat().st_mtime
        except (UserError, OSError):
            continue  # another program's folder, or a sweep's
        state: State = "finished" if (folder / MANIFEST_FILE).is_file() else "stopped"
        found.append((changed, Job(config, state)))
    return [job for _, job in sorted(found, key=lambda each: each[0])]


def _read_queue(runs: Path) -> list[RunConfig]:
    """Read the runs that waited when a desk was last open."""
    try:
        values = json.loads((runs / QUEUE_FILE).read_text(encoding="utf-8"))
        return [_moved(RunConfig.model_validate(each), runs) for each in values]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, ValidationError):
        log.warning("%s: cannot be read; no run goes on", runs / QUEUE_FILE)
        return []


def _moved(config: RunConfig, runs: Path) -> RunConfig:
    """Let a run land in the folder as it is named now, and start from a run that lies there."""
    config = config.model_copy(update={"output": str(runs / Path(config.output).name)})
    if config.start.run is None:
        return config
    there = runs / Path(config.start.run).name
    if not there.is_dir():
        return config
    return config.model_copy(update={"start": config.start.model_copy(update={"run": str(there)})})
