"""What all trainings share: weights, their average, the rate, and checkpoints of all of them."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .optimise import make_optimisers


@dataclass(frozen=True)
class Schedule:
    """The learning rate by samples seen: a linear rise, a plain, and maybe a linear fall to zero.

    Attributes:
        peak: the rate on the plain.
        warmup: samples of the rise.
        fall_from: where the fall begins, in samples; None for no fall.
        fall: samples of the fall.
    """

    peak: float
    warmup: int
    fall_from: int | None = None
    fall: int = 1

    def rate(self, samples: int) -> float:
        """The rate after so many samples."""
        rate = self.peak * min(1.0, (samples + 1) / self.warmup)
        if self.fall_from is None:
            return rate
        return rate * min(1.0, max(0.0, 1 - (samples - self.fall_from) / self.fall))

    def is_over(self, samples: int) -> bool:
        """Whether the rate has fallen to zero."""
        return self.fall_from is not None and samples >= self.fall_from + self.fall


class Training:
    """A module in training. All of its state is in the checkpoint: resuming changes no bit.

    Attributes:
        module: what is trained.
        average: the same module with an exponential moving average of the weights.
        step: steps made.
        samples: samples seen.
    """

    def __init__(self, module: nn.Module, schedule: Schedule, ema: float) -> None:
        self.module, self.schedule, self.ema = module, schedule, ema
        self.average = copy.deepcopy(module).requires_grad_(False).eval()
        self._optimisers = make_optimisers(module, schedule.peak)
        self.step, self.samples = 0, 0

    def advance(self, loss: torch.Tensor, count: int) -> None:
        """Step down the mean loss of `count` samples and take the new weights into the average."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        rate = self.schedule.rate(self.samples)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        self.samples += count
        # The average must forget where it started: its memory grows with the steps.
        keep = min(self.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.module.parameters()), 1 - keep
            )

    def fall(self, samples: int) -> None:
        """Let the rate fall to zero over the next `samples`."""
        self.schedule = dataclasses.replace(self.schedule, fall_from=self.samples, fall=samples)

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "step": self.step,
            "samples": self.samples,
            "fall": (self.schedule.fall_from, self.schedule.fall),
        }
        scratch = path.with_suffix(".tmp")
        torch.save(state, scratch)
        scratch.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        saved = torch.load(path, map_location=next(self.module.parameters()).device)
        self.module.load_state_dict(saved["module"])
        self.average.load_state_dict(saved["average"])
        for optimiser, state in zip(self._optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.step, self.samples = saved["step"], saved["samples"]
        start, length = saved["fall"]
        self.schedule = dataclasses.replace(self.schedule, fall_from=start, fall=length)
