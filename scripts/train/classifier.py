"""A small judge of pictures: which object, place, hat and sphere colour it sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .autoencoder import to_tensor
from .objects import HATS, OBJECTS, PLACES, SPHERE_COLOURS
from .scenes import Scene

HEADS = {
    "object": tuple(OBJECTS),
    "place": tuple(PLACES),
    "hat": ("", *HATS),
    "colour": ("", *SPHERE_COLOURS),
}
JUDGED_PX = 64


@dataclass(frozen=True)
class Verdict:
    """What the judge says of pictures, or what is true of scenes: class indices, int64 (count,)."""

    object: torch.Tensor
    place: torch.Tensor
    hat: torch.Tensor
    colour: torch.Tensor

    def agrees(self, other: Verdict, head: str) -> torch.Tensor:
        """Where both say the same of a head: bool (count,)."""
        return getattr(self, head) == getattr(other, head)


def labels_of(scenes: list[Scene]) -> Verdict:
    """The truth about scenes."""
    said = {
        "object": [s.subject for s in scenes],
        "place": [s.place for s in scenes],
        "hat": [s.hat for s in scenes],
        "colour": [s.sphere_colour for s in scenes],
    }
    return Verdict(
        **{
            head: torch.tensor([HEADS[head].index(word) for word in words])
            for head, words in said.items()
        }
    )


class Judge(nn.Module):
    """Five strided convolutions over pictures of 64 px, then a linear head for each question."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 32, 2), (32, 64, 2), (64, 128, 2), (128, 192, 2)):
            layers += [
                nn.Conv2d(before, after, 3, stride, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2))
        self.heads = nn.ModuleDict(
            {head: nn.Linear(192 * 16, len(names)) for head, names in HEADS.items()}
        )

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits by head for pictures (count, 3, 64, 64) in -1..1."""
        features = self.trunk(pictures)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def judge(self, pictures: np.ndarray) -> Verdict:
        """What is seen in uint8 pictures (count, height, width, 3)."""
        self.eval()
        logits = [self(shrink(part)) for part in np.array_split(pictures, -(-len(pictures) // 100))]
        return Verdict(
            **{head: torch.cat([part[head].argmax(1) for part in logits]) for head in HEADS}
        )


def shrink(pictures: np.ndarray) -> torch.Tensor:
    """uint8 pictures as the judge sees them, (count, 3, 64, 64) in -1..1."""
    return F.interpolate(to_tensor(pictures), (JUDGED_PX, JUDGED_PX), mode="area")


def roughen(pictures: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Pictures a little moved, dimmed and often blurred: samples are softer than scenes."""
    dy, dx = torch.randint(-2, 3, (2,), generator=rng).tolist()
    pictures = pictures.roll((dy, dx), (2, 3))
    if torch.rand((), generator=rng) < 0.5:
        pictures = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    scale = 0.85 + 0.3 * torch.rand(len(pictures), 1, 1, 1, generator=rng)
    noise = torch.randn(pictures.shape, generator=rng)
    return (pictures * scale + 0.05 * noise).clamp(-1, 1)


def train_judge(pictures: np.ndarray, scenes: list[Scene], epochs: int, seed: int) -> Judge:
    """Train a judge on composed scenes.

    Args:
        pictures: uint8 (count, height, width, 3).
        scenes: what each of them shows.
        epochs: passes over them.
        seed: of the weights, the order and the roughening.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    truth, seen = labels_of(scenes), torch.cat([shrink(p) for p in np.array_split(pictures, 64)])
    judge = Judge()
    batch = 64
    steps = epochs * (len(seen) // batch)
    optimiser = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for step in range(steps):
        if step % (len(seen) // batch) == 0:
            order = torch.randperm(len(seen), generator=rng)
        chosen = order[step % (len(seen) // batch) * batch :][:batch]
        logits = judge(roughen(seen[chosen], rng))
        loss = sum(F.cross_entropy(logits[head], getattr(truth, head)[chosen]) for head in HEADS)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return judge
