"""A judge of what pictures show: objects, hats, place, and where a single object is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..pictures import to_tensor
from ..scene.compose import Placed
from ..scene.scene import Item, Scene
from ..scene.things import HATS, PLACES, SHAPE_COLOURS, SHAPES, THINGS

JUDGED_PX = 64
CLASSES = (*THINGS, *(f"{colour} {shape}" for colour in SHAPE_COLOURS for shape in SHAPES))
_BATCH = 64


def class_of(item: Item) -> int:
    """An object's class: a thing, or a shape in its colour."""
    return CLASSES.index(f"{item.colour} {item.subject}" if item.colour else item.subject)


@dataclass(frozen=True)
class Labels:
    """What is true of scenes.

    Attributes:
        objects: bool (count, classes).
        hats: bool (count, hats).
        places: int64 (count,).
        where: middle and longer side of single objects, float32 (count, 3); nan for two.
    """

    objects: torch.Tensor
    hats: torch.Tensor
    places: torch.Tensor
    where: torch.Tensor


def label(scenes: Sequence[Scene], placed: Sequence[tuple[Placed, ...]]) -> Labels:
    """The truth about composed scenes."""
    objects = torch.zeros(len(scenes), len(CLASSES), dtype=torch.bool)
    hats = torch.zeros(len(scenes), len(HATS), dtype=torch.bool)
    where = torch.full((len(scenes), 3), float("nan"))
    for k, (scene, spots) in enumerate(zip(scenes, placed, strict=True)):
        for item in scene.items:
            objects[k, class_of(item)] = True
            if item.hat:
                hats[k, list(HATS).index(item.hat)] = True
        if len(spots) == 1:
            where[k] = torch.tensor([spots[0].x, spots[0].y, spots[0].reach])
    places = torch.tensor([PLACES.index(scene.place) for scene in scenes])
    return Labels(objects, hats, places, where)


@dataclass(frozen=True)
class Verdict:
    """What the judge sees.

    Attributes:
        objects: logits (count, classes).
        hats: logits (count, hats).
        places: logits (count, places).
        where: middle and longer side of the main object, (count, 3).
    """

    objects: torch.Tensor
    hats: torch.Tensor
    places: torch.Tensor
    where: torch.Tensor

    def shows(self, scenes: Sequence[Scene]) -> torch.Tensor:
        """Whether all objects asked for are the likeliest: bool (count,)."""
        right = []
        for row, scene in zip(self.objects, scenes, strict=True):
            asked = {class_of(item) for item in scene.items}
            right.append(set(row.topk(len(asked)).indices.tolist()) == asked)
        return torch.tensor(right)

    def wears(self, scenes: Sequence[Scene]) -> torch.Tensor:
        """Whether exactly the hats asked for are seen: bool (count,)."""
        asked = torch.tensor(
            [[any(item.hat == hat for item in s.items) for hat in HATS] for s in scenes]
        )
        return ((self.hats > 0) == asked).all(1)

    def stands_at(self, scenes: Sequence[Scene]) -> torch.Tensor:
        """Whether the place is the one asked for: bool (count,)."""
        return self.places.argmax(1) == torch.tensor([PLACES.index(s.place) for s in scenes])

    def keeps_side(self, scenes: Sequence[Scene]) -> torch.Tensor:
        """Whether the object's middle is on the side asked for: bool (count,)."""
        left = torch.tensor([scene.side == "left" for scene in scenes])
        return (self.where[:, 0] < 0.5) == left


class Judge(nn.Module):
    """Strided convolutions over pictures of 64 px.

    Objects and hats are sought at every place of the last map and the best one counts, so that
    they are known wherever they are.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in (
            (3, 32, 2),
            (32, 64, 2),
            (64, 128, 2),
            (128, 192, 1),
            (192, 192, 2),
        ):
            layers += [
                nn.Conv2d(before, after, 3, stride, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.trunk = nn.Sequential(*layers, nn.Dropout2d(0.1))
        self.objects = nn.Conv2d(192, len(CLASSES), 1)
        self.hats = nn.Conv2d(192, len(HATS), 1)
        self.places = nn.Linear(2 * 192, len(PLACES))
        self.where = nn.Sequential(
            nn.Flatten(), nn.Linear(192 * 16, 128), nn.ReLU(), nn.Linear(128, 3)
        )

    def forward(self, pictures: torch.Tensor) -> Verdict:
        """Logits for pictures (count, 3, 64, 64) in -1..1."""
        features = self.trunk(pictures)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return Verdict(
            self.objects(features).flatten(2).logsumexp(2),
            self.hats(features).flatten(2).logsumexp(2),
            self.places(pooled),
            self.where(features),
        )

    @torch.no_grad()
    def judge(self, pictures: np.ndarray) -> Verdict:
        """What is seen in uint8 pictures (count, height, width, 3)."""
        self.eval()
        parts = [self(part) for part in shrink(pictures).split(_BATCH)]
        names = ("objects", "hats", "places", "where")
        return Verdict(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def shrink(pictures: np.ndarray) -> torch.Tensor:
    """uint8 pictures as the judge sees them, float32 (count, 3, 64, 64) in -1..1."""
    size = (JUDGED_PX, JUDGED_PX)
    parts = np.array_split(pictures, -(-len(pictures) // 256))
    return torch.cat([F.interpolate(to_tensor(part), size, mode="area") for part in parts])


def roughen(pictures: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Pictures a little dimmed, often blurred, noisy: samples are softer than scenes."""
    if torch.rand((), generator=rng) < 0.5:
        pictures = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    scale = 0.85 + 0.3 * torch.rand(len(pictures), 1, 1, 1, generator=rng)
    noise = torch.randn(pictures.shape, generator=rng)
    return (pictures * scale + 0.05 * noise).clamp(-1, 1)


def train_judge(pictures: np.ndarray, truth: Labels, *, epochs: int, seed: int = 0) -> Judge:
    """Train a judge on composed scenes.

    Args:
        pictures: uint8 (count, height, width, 3).
        truth: what each of them shows.
        epochs: passes over them.
        seed: of the weights, the order and the roughening.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    seen, judge = shrink(pictures), Judge()
    batch = min(_BATCH, len(seen))
    rounds = len(seen) // batch
    optimiser = torch.optim.AdamW(judge.parameters(), 1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * rounds)
    single = ~truth.where.isnan().any(1)
    for step in range(epochs * rounds):
        if step % rounds == 0:
            order = torch.randperm(len(seen), generator=rng)
        chosen = order[step % rounds * batch :][:batch]
        said = judge(roughen(seen[chosen], rng))
        one = single[chosen]
        loss = (
            20 * F.binary_cross_entropy_with_logits(said.objects, truth.objects[chosen].float())
            + F.binary_cross_entropy_with_logits(said.hats, truth.hats[chosen].float())
            + 0.5 * F.cross_entropy(said.places, truth.places[chosen])
            + 5 * F.smooth_l1_loss(said.where[one], truth.where[chosen][one], beta=0.1)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return judge.eval()


def save_judge(judge: Judge, path: Path) -> None:
    """Keep the judge, so that checkpoints are judged alike."""
    torch.save(judge.state_dict(), path)


def load_judge(path: Path) -> Judge:
    """A judge from its file."""
    judge = Judge()
    judge.load_state_dict(torch.load(path))
    return judge.eval()
