"""The vocabulary of the pictures: which emoji bears which word, and where a hat sits on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """One pasted picture: its word in captions, its emoji file, and how a hat fits, if one does.

    `brim` is the height of the hat's lower edge as a fraction of the picture (0 is the top),
    `lean` its centre from the left, `girth` its width as a fraction of the picture's width.
    """

    word: str
    code: str
    brim: float = 0.0
    lean: float = 0.5
    girth: float = 0.58

    @property
    def wears_hats(self) -> bool:
        """Whether hats are pasted on this one."""
        return self.brim > 0


ANIMALS = (
    Thing("panda", "1f43c", 0.20),
    Thing("cat", "1f431", 0.24),
    Thing("dog", "1f436", 0.17),
    Thing("fox", "1f98a", 0.36),
    Thing("bear", "1f43b", 0.20),
    Thing("koala", "1f428", 0.20),
    Thing("tiger", "1f42f", 0.17),
    Thing("lion", "1f981", 0.20),
    Thing("cow", "1f42e", 0.20),
    Thing("pig", "1f437", 0.20),
    Thing("frog", "1f438", 0.22, 0.5, 0.46),
    Thing("monkey", "1f435", 0.15, 0.5, 0.52),
    Thing("mouse", "1f42d", 0.34, 0.5, 0.44),
    Thing("wolf", "1f43a", 0.34),
    Thing("raccoon", "1f99d", 0.26),
    Thing("penguin", "1f427", 0.15, 0.5, 0.52),
    Thing("owl", "1f989", 0.14, 0.5, 0.62),
    Thing("rabbit", "1f430"),
    Thing("unicorn", "1f984"),
    Thing("chick", "1f424"),
    Thing("elephant", "1f418"),
    Thing("turtle", "1f422"),
    Thing("octopus", "1f419"),
    Thing("whale", "1f433"),
    Thing("butterfly", "1f98b"),
    Thing("ladybug", "1f41e"),
    Thing("bee", "1f41d"),
    Thing("duck", "1f986"),
    Thing("snail", "1f40c"),
    Thing("fish", "1f420"),
    Thing("crab", "1f980"),
)
FOOD = (
    Thing("pineapple", "1f34d"),
    Thing("birthday cake", "1f382"),
    Thing("pizza", "1f355"),
    Thing("hamburger", "1f354"),
    Thing("apple", "1f34e"),
    Thing("banana", "1f34c"),
    Thing("strawberry", "1f353"),
    Thing("watermelon", "1f349"),
    Thing("donut", "1f369"),
    Thing("cupcake", "1f9c1"),
    Thing("avocado", "1f951"),
    Thing("carrot", "1f955"),
)
VEHICLES = (
    Thing("rocket", "1f680"),
    Thing("car", "1f697"),
    Thing("bus", "1f68c"),
    Thing("sailboat", "26f5"),
    Thing("helicopter", "1f681"),
    Thing("tractor", "1f69c"),
    Thing("train", "1f682"),
    Thing("airplane", "2708-fe0f"),
    Thing("ufo", "1f6f8"),
)
OTHERS = (
    Thing("astronaut", "1f9d1-200d-1f680"),
    Thing("snowman", "26c4"),
    Thing("robot", "1f916"),
    Thing("ghost", "1f47b"),
    Thing("alien", "1f47d"),
    Thing("teddy", "1f9f8"),
    Thing("guitar", "1f3b8"),
    Thing("balloon", "1f388"),
    Thing("cactus", "1f335"),
    Thing("mushroom", "1f344"),
    Thing("sunflower", "1f33b"),
    Thing("house", "1f3e0"),
    Thing("gift", "1f381"),
    Thing("trophy", "1f3c6"),
    Thing("pumpkin", "1f383"),
    Thing("camera", "1f4f7"),
)
THINGS = {thing.word: thing for thing in ANIMALS + FOOD + VEHICLES + OTHERS}
SPHERE = "sphere"
OBJECTS = (*THINGS, SPHERE)

# Each hat's emoji, and its width beside a top hat's.
HATS = {
    "top hat": ("1f3a9", 1.0),
    "crown": ("1f451", 0.95),
    "cap": ("1f9e2", 1.12),
    "straw hat": ("1f452", 1.45),
}
PROPS = {"palm": "1f334", "drink": "1f379", "planet": "1fa90", "sun": "2600-fe0f"}

SPHERE_COLOURS = {
    "red": (214, 32, 38),
    "orange": (245, 124, 20),
    "yellow": (250, 205, 25),
    "green": (38, 160, 62),
    "blue": (28, 84, 220),
    "purple": (126, 44, 178),
    "pink": (246, 112, 172),
    "black": (34, 34, 40),
    "white": (236, 236, 240),
}
PLACES = ("island", "table", "space", "meadow", "snow", "plain")
PLAIN_COLOURS = {
    "white": (250, 250, 250),
    "yellow": (255, 214, 74),
    "blue": (92, 164, 246),
    "pink": (255, 170, 198),
    "green": (126, 208, 132),
}
STYLES = ("", "cartoon", "photo", "pop art")
