"""A run's steps -> what a browser shows of them, while the run is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sdloop.job.events import Event, StepMade, WalkBegan
from sdloop.machine.threads import keep_to_one_core
from sdloop.show.page.facts import run_facts
from sdloop.show.page.quick import quick_picture, quick_step

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from sdloop.job.preview import Previewer
    from sdloop.sampler.loop import Step

QUALITY = 80
LARGEST_SHARE = 0.06  # of the loop's time, for drawing
AHEAD = 2  # rows that a GPU may be given before the first of them is computed
MOST_WAITING = 4  # steps behind which pictures are left out
# At least, between pictures. On a CPU the loop needs the cores that draw them, here and in the
# browser: a picture costs a run on two quick cores 70 ms, which is to be a seventh of the time.
GAP_S = {"cpu": 0.5, "cuda": 0.1}
COLUMNS = (
    *("difference_mean", "difference_max", "step_rms", "step_cosine", "guidance_rms", "eps_rms"),
    *("z_rms", "log_snr", "alpha_cumprod_from", "alpha_cumprod_to"),
)


class Live:
    """What a browser sees of one run; a thread of its own draws the steps.

    The run's thread only hands over its tensors. Where drawing falls behind, or steps are quicker
    than eyes, some come without pictures: their `frame` is None.

    Attributes:
        facts: What is known before the first step; None until then.
        start: The picture of the first row's frame.
        first: The first row that is walked.
        steps: `StepData` of the rows drawn so far, from `first` on.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        """Wait for a walk.

        Args:
            changed: Called, from any thread, when there is something new to see.
        """
        self.facts: dict[str, Any] | None = None
        self.start, self.first = "", 0
        self.steps: list[dict[str, Any]] = []
        self._changed = changed
        self._made: list[tuple[Step, torch.cuda.Event | None]] = []
        self._more = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None

    def hear(self, event: Event) -> None:
        """Take note of an event of the run, in the run's thread."""
        match event:
            case WalkBegan():
                self._thread = threading.Thread(target=self._draw, args=(event,), daemon=True)
                self._thread.start()
            case StepMade(step):
                self._put(step)

    def close(self) -> None:
        """Draw what is left; afterwards the run's tensors are not needed any more."""
        with self._more:
            self._ended = True
            self._more.notify()
        if self._thread is not None:
            self._thread.join()

    def _put(self, step: Step) -> None:
        """Hand a step over; on a GPU, wait until it is at most a few rows behind."""
        ready = None
        if step.z.is_cuda:
            import torch

            ready = torch.cuda.Event()
            ready.record(torch.cuda.current_stream(step.z.device))
        with self._more:
            self._made.append((step, ready))
            self._more.notify()
            behind = self._made[-AHEAD - 1][1] if len(self._made) > AHEAD else None
        if behind is not None:
            behind.synchronize()

    def _draw(self, began: WalkBegan) -> None:
        """Draw steps as they come, until the run's end."""
        from sdloop.job.preview import Previewer

        keep_to_one_core()
        plan, z = began.plan, began.z
        previewer = Previewer(plan, began.engine, LARGEST_SHARE)
        table, stages = plan.table, plan.stages
        config, size = plan.config.model_dump(mode="json"), plan.size
        self.first = plan.config.first_row
        before = _on_host(z, None)
        picture = previewer.pictures(before)[0]
        self.start = quick_picture(picture, QUALITY)
        self.facts = run_facts(plan.folder.name, config, table, size, stages, COLUMNS, True)
        self._changed()
        sketch = _Sketch(began, previewer, before, picture)
        shown, gap_s = 0.0, GAP_S.get(z.device.type, GAP_S["cpu"])
        while waiting := self._waiting():
            for at, (step, ready) in enumerate(waiting):
                is_last = step.row == len(table) - 1
                is_due = is_last or time.perf_counter() - shown >= gap_s
                has_pictures = is_due and at >= len(waiting) - MOST_WAITING
                shown = time.perf_counter() if has_pictures else shown
                self.steps.append(sketch.of(step, ready, has_pictures))
                if has_pictures:  # those without come along with the next that has some
                    self._changed()

    def _waiting(self) -> list[tuple[Step, torch.cuda.Event | None]]:
        """Wait for steps that are not drawn yet; none at the run's end."""
        with self._more:
            drawn = len(self.steps)
            self._more.wait_for(lambda: self._ended or len(self._made) > drawn)
            return self._made[drawn:]


class _Sketch:
    """Draws one step after the other."""

    def __init__(
        self, began: WalkBegan, previewer: Previewer, z: Tensor, picture: NDArray[np.uint8]
    ) -> None:
        """Begin at the first row's frame, and its picture."""
        self._plan, self._previewer = began.plan, previewer
        self._frames, self._picture = [z], picture

    def of(self, step: Step, ready: torch.cuda.Event | None, has_pictures: bool) -> dict[str, Any]:
        """Make the `StepData` of the next step."""
        import torch

        z, z0_hat = _on_host(step.z, ready), _on_host(step.z0_hat, ready)
        guidance = None if step.guidance is None else _on_host(step.guidance, ready)
        height, width = self._plan.size
        difference = np.zeros((height, width), dtype=np.float32)
        if has_pictures:
            before = self._picture
            self._picture, clean = self._previewer.pictures(torch.cat([z, z0_hat]))
            difference = np.abs(self._picture.astype(np.float32) - before).mean(axis=2)
        self._frames = [*self._frames[-2:], z]
        numbers = self._numbers(step.row, z0_hat, guidance, difference)
        if not has_pictures:
            return {
                **dict.fromkeys(("frame", "difference", "sixteenths", "z0_hat")),
                "peak": 0.0,
                "numbers": [value if np.isfinite(value) else None for value in numbers],
            }
        return quick_step(self._picture, difference, clean, numbers, QUALITY)

    def _numbers(
        self,
        row: int,
        z0_hat: Tensor,
        guidance: Tensor | None,
        difference: NDArray[np.float32],
    ) -> list[float]:
        """Measure a step as a whole run is measured, from its row and the one before."""
        import torch

        from sdloop.sampler.trajectory import Trajectory
        from sdloop.show.measure.steps import measure_steps

        frames = torch.cat(self._frames)
        rows = len(frames) - 1
        trajectory = Trajectory(
            latents=frames,
            z0_hat=z0_hat.expand(rows, -1, -1, -1),
            timesteps=torch.zeros(rows),
            guidance=None if guidance is None else guidance.expand(rows, -1, -1, -1),
            config={},
        )
        table = self._plan.table.between(row + 1 - rows, row + 1)
        maps = torch.from_numpy(difference).expand(rows, -1, -1)
        measures = measure_steps(trajectory, table, maps)
        return [float(getattr(measures, column)[-1]) for column in COLUMNS]


def _on_host(values: Tensor, ready: torch.cuda.Event | None) -> Tensor:
    """Copy values to the CPU as soon as they are computed, beside what the GPU does next."""
    if ready is None:
        return values.cpu()
    import torch

    stream = torch.cuda.Stream(values.device)
    with torch.cuda.stream(stream):
        stream.wait_event(ready)
        return values.cpu()
