"""Places without a sky: a table in a room, space, under water, and plain colours."""

from __future__ import annotations

from .outdoors import STARLIGHT, Feet, Place, Props
from .painter import WHITE, Painter, mix
from .things import PLAIN_COLOURS, RGB

# Feet may be anywhere: what is here hangs free.
AFLOAT: Feet = (-1.0, -1.0)
WALLS: tuple[RGB, ...] = (
    (150, 185, 190),
    (235, 215, 180),
    (190, 160, 200),
    (240, 180, 160),
    (150, 190, 140),
    (110, 130, 180),
    (225, 225, 225),
    (200, 90, 80),
    (250, 205, 100),
    (70, 90, 100),
)
WOODS: tuple[RGB, ...] = (
    (196, 130, 74),
    (150, 92, 52),
    (222, 180, 130),
    (110, 70, 50),
    (235, 232, 225),
    (170, 60, 50),
)
PLANETS: tuple[RGB, ...] = (
    (230, 120, 80),
    (90, 150, 230),
    (200, 200, 210),
    (240, 200, 120),
    (130, 200, 150),
    (190, 110, 200),
)
DEEP_SPACE: tuple[RGB, ...] = ((38, 22, 82), (10, 30, 70), (60, 20, 60))
NEBULAS: tuple[RGB, ...] = ((120, 50, 160), (40, 100, 190), (190, 60, 110), (40, 150, 150))
WEEDS: tuple[RGB, ...] = ((40, 140, 80), (60, 160, 60), (210, 80, 110), (230, 130, 60))


def table(p: Painter, time: str, props: Props) -> Feet:
    """A table before a wall, which may have a window or a picture."""
    edge = p.on_grid(0.50, 0.74)
    wall = p.one_of(WALLS)
    p.gradient(0, edge, mix(wall, (0, 0, 0), 0.2), mix(wall, WHITE, 0.15))
    light = p.between(0.3, 0.6), p.between(0.3, 0.6)
    p.spot(p.between(0, 1), p.between(0.1, 0.5), *light, (255, 248, 225), p.between(20, 60))
    x, y = p.on_grid(0.05, 0.75), p.on_grid(0.04, 0.15)
    wide, high = p.on_grid(0.18, 0.32), p.on_grid(0.2, 0.32)
    kind = p.rng.random()
    if kind < 0.25:
        p.box(x - 0.02, y - 0.02, x + wide + 0.02, y + high + 0.02, (250, 250, 245))
        p.box(x, y, x + wide, y + high, p.one_of(((170, 215, 250),)))
        p.box(x + wide / 2 - 0.01, y, x + wide / 2 + 0.01, y + high, (250, 250, 245))
        p.box(x, y + high / 2 - 0.01, x + wide, y + high / 2 + 0.01, (250, 250, 245))
    elif kind < 0.43:
        p.box(x - 0.025, y - 0.025, x + wide + 0.025, y + high + 0.025, (90, 60, 40))
        p.box(x, y, x + wide, y + high, p.one_of(((220, 150, 130),), 60))
    wood = p.one_of(WOODS)
    p.gradient(edge, 1, mix(wood, (255, 230, 190), 0.15), mix(wood, (40, 20, 10), 0.3))
    if p.chance(0.5):
        middle, groove = p.between(0.2, 0.8), mix(wood, (40, 20, 10), 0.35)
        for foot in (-0.9, -0.1, 0.7, 1.5):
            top = middle + (foot - middle) * 0.5
            corners = [(top - 0.004, edge), (top + 0.004, edge), (foot + 0.01, 1), (foot - 0.01, 1)]
            p.polygon(corners, groove)
    p.box(0, edge, 1, edge + 0.018, mix(wood, (255, 235, 200), 0.35))
    return edge + 0.08, 0.96


