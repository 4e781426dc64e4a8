"""Places under a sky. Each paints a background and says how high and low feet may stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PIL import Image

from .painter import CELL, WHITE, Painter, mix, snap
from .things import RGB

Props = Mapping[str, Image.Image]
Feet = tuple[float, float]
Place = Callable[[Painter, str, Props], Feet]

SKIES: dict[str, tuple[tuple[RGB, RGB], ...]] = {
    "day": (
        ((56, 150, 236), (205, 238, 255)),
        ((100, 186, 250), (226, 245, 255)),
        ((70, 130, 210), (190, 215, 240)),
        ((150, 200, 235), (240, 245, 240)),
    ),
    "sunset": (
        ((92, 60, 130), (255, 160, 90)),
        ((214, 92, 100), (255, 205, 120)),
        ((70, 70, 140), (250, 130, 120)),
    ),
    "night": (((8, 10, 36), (36, 44, 100)), ((14, 16, 54), (58, 52, 112))),
}
CLOUDS: dict[str, RGB] = {"day": WHITE, "sunset": (255, 206, 190), "night": (96, 104, 150)}
STARLIGHT: RGB = (255, 250, 225)


def paint_sky(p: Painter, time: str, horizon: float, clouds: int = 3) -> None:
    """Sky down to the horizon, with sun or moon, stars and clouds where they fall."""
    high, low = SKIES[time][p.count(0, len(SKIES[time]) - 1)]
    p.gradient(0, horizon, p.one_of((high,)), p.one_of((low,)))
    x, y = p.on_grid(0.06, 0.94), p.on_grid(0.06, max(0.1, 0.6 * horizon))
    if time == "night":
        for _ in range(p.count(4, 14)):
            radius = p.between(0.006, 0.01)
            p.disc(p.between(0, 1), p.between(0, horizon), radius, radius, STARLIGHT)
        if p.chance(0.7):
            radius = p.between(0.05, 0.09)
            p.spot(x, y, 2.4 * radius, 2.4 * radius, (200, 210, 255), 30)
            p.disc(x, y, radius, radius, (250, 246, 220))
    elif time == "sunset" and p.chance(0.75):
        y, radius = horizon - p.between(-0.02, 0.16), p.between(0.07, 0.12)
        p.spot(x, y, 3 * radius, 3 * radius, (255, 220, 140), 60)
        p.disc(x, y, radius, radius, (255, 236, 170))
    elif time == "day" and p.chance(0.5):
        radius = p.between(0.055, 0.09)
        p.spot(x, y, 2.2 * radius, 2.2 * radius, (255, 244, 190), 60)
        p.disc(x, y, radius, radius, (255, 222, 84))
    for _ in range(p.count(0, clouds)):
        x, y, scale = p.between(0, 1), p.between(0.05, 0.75 * horizon), p.between(0.6, 1.4)
        for dx, dy, radius in ((-0.09, 0, 0.07), (0, -0.02, 0.09), (0.09, 0, 0.07)):
            wide = radius * scale
            p.spot(x + dx * scale, y + dy * scale, wide, 0.75 * wide, CLOUDS[time], 90)


def island(p: Painter, time: str, props: Props) -> Feet:
    """Sand in the sea, none to two palms."""
    horizon = p.on_grid(0.40, 0.62)
    paint_sky(p, time, horizon)
    p.gradient(horizon, 1, p.one_of(((20, 125, 200),)), p.one_of(((76, 214, 214),)))
    x, top, rx = p.between(0.25, 0.75), p.between(horizon + 0.06, 0.80), p.between(0.6, 1.0)
    foam = (190, 240, 232)
    p.hill(x, top - 0.025, rx + 0.05, foam, foam)
    p.hill(x, top, rx, p.one_of(((250, 216, 146),)), (225, 178, 113))
    for low, high in ((-0.02, 0.2), (0.8, 1.02)):
        if p.chance(0.43):
            foot, height = p.between(top + 0.03, top + 0.12), p.between(0.45, 0.78)
            p.paste(props["palm"], p.between(low, high), foot, height)
    return top + 0.06, 0.97


def meadow(p: Painter, time: str, props: Props) -> Feet:
    """Green hills, maybe a tree and flowers."""
    horizon = p.on_grid(0.48, 0.72)
    paint_sky(p, time, horizon + 0.1)
    p.gradient(horizon + 0.1, 1, (110, 180, 80), (70, 140, 55))
    for low, high, green in ((-0.1, 0.4, (140, 205, 96)), (0.6, 1.1, (120, 195, 90))):
        top, rx = horizon - p.between(0, 0.1), p.between(0.5, 0.8)
        p.hill(p.between(low, high), top, rx, p.one_of((green,)), (96, 176, 70))
    if p.chance(0.35):
        p.paste(props["tree"], p.between(0, 1), horizon + 0.07, p.between(0.25, 0.5))
    green = p.one_of(((110, 190, 70),))
    p.hill(p.between(0.3, 0.7), horizon + 0.05, p.between(1.0, 1.4), green, (58, 142, 50))
    if p.chance(0.6):
        petals: tuple[RGB, ...] = (WHITE, (255, 120, 150), (255, 220, 90), (190, 140, 240))
        petal = petals[p.count(0, 3)]
        for _ in range(p.count(3, 10)):
            x, y = p.between(0, 1), p.between(horizon + 0.12, 0.98)
            p.disc(x, y, 0.022, 0.022, petal)
            p.disc(x, y, 0.009, 0.009, (255, 190, 60))
    return horizon + 0.10, 0.97


def paint_pine(p: Painter, x: float, foot: float, height: float, *, snowy: bool) -> None:
    """A conifer of three tiers."""
    x, foot, height = snap(x), snap(foot), snap(height, 2 * CELL)
    green = p.one_of(((40, 104, 84),), 10)
    p.box(x - 0.02 * height, foot - 0.02, x + 0.02 * height, foot + 0.06 * height, (96, 64, 44))
    for tier, half in ((0.0, 0.27), (0.28, 0.21), (0.54, 0.15)):
        lit = mix(green, WHITE, 0.1 + 0.15 * tier)
        base, tip = foot - tier * height, foot - min(1, tier + 0.5) * height
        corners = [(x - half * height, base), (x + half * height, base), (x, tip)]
        p.polygon(corners, (232, 242, 250) if snowy and tier > 0.5 else lit)


def snow(p: Painter, time: str, props: Props) -> Feet:
    """White hills, maybe mountains, firs and flakes."""
    horizon = p.on_grid(0.45, 0.70)
    paint_sky(p, time, horizon + 0.1, 2)
    p.gradient(horizon + 0.1, 1, (236, 243, 252), (214, 228, 246))
    if p.chance(0.4):
        for _ in range(p.count(1, 3)):
            x, high, wide = p.between(0, 1), p.between(0.2, 0.4), p.between(0.25, 0.4)
            tip, rock = (x, horizon - high), p.one_of(((130, 146, 180),))
            p.polygon([(x - wide, horizon + 0.1), (x + wide, horizon + 0.1), tip], rock)
            cap, line = 0.35 * wide, horizon - 0.6 * high
            p.polygon([(x - cap, line), (x + cap, line), tip], (246, 250, 255))
    far = p.one_of(((226, 236, 250),), 8)
    top = horizon - p.between(0, 0.06)
    p.hill(p.between(0, 1), top, p.between(0.6, 0.9), far, (196, 214, 238))
    for _ in range(p.count(0, 4)):
        foot, height = horizon + p.between(0.03, 0.1), p.between(0.22, 0.5)
        paint_pine(p, p.between(0, 1), foot, height, snowy=True)
    near = p.one_of(((250, 252, 255),), 5)
    p.hill(p.between(0.2, 0.8), horizon + 0.07, p.between(1.0, 1.4), near, (214, 228, 246))
    if p.chance(0.5):
        for _ in range(p.count(6, 16)):
            radius = p.between(0.008, 0.014)
            p.disc(p.between(0, 1), p.between(0, 1), radius, radius, WHITE)
    return horizon + 0.12, 0.97


def forest(p: Painter, time: str, props: Props) -> Feet:
    """Two rows of trees, conifers, broad ones or both, and maybe a path."""
    horizon = p.on_grid(0.52, 0.72)
    paint_sky(p, time, horizon, 1)
    p.gradient(horizon, 1, (92, 150, 66), (60, 110, 46))
    haze = p.one_of(((130, 176, 130),)), p.one_of(((60, 110, 70),))
    p.gradient(horizon - 0.25, horizon, *haze)
    pines = (1.0, 0.0, 0.5)[p.count(0, 2)]
    for foot, most in ((horizon, 7), (horizon + 0.05, 5)):
        for _ in range(p.count(most - 3, most)):
            x, height = p.on_grid(-0.05, 1.05), p.on_grid(0.35, 0.75)
            if p.chance(pines):
                paint_pine(p, x, foot, height, snowy=False)
                continue
            p.box(x - 0.02, foot - height, x + 0.02, foot, p.one_of(((104, 70, 46),)))
            leaf = p.one_of(((64, 140, 60),))
            p.disc(x, foot - 0.8 * height, 0.13, 0.16, leaf)
            p.disc(x - 0.03, foot - 0.85 * height, 0.08, 0.1, mix(leaf, (255, 255, 200), 0.18))
    ground = p.one_of(((92, 150, 66),))
    p.hill(p.between(0.2, 0.8), horizon + 0.03, p.between(1.0, 1.5), ground, (50, 100, 40))
    if p.chance(0.4):
        x, foot, top = p.between(0.3, 0.7), p.between(0.1, 0.9), horizon + 0.05
        corners = [(x - 0.03, top), (x + 0.03, top), (foot + 0.22, 1.0), (foot - 0.22, 1.0)]
        p.polygon(corners, p.one_of(((196, 160, 110),)))
    return horizon + 0.08, 0.97


def city(p: Painter, time: str, props: Props) -> Feet:
    """A row of houses along a street."""
    horizon = p.on_grid(0.58, 0.74)
    paint_sky(p, time, horizon, 2)
    walls: tuple[RGB, ...] = (
        (176, 120, 104),
        (130, 140, 160),
        (206, 190, 160),
        (110, 120, 140),
        (190, 160, 140),
        (90, 110, 130),
    )
    pane: RGB = (214, 232, 246) if time == "day" else (255, 226, 130)
    left = -CELL * p.count(0, 2)
    while left < 1:
        wide, high = p.on_grid(0.14, 0.28), p.on_grid(0.18, 0.95 * horizon)
        wall = p.one_of(walls)
        p.box(left, horizon - high, left + wide, horizon, wall)
        columns = max(2, round(wide / 0.09))
        for row in range(int(high / 0.13)):
            for column in range(columns):
                x, y = left + (column + 0.25) * wide / columns, horizon - high + 0.045 + 0.13 * row
                p.box(x, y, x + 0.045, y + 0.065, mix(wall, pane, 0.45))
        left += wide
    p.gradient(horizon, 1, p.one_of(((150, 150, 155),)), p.one_of(((84, 86, 96),)))
    if p.chance(0.6):
        for k in range(5):
            p.box(0.22 * k - 0.02, 0.9, 0.22 * k + 0.1, 0.92, (240, 236, 220))
    return horizon + 0.06, 0.97


def desert(p: Painter, time: str, props: Props) -> Feet:
    """Dunes, some with cacti."""
    horizon = p.on_grid(0.48, 0.70)
    paint_sky(p, time, horizon + 0.1, 1)
    p.gradient(horizon + 0.1, 1, (232, 180, 110), (210, 150, 90))
    sand = p.one_of(((232, 176, 104),))
    for _ in range(p.count(1, 3)):
        dune = mix(sand, (190, 110, 70), p.between(0.1, 0.4))
        top, rx = horizon - p.between(0, 0.1), p.between(0.4, 0.8)
        p.hill(p.between(0, 1), top, rx, dune, (170, 100, 60))
    for _ in range(p.count(0, 2)):
        p.paste(props["cactus"], p.between(0, 1), horizon + 0.1, p.between(0.18, 0.35))
    near = mix(sand, (255, 240, 200), 0.2)
    p.hill(p.between(0.1, 0.9), horizon + 0.06, p.between(0.9, 1.4), near, (200, 130, 80))
    return horizon + 0.11, 0.97


PAINTED_OUTDOORS: dict[str, Place] = {
    "island": island,
    "meadow": meadow,
    "snow": snow,
    "forest": forest,
    "city": city,
    "desert": desert,
}
