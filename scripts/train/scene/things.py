"""What pictures can show: things and their emoji, hats, colours, places, styles."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Thing:
    """One thing that captions name.

    Attributes:
        word: its name.
        code: the emoji that shows it, as hexadecimal code points joined by hyphens.
        brim: height of a hat's lower edge, as a share of the emoji's height from the top;
            0 if it wears no hats.
        lean: the hat's middle, as a share of the emoji's width from the left.
        girth: a top hat's width as a share of the emoji's width.
        also: other names for it.
        weight: how often it is drawn, relative to 1.
        flies: whether it may hang in the air.
    """

    word: str
    code: str
    brim: float = 0.0
    lean: float = 0.5
    girth: float = 0.58
    also: tuple[str, ...] = ()
    weight: float = 1.0
    flies: bool = False


ANIMALS = (
    Thing("panda", "1f43c", 0.20, weight=2.5, also=("panda bear",)),
    Thing("cat", "1f431", 0.24, weight=2, also=("kitten",)),
    Thing("dog", "1f436", 0.17, weight=2, also=("puppy",)),
    Thing("fox", "1f98a", 0.36, weight=1.5),
    Thing("bear", "1f43b", 0.20, weight=1.5),
    Thing("koala", "1f428", 0.20),
    Thing("tiger", "1f42f", 0.17),
    Thing("lion", "1f981", 0.20, weight=1.5),
    Thing("cow", "1f42e", 0.20),
    Thing("pig", "1f437", 0.20),
    Thing("frog", "1f438", 0.22, girth=0.46),
    Thing("monkey", "1f435", 0.15, girth=0.52),
    Thing("mouse", "1f42d", 0.34, girth=0.44),
    Thing("wolf", "1f43a", 0.34),
    Thing("raccoon", "1f99d", 0.26),
    Thing("penguin", "1f427", 0.15, girth=0.52, weight=1.5),
    Thing("owl", "1f989", 0.14, girth=0.62),
    Thing("rabbit", "1f430", also=("bunny",)),
    Thing("unicorn", "1f984"),
    Thing("chick", "1f424"),
    Thing("elephant", "1f418"),
    Thing("turtle", "1f422"),
    Thing("octopus", "1f419"),
    Thing("whale", "1f433"),
    Thing("butterfly", "1f98b", flies=True),
    Thing("ladybug", "1f41e"),
    Thing("bee", "1f41d", flies=True),
    Thing("duck", "1f986"),
    Thing("snail", "1f40c"),
    Thing("fish", "1f420"),
    Thing("crab", "1f980"),
    Thing("dinosaur", "1f996"),
)
FOOD = (
    Thing("pineapple", "1f34d", weight=2),
    Thing("birthday cake", "1f382", weight=2, also=("cake",)),
    Thing("pizza", "1f355"),
    Thing("hamburger", "1f354", also=("burger",)),
    Thing("apple", "1f34e"),
    Thing("banana", "1f34c"),
    Thing("strawberry", "1f353"),
    Thing("watermelon", "1f349"),
    Thing("orange", "1f34a"),
    Thing("lemon", "1f34b"),
    Thing("donut", "1f369"),
    Thing("cupcake", "1f9c1"),
    Thing("cookie", "1f36a"),
    Thing("avocado", "1f951"),
    Thing("carrot", "1f955"),
    Thing("tomato", "1f345"),
)
VEHICLES = (
    Thing("rocket", "1f680", flies=True, weight=1.5, also=("spaceship",)),
    Thing("car", "1f697", weight=1.5, also=("red car",)),
    Thing("bus", "1f68c"),
    Thing("truck", "1f69a"),
    Thing("tractor", "1f69c"),
    Thing("train", "1f682"),
    Thing("sailboat", "26f5", also=("boat",)),
    Thing("helicopter", "1f681", flies=True),
    Thing("airplane", "2708-fe0f", flies=True, also=("plane",)),
    Thing("ufo", "1f6f8", flies=True),
)
PLANTS = (
    Thing("cactus", "1f335"),
    Thing("mushroom", "1f344"),
    Thing("sunflower", "1f33b"),
    Thing("tulip", "1f337"),
    Thing("tree", "1f333"),
    Thing("christmas tree", "1f384"),
)
OTHERS = (
    Thing("astronaut", "1f9d1-200d-1f680", weight=3),
    Thing("snowman", "26c4", weight=2.5),
    Thing("robot", "1f916", weight=1.5),
    Thing("ghost", "1f47b"),
    Thing("alien", "1f47d"),
    Thing("teddy bear", "1f9f8", also=("teddy",)),
    Thing("skull", "1f480"),
    Thing("house", "1f3e0"),
    Thing("castle", "1f3f0"),
    Thing("guitar", "1f3b8"),
    Thing("camera", "1f4f7"),
    Thing("balloon", "1f388", flies=True),
    Thing("gift", "1f381", also=("present",)),
    Thing("trophy", "1f3c6"),
    Thing("pumpkin", "1f383"),
    Thing("heart", "2764-fe0f", flies=True),
    Thing("star", "2b50", flies=True),
)
THINGS = {thing.word: thing for thing in ANIMALS + FOOD + VEHICLES + PLANTS + OTHERS}
# Drawn by the composer itself, in a colour that the caption names.
SHAPES = ("sphere", "cube")
SUBJECTS = (*THINGS, *SHAPES)

# Each hat's emoji, and its width beside a top hat's.
HATS = {
    "top hat": ("1f3a9", 1.0),
    "crown": ("1f451", 0.95),
    "cap": ("1f9e2", 1.12),
    "straw hat": ("1f452", 1.45),
}
# What backgrounds and poses are furnished with.
PROPS = {
    "palm": "1f334",
    "drink": "1f379",
    "planet": "1fa90",
    "cactus": "1f335",
    "tree": "1f333",
}

SHAPE_COLOURS: dict[str, RGB] = {
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
PLAIN_COLOURS: dict[str, RGB] = {
    "white": (250, 250, 250),
    "yellow": (255, 214, 74),
    "blue": (92, 164, 246),
    "pink": (255, 170, 198),
    "green": (126, 208, 132),
    "red": (226, 72, 66),
    "orange": (250, 156, 70),
    "purple": (156, 110, 206),
    "grey": (160, 164, 172),
    "black": (38, 38, 46),
}
OUTDOORS = ("island", "meadow", "snow", "forest", "city", "desert")
PLACES = (*OUTDOORS, "table", "space", "underwater", "plain")
TIMES = ("", "night", "sunset")
STYLES = ("", "cartoon", "photo", "pop art", "painting")
SIDES = ("", "left", "right", "middle")
SIZES = ("", "small", "large")
