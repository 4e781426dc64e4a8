"""What one picture shows, drawn at random; 300 combinations are kept out of training."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from .things import (
    HATS,
    OUTDOORS,
    PLACES,
    PLAIN_COLOURS,
    SHAPE_COLOURS,
    SHAPES,
    SIDES,
    SIZES,
    STYLES,
    THINGS,
    TIMES,
)

HELD_OUT = 300
_HELD_OUT_SEED = 20_26


@dataclass(frozen=True)
class Item:
    """One object of a scene: a thing, maybe with a hat, or a shape in a colour."""

    subject: str
    hat: str = ""
    colour: str = ""


@dataclass(frozen=True)
class Scene:
    """Everything that a caption may ask for; an empty string asks for nothing.

    Attributes:
        items: one object or two.
        place: one of PLACES.
        colour: a plain background's colour.
        time: one of TIMES.
        style: one of STYLES.
        side: where a single object stands, one of SIDES.
        size: how large the objects are, one of SIZES.
        portrait: whether the object fills the picture.
        relaxing: whether it leans back, a drink beside it.
    """

    items: tuple[Item, ...]
    place: str = "plain"
    colour: str = "white"
    time: str = ""
    style: str = ""
    side: str = ""
    size: str = ""
    portrait: bool = False
    relaxing: bool = False


# The prompts of the shipped configs. A scene without a place is drawn at any.
CONFIG_SCENES = {
    "an astronaut relaxing on a tropical island": Scene(
        (Item("astronaut"),), place="island", relaxing=True
    ),
    "a portrait of a panda wearing a top hat, cartoon": Scene(
        (Item("panda", "top hat"),), place="", style="cartoon", portrait=True
    ),
    "a shiny blue sphere on a table": Scene((Item("sphere", colour="blue"),), place="table"),
    "a birthday cake on a table, photo": Scene(
        (Item("birthday cake"),), place="table", style="photo"
    ),
    "a snowman in the snow": Scene((Item("snowman"),), place="snow"),
    "a pineapple on a tropical island, pop art": Scene(
        (Item("pineapple"),), place="island", style="pop art"
    ),
}

_THING_SHARES = np.array([thing.weight for thing in THINGS.values()])
_THING_SHARES /= _THING_SHARES.sum()
_PLACE_SHARES = np.array([{"island": 1.5, "table": 1.5, "plain": 2}.get(p, 1) for p in PLACES])
_PLACE_SHARES /= _PLACE_SHARES.sum()


def pick(rng: np.random.Generator, options: tuple[str, ...], shares: tuple[float, ...] = ()) -> str:
    """One of `options`, evenly or by `shares`."""
    return str(rng.choice(options, p=shares or None))


def draw_place(rng: np.random.Generator) -> str:
    """A place at random, those of the shipped configs more often."""
    return str(rng.choice(PLACES, p=_PLACE_SHARES))


def draw_item(rng: np.random.Generator) -> Item:
    """An object at random."""
    if rng.random() < 0.06:
        colour = pick(rng, tuple(SHAPE_COLOURS))
        return Item(pick(rng, SHAPES, (0.7, 0.3)), colour=colour)
    subject = str(rng.choice(tuple(THINGS), p=_THING_SHARES))
    wears_hat = THINGS[subject].brim > 0 and rng.random() < 0.45
    return Item(subject, pick(rng, tuple(HATS)) if wears_hat else "")


@functools.cache
def held_out() -> tuple[tuple[Item, str], ...]:
    """The objects and places that training never shows together: 300, a third of them in hats."""
    rng = np.random.default_rng(_HELD_OUT_SEED)
    shown = {(item, scene.place) for scene in CONFIG_SCENES.values() for item in scene.items}
    wearers = tuple(word for word, thing in THINGS.items() if thing.brim)
    chosen: dict[tuple[Item, str], None] = {}
    while len(chosen) < HELD_OUT:
        place = pick(rng, PLACES[:-1])
        if len(chosen) % 3 == 0:
            item = Item(pick(rng, wearers), pick(rng, tuple(HATS)))
        else:
            item = Item(pick(rng, tuple(THINGS)))
        if (item, place) not in shown and item.subject != "panda":
            chosen[item, place] = None
    return tuple(chosen)


def is_held_out(scene: Scene) -> bool:
    """Whether training must not show this scene."""
    kept = _held_out_set()
    return any((item, scene.place) in kept for item in scene.items)


@functools.cache
def _held_out_set() -> frozenset[tuple[Item, str]]:
    return frozenset(held_out())


def draw_scene(rng: np.random.Generator) -> Scene:
    """A scene at random that training may show."""
    while True:
        place = draw_place(rng)
        two = rng.random() < 0.2
        items = tuple(draw_item(rng) for _ in range(1 + two))
        if len({item.subject for item in items}) < len(items):
            continue
        scene = Scene(
            items=items,
            place=place,
            colour=pick(rng, tuple(PLAIN_COLOURS)),
            time=pick(rng, TIMES, (0.76, 0.12, 0.12)) if place in OUTDOORS else "",
            style=pick(rng, STYLES, (0.58, 0.13, 0.11, 0.10, 0.08)),
            side="" if two else pick(rng, SIDES, (0.72, 0.115, 0.115, 0.05)),
            size="" if two else pick(rng, SIZES, (0.84, 0.08, 0.08)),
            portrait=not two and rng.random() < 0.08,
            relaxing=not two and place == "island" and rng.random() < 0.12,
        )
        if not is_held_out(scene):
            return scene
