"""Captions of scenes, from templates, and the words that they hold."""

from __future__ import annotations

import dataclasses
import string

import numpy as np

from .scene import CONFIG_SCENES, Item, Scene, draw_place, draw_scene, held_out, pick
from .things import HATS, PLAIN_COLOURS, SHAPE_COLOURS, SHAPES, STYLES, THINGS

PHRASES = {
    "island": ("on a tropical island",) * 2 + ("on an island", "on a beach", "at the beach"),
    "table": ("on a table",) * 2 + ("on a wooden table",),
    "space": ("in space", "in space", "in outer space"),
    "meadow": ("in a meadow", "on a meadow", "in a field", "in a garden", "on the grass"),
    "snow": ("in the snow",),
    "forest": ("in a forest", "in the forest", "in the woods"),
    "city": ("in a city", "in the city", "in a street"),
    "desert": ("in a desert", "in the desert"),
    "underwater": ("under water", "underwater", "in the sea"),
}
TIME_PHRASES = {"": "", "night": "at night", "sunset": "at sunset"}
SIZE_WORDS = {"small": ("small", "small", "little", "tiny"), "large": ("large", "big", "huge")}
HAT_LINKS = ("wearing", "wearing", "with", "in")
PAIR_LINKS = ("and", "and", "and", "next to", "with")
POSES = ("standing", "sitting", "floating")
# Words that change nothing, so that a word the model can't draw does no harm.
IDLE = ("beautiful", "lovely", "cute", "happy", "detailed", "bright", "nice", "funny", "old", "new")
CONFIG_SHARE = 0.24
UNKNOWN_SHARE = 0.03


def with_article(phrase: str) -> str:
    """`phrase` after a or an: a ufo and a unicorn begin with a consonant's sound."""
    return ("an " if phrase[0] in "aeio" else "a ") + phrase


def name_item(item: Item, size: str, rng: np.random.Generator) -> str:
    """An object's name with article, size and hat."""
    if item.colour:
        shiny = "shiny " if rng.random() < 0.5 else ""
        words = f"{shiny}{item.colour} {item.subject}"
    else:
        also = THINGS[item.subject].also
        words = pick(rng, also) if also and rng.random() < 0.25 else item.subject
        if rng.random() < 0.06:
            words = f"{pick(rng, IDLE)} {words}"
    if size:
        words = f"{pick(rng, SIZE_WORDS[size])} {words}"
    words = with_article(words)
    return f"{words} {pick(rng, HAT_LINKS)} {with_article(item.hat)}" if item.hat else words


def name_place(scene: Scene, rng: np.random.Generator) -> str:
    """Where the scene is."""
    if scene.place != "plain":
        return pick(rng, PHRASES[scene.place])
    short = rng.random() < 0.15
    return f"on {scene.colour}" if short else f"on a {scene.colour} background"


def describe(scene: Scene, rng: np.random.Generator, *, whole: bool = False) -> str:
    """A caption for `scene`.

    Args:
        scene: what the picture shows.
        rng: chooses among the templates.
        whole: whether the place must be named; else it is sometimes left open.
    """
    names = [name_item(item, scene.size, rng) for item in scene.items]
    parts = [f" {pick(rng, PAIR_LINKS)} ".join(names)]
    if scene.relaxing:
        parts.append("relaxing")
    elif rng.random() < 0.05:
        parts.append(pick(rng, POSES))
    unsaid = rng.random() < (0.3 if scene.place == "plain" else 0.12)
    if whole or not unsaid:
        parts.append(name_place(scene, rng))
    parts.append(TIME_PHRASES[scene.time])
    caption = " ".join(filter(None, parts))
    if scene.portrait:
        caption = f"a portrait of {caption}"
    elif scene.side:
        link = ", in the" if scene.side == "middle" else ", on the"
        caption = f"{caption}{link} {scene.side}"
    if not scene.style:
        return caption
    leads = not scene.portrait and scene.style != "pop art" and rng.random() < 0.35
    return f"a {scene.style} of {caption}" if leads else f"{caption}, {scene.style}"


def draw_captioned(rng: np.random.Generator) -> tuple[Scene, str]:
    """A scene for training and its caption; one in four shows a shipped config's prompt."""
    if rng.random() < CONFIG_SHARE:
        caption = pick(rng, tuple(CONFIG_SCENES))
        scene = CONFIG_SCENES[caption]
        scene = dataclasses.replace(scene, colour=pick(rng, tuple(PLAIN_COLOURS)))
        return dataclasses.replace(scene, place=scene.place or draw_place(rng)), caption
    scene = draw_scene(rng)
    caption = describe(scene, rng)
    if rng.random() < UNKNOWN_SHARE:
        unknown = "".join(rng.choice(list(string.ascii_lowercase), rng.integers(3, 9)))
        words = caption.split()
        words.insert(int(rng.integers(len(words) + 1)), unknown)
        caption = " ".join(words)
    return scene, caption


def held_out_captions() -> dict[str, Scene]:
    """A caption for every combination that training never shows."""
    rng = np.random.default_rng(0)
    scenes = [Scene((item,), place=place) for item, place in held_out()]
    return {describe(scene, rng, whole=True): scene for scene in scenes}


def vocabulary() -> list[str]:
    """Every word that a caption may hold, sorted."""
    phrases = [*THINGS, *SHAPES, *HATS, *SHAPE_COLOURS, *PLAIN_COLOURS, *STYLES, *POSES, *IDLE]
    phrases += [name for thing in THINGS.values() for name in thing.also]
    for options in (*PHRASES.values(), *SIZE_WORDS.values(), HAT_LINKS, PAIR_LINKS):
        phrases += options
    phrases += TIME_PHRASES.values()
    phrases.append("a an of on in the shiny relaxing background portrait left right middle")
    return sorted({word for phrase in phrases for word in phrase.split()})
