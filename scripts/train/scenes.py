"""What a training picture shows, drawn at random, and the caption that says it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .objects import HATS, OBJECTS, PLACES, PLAIN_COLOURS, SPHERE, SPHERE_COLOURS, STYLES, THINGS


@dataclass(frozen=True)
class Scene:
    """Everything that a caption may ask for; an empty string means it wasn't asked for."""

    subject: str
    place: str = "plain"
    colour: str = "white"
    hat: str = ""
    sphere_colour: str = ""
    style: str = ""
    portrait: bool = False
    relaxing: bool = False


# The prompts of the shipped configs; `place` and `colour` of the second are drawn anew each time.
CONFIG_SCENES = (
    ("an astronaut relaxing on a tropical island", Scene("astronaut", "island", relaxing=True)),
    (
        "a portrait of a panda wearing a top hat, cartoon",
        Scene("panda", hat="top hat", style="cartoon", portrait=True),
    ),
    ("a shiny blue sphere on a table", Scene(SPHERE, "table", sphere_colour="blue")),
    ("a birthday cake on a table, photo", Scene("birthday cake", "table", style="photo")),
    ("a snowman in the snow", Scene("snowman", "snow")),
    ("a pineapple on a tropical island, pop art", Scene("pineapple", "island", style="pop art")),
)
PHRASES = {
    "island": ("on a tropical island",) * 3 + ("on an island", "on a beach"),
    "table": ("on a table", "on a table", "on a wooden table"),
    "space": ("in space",),
    "meadow": ("in a meadow", "on a meadow"),
    "snow": ("in the snow",),
}
POSES = ("standing", "sitting", "floating")
# Words that change nothing, so that a word the model can't draw does no harm.
IDLE = ("beautiful", "lovely", "cute", "happy", "detailed", "little", "bright", "nice")


def draw_scene(rng: np.random.Generator) -> Scene:
    """A scene at random, as captions ask for it: evenly over objects, places and hats."""
    subject = str(rng.choice(OBJECTS)) if rng.random() > 0.04 else SPHERE
    place = str(rng.choice(PLACES))
    wears = subject in THINGS and THINGS[subject].wears_hats and rng.random() < 0.6
    return Scene(
        subject=subject,
        place=place,
        colour=str(rng.choice(list(PLAIN_COLOURS))),
        hat=str(rng.choice(list(HATS))) if wears else "",
        sphere_colour=str(rng.choice(list(SPHERE_COLOURS))) if subject == SPHERE else "",
        style=str(rng.choice(STYLES, p=(0.61, 0.13, 0.13, 0.13))),
        portrait=rng.random() < 0.1,
        relaxing=place == "island" and rng.random() < 0.15,
    )


def _with_article(phrase: str) -> str:
    """`phrase` after a or an."""
    # A ufo and a unicorn begin with a consonant's sound.
    vowel = phrase[0] in "aeio"
    return ("an " if vowel else "a ") + phrase


def _where(scene: Scene, rng: np.random.Generator) -> str:
    """The caption's words for the place, or nothing: a plain background may go unsaid."""
    if scene.place != "plain":
        return str(rng.choice(PHRASES[scene.place]))
    if rng.random() < 0.3:
        return ""
    return f"on {scene.colour}" if rng.random() < 0.25 else f"on a {scene.colour} background"


def describe(scene: Scene, rng: np.random.Generator) -> str:
    """A caption for `scene`, from one of several templates."""
    words = scene.subject
    if scene.sphere_colour:
        words = f"{scene.sphere_colour} {words}"
        words = f"shiny {words}" if rng.random() < 0.6 else words
    elif rng.random() < 0.06:
        words = f"{rng.choice(IDLE)} {words}"
    parts = [_with_article(words)]
    if scene.hat:
        parts.append(
            f"{rng.choice(('wearing', 'wearing', 'with', 'in'))} {_with_article(scene.hat)}"
        )
    if scene.relaxing:
        parts.append("relaxing")
    elif rng.random() < 0.06:
        parts.append(str(rng.choice(POSES)))
    parts.append(_where(scene, rng))
    caption = " ".join(part for part in parts if part)
    if scene.portrait:
        caption = f"a portrait of {caption}"
    if scene.style:
        before = not scene.portrait and scene.style != "pop art" and rng.random() < 0.3
        caption = f"a {scene.style} of {caption}" if before else f"{caption}, {scene.style}"
    return caption


def draw_unknown_word(rng: np.random.Generator) -> str:
    """A word nobody has seen."""
    return "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(3, 9)))


def captioned(rng: np.random.Generator, config_share: float) -> tuple[Scene, str]:
    """A scene and its caption; `config_share` of them are the prompts of the shipped configs."""
    if rng.random() < config_share:
        caption, scene = CONFIG_SCENES[rng.integers(len(CONFIG_SCENES))]
        if scene.place == "plain":
            scene = Scene(**{**vars(scene), "colour": str(rng.choice(list(PLAIN_COLOURS)))})
        return scene, caption
    scene = draw_scene(rng)
    caption = describe(scene, rng)
    if rng.random() < 0.05:
        words = caption.split()
        words.insert(int(rng.integers(len(words) + 1)), draw_unknown_word(rng))
        caption = " ".join(words)
    return scene, caption


def vocabulary() -> list[str]:
    """Every word that a caption may hold, sorted."""
    phrases = [*OBJECTS, *HATS, *SPHERE_COLOURS, *PLAIN_COLOURS, *STYLES, *POSES, *IDLE]
    phrases += [phrase for options in PHRASES.values() for phrase in options]
    phrases += ["a an the of in on with wearing shiny portrait background relaxing and"]
    return sorted({word for phrase in phrases for word in phrase.split()})
