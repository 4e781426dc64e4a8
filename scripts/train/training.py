"""What both trainings share: weights, their average, the clock, and checkpoints of all of them."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path

import torch
from torch import nn

from .optimise import make_optimisers

# The rate stays at its peak for this share of the time and then falls to zero.
FLAT_SHARE = 0.4


class Training:
    """One module's training: it ends after a number of seconds and goes on from its checkpoint.

    Attributes:
        module: what is trained.
        average: the same module with an exponential moving average of the weights.
        step: how many steps have been made.
        spent_s: how many seconds they took, over all runs.
    """

    def __init__(
        self,
        module: nn.Module,
        checkpoint: Path,
        *,
        lr: float,
        warmup_steps: int,
        seconds: float,
        ema: float,
    ) -> None:
        self.module, self.checkpoint = module, checkpoint
        self.lr, self.warmup_steps, self.seconds, self.ema = lr, warmup_steps, seconds, ema
        self.average = copy.deepcopy(module).requires_grad_(False).eval()
        self.optimisers = make_optimisers([module], lr)
        self.step, self.spent_s = 0, 0.0
        if checkpoint.exists():
            self._load()
        self._since = time.monotonic()

    def spent(self) -> float:
        """Count the time since the last call: the share of the seconds that is gone, 0..1."""
        now = time.monotonic()
        self.spent_s += now - self._since
        self._since = now
        return min(1.0, self.spent_s / self.seconds)

    def learning_rate(self) -> float:
        """The rate now: linear warm-up over steps, flat, then a cosine to zero over time."""
        fall = max(0.0, (self.spent_s / self.seconds - FLAT_SHARE) / (1 - FLAT_SHARE))
        warm = min(1.0, (self.step + 1) / self.warmup_steps)
        return self.lr * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, fall)))

    def advance(self, loss: torch.Tensor) -> None:
        """Make one step down `loss` and take the new weights into the average."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        lr = self.learning_rate()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        # The average must forget the random start: its memory grows with the steps.
        decay = min(self.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.module.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "spent_s": self.spent_s,
        }
        torch.save(state, self.checkpoint.with_suffix(".tmp"))
        self.checkpoint.with_suffix(".tmp").replace(self.checkpoint)

    def _load(self) -> None:
        """Go on from the checkpoint."""
        saved = torch.load(self.checkpoint, map_location=next(self.module.parameters()).device)
        self.module.load_state_dict(saved["module"])
        self.average.load_state_dict(saved["average"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.step, self.spent_s = saved["step"], saved["spent_s"]
