"""A judge of how cleanly pictures are drawn: it tells reconstructions from damaged ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..pictures import to_tensor

# The share of held-out clean reconstructions that the threshold accepts.
ACCEPTED = 0.95
_BATCH = 48


class CleannessJudge(nn.Module):
    """Convolutions over whole pictures; the worst spot and the mean decide."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 24), (24, 48), (48, 96), (96, 128)):
            layers += [
                nn.Conv2d(before, after, 3, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.trunk = nn.Sequential(
            *layers, nn.Conv2d(128, 128, 3, 1, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU()
        )
        self.head = nn.Linear(2 * 128, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits (count,), high for clean ones, of pictures (count, 3, height, width) in -1..1."""
        features = self.trunk(pictures)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return self.head(pooled)[:, 0]

    @torch.no_grad()
    def score(self, pictures: np.ndarray) -> np.ndarray:
        """The logits of uint8 pictures (count, height, width, 3)."""
        self.eval()
        parts = np.array_split(pictures, -(-len(pictures) // _BATCH))
        return np.concatenate([self(to_tensor(part)).numpy() for part in parts])


@dataclass(frozen=True)
class Standard:
    """A cleanness judge and the score from which on it accepts a picture."""

    judge: CleannessJudge
    threshold: float

    def accepts(self, pictures: np.ndarray) -> np.ndarray:
        """Which pictures are clean: bool (count,)."""
        return self.judge.score(pictures) >= self.threshold

    def save(self, path: Path) -> None:
        """Keep judge and threshold, so that checkpoints are judged alike."""
        torch.save({"judge": self.judge.state_dict(), "threshold": self.threshold}, path)


def load_standard(path: Path) -> Standard:
    """A standard from its file."""
    saved = torch.load(path)
    judge = CleannessJudge()
    judge.load_state_dict(saved["judge"])
    return Standard(judge.eval(), saved["threshold"])


def train_standard(
    clean: np.ndarray, damaged: np.ndarray, held_out: np.ndarray, *, epochs: int, seed: int = 0
) -> Standard:
    """Train the judge and set its threshold.

    Args:
        clean: reconstructions, uint8 (count, height, width, 3).
        damaged: the same, each with damage.
        held_out: clean reconstructions of other scenes: the threshold accepts 95% of them.
        epochs: passes over the pairs.
        seed: of the weights and the order.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    judge = CleannessJudge()
    pairs = _BATCH // 2
    rounds = len(clean) // pairs
    optimiser = torch.optim.AdamW(judge.parameters(), 1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * rounds)
    answers = torch.cat([torch.ones(pairs), torch.zeros(pairs)])
    for step in range(epochs * rounds):
        if step % rounds == 0:
            order = torch.randperm(len(clean), generator=rng).numpy()
        chosen = order[step % rounds * pairs :][:pairs]
        pictures = to_tensor(np.concatenate([clean[chosen], damaged[chosen]]))
        if torch.rand((), generator=rng) < 0.5:
            pictures = pictures.flip(3)
        loss = F.binary_cross_entropy_with_logits(judge(pictures), answers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    threshold = float(np.quantile(judge.score(held_out), 1 - ACCEPTED))
    return Standard(judge.eval(), threshold)