def space(p: Painter, time: str, props: Props) -> Feet:
    """Nebulas, stars, planets; sometimes the ground of a moon."""
    p.gradient(0, 1, p.one_of(((12, 10, 40),), 10), p.one_of(DEEP_SPACE, 10))
    for _ in range(p.count(1, 3)):
        x, y, glow = p.between(0, 1), p.between(0, 1), p.one_of(NEBULAS, 0)
        p.spot(x, y, p.between(0.25, 0.6), p.between(0.2, 0.5), glow, p.between(30, 60))
    for _ in range(p.count(8, 22)):
        radius = p.between(0.005, 0.01)
        p.disc(p.between(0, 1), p.between(0, 1), radius, radius, STARLIGHT)
    for _ in range(int(p.rng.choice(4, p=(0.25, 0.4, 0.25, 0.1)))):
        x, y = p.on_grid(0.02, 0.98), p.on_grid(0.02, 0.9)
        radius = p.on_grid(0.06, 0.17)
        if p.chance(0.35):
            p.paste(props["planet"], x, y + radius, 2.2 * radius)
        else:
            p.planet(x, y, radius, p.one_of(PLANETS))
    if not p.chance(0.25):
        return AFLOAT
    top = p.between(0.68, 0.85)
    ground = p.one_of(((170, 170, 185), (190, 110, 80)))
    p.hill(p.between(0.2, 0.8), top, p.between(0.8, 1.2), ground, (60, 60, 80))
    for _ in range(p.count(1, 4)):
        y = p.between(top + 0.06, 0.98)
        p.disc(p.between(0.05, 0.95), y, 0.05, 0.018, mix(ground, (60, 60, 80), 0.3))
    return top + 0.05, 0.96


def underwater(p: Painter, time: str, props: Props) -> Feet:
    """Blue depths with bubbles, weeds and maybe a sandy bottom."""
    p.gradient(0, 1, p.one_of(((70, 190, 225),)), p.one_of(((8, 60, 120),)))
    for _ in range(p.count(0, 3)):
        ray = p.between(0.06, 0.12), p.between(0.5, 0.8)
        p.spot(p.between(0, 1), 0.1, *ray, (190, 240, 250), p.between(15, 35))
    bottom = p.between(0.75, 0.95)
    if p.chance(0.8):
        sand = p.one_of(((206, 186, 136),))
        p.hill(p.between(0.2, 0.8), bottom, p.between(0.8, 1.3), sand, (130, 120, 100))
    for _ in range(p.count(0, 5)):
        x, high, weed = p.between(0, 1), p.between(0.14, 0.4), p.one_of(WEEDS)
        foot = min(1.0, bottom + 0.06)
        for k in range(4):
            p.disc(x + 0.018 * (-1) ** k, foot - high * (k + 0.5) / 4, 0.022, high / 6, weed)
    for _ in range(p.count(2, 9)):
        x, y, radius = p.between(0, 1), p.between(0, 0.9), p.between(0.012, 0.026)
        p.disc(x, y, radius, radius, (170, 225, 245))
        p.disc(x - radius / 4, y - radius / 4, radius / 2, radius / 2, (230, 250, 255))
    return AFLOAT


def paint_plain(p: Painter, colour: str) -> Feet:
    """One colour with soft light, or a studio's wall and floor."""
    base = p.one_of((PLAIN_COLOURS[colour],), 8)
    if p.chance(0.75):
        light, dark = p.between(0, 0.2), p.between(0, 0.22)
        p.gradient(0, 1, mix(base, WHITE, light), mix(base, (40, 40, 70), dark))
        size = p.between(0.4, 0.9), p.between(0.4, 0.9)
        p.spot(p.between(0, 1), p.between(0, 0.8), *size, WHITE, p.between(10, 50))
    else:
        edge = p.on_grid(0.6, 0.85)
        p.gradient(0, edge, base, mix(base, WHITE, 0.2))
        p.gradient(edge, 1, mix(base, (60, 60, 80), 0.22), mix(base, WHITE, 0.05))
    return 0.5, 0.97


PAINTED_ELSEWHERE: dict[str, Place] = {"table": table, "space": space, "underwater": underwater}
