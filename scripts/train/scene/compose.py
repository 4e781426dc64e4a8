"""Pictures of scenes: everything that a scene leaves open is drawn at random."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from .elsewhere import PAINTED_ELSEWHERE, paint_plain
from .outdoors import PAINTED_OUTDOORS, Feet
from .painter import CANVAS_PX, Painter, corner_of, snap
from .scene import Item, Scene
from .shapes import DRAWN, TURNS
from .sprites import FLAT, SOLID, Sprites
from .styles import (
    darken_background,
    draw_rim,
    style_background,
    style_object,
    style_picture,
    tint_object,
)
from .things import HATS, OUTDOORS, PROPS, THINGS

PICTURE_PX = CANVAS_PX // 2
# An object's longer side as a share of the picture's, by the size that was asked for.
REACH = {"": (0.58, 0.86), "small": (0.46, 0.54), "large": (0.76, 0.92)}
PAIR_REACH = (0.45, 0.54)
PORTRAIT_REACH = (0.80, 0.98)
TURN_DEG = 8  # objects are tilted by multiples of it
UNSAID_TIMES = {"day": 0.88, "night": 0.05, "sunset": 0.07}
PAINTED = PAINTED_OUTDOORS | PAINTED_ELSEWHERE


@dataclass(frozen=True)
class Placed:
    """Where an object ended up: its middle and its longer side, as shares of the picture's side."""

    x: float
    y: float
    reach: float


class Composer:
    """Draws scenes from the sprites.

    Args:
        sprites: every emoji in both drawings, by set and code.
    """

    def __init__(self, sprites: Sprites) -> None:
        self._sprites = sprites
        self._wearing = functools.cache(self._put_hat_on)

    def compose(
        self, scene: Scene, rng: np.random.Generator
    ) -> tuple[np.ndarray, tuple[Placed, ...]]:
        """Draw a scene.

        Args:
            scene: what to show.
            rng: decides the rest; the same state gives the same picture.

        Returns:
            The picture, uint8 (PICTURE_PX, PICTURE_PX, 3), and where each item ended up.
        """
        p = Painter(rng)
        kind = FLAT if scene.style == "cartoon" else SOLID
        time = scene.time or str(rng.choice(list(UNSAID_TIMES), p=list(UNSAID_TIMES.values())))
        feet = self._paint_background(p, scene, kind, time)
        placed = self._place_items(p, scene, kind, time, feet)
        return np.asarray(style_picture(p.image.reduce(2), scene.style)), placed

    def _paint_background(self, p: Painter, scene: Scene, kind: str, time: str) -> Feet:
        """The place in its style and light."""
        if scene.place == "plain":
            feet = paint_plain(p, scene.colour)
        else:
            props = {name: self._sprites[kind][code] for name, code in PROPS.items()}
            feet = PAINTED[scene.place](p, time, props)
        style_background(p, scene.style)
        if scene.place in OUTDOORS and time != "day":
            darken_background(p, time)
        return feet

    def _put_hat_on(self, kind: str, subject: str, hat: str) -> Image.Image:
        """A thing in its hat, cut to the edges of both."""
        thing, (code, breadth) = THINGS[subject], HATS[hat]
        body, worn = self._sprites[kind][thing.code], self._sprites[kind][code]
        width = round(thing.girth * breadth * body.width)
        worn = worn.resize((width, round(worn.height * width / worn.width)))
        canvas = Image.new("RGBA", (2 * body.width, body.height + worn.height), (0, 0, 0, 0))
        left, top = body.width // 2, worn.height
        canvas.paste(body, (left, top))
        x = round(left + thing.lean * body.width - width / 2)
        canvas.alpha_composite(worn, (x, round(thing.brim * body.height)))
        return canvas.crop(canvas.getchannel("A").getbbox())

    def _draw_item(self, p: Painter, item: Item, kind: str) -> Image.Image:
        """An object as it stands upright."""
        if item.colour:
            return DRAWN[item.subject](item.colour, p.count(0, TURNS - 1))
        if item.hat:
            return self._wearing(kind, item.subject, item.hat)
        return self._sprites[kind][THINGS[item.subject].code]

    def _place_items(
        self, p: Painter, scene: Scene, kind: str, time: str, feet: Feet
    ) -> tuple[Placed, ...]:
        """Paste the objects, the farther one first."""
        count = len(scene.items)
        sides = ["left", "right"] if count == 2 else [scene.side]
        if p.chance(0.5):
            sides.reverse()
        low, high = feet
        depths = sorted(p.between(max(low, 0.4), high) for _ in range(count)) if low >= 0 else []
        order = list(range(count)) if p.chance(0.5) else list(reversed(range(count)))
        placed: dict[int, Placed] = {}
        for k, index in enumerate(order):
            item, afloat = scene.items[index], not depths
            if item.subject in THINGS and THINGS[item.subject].flies and p.chance(0.7):
                afloat = True
            sprite = self._pose(p, self._draw_item(p, item, kind), scene, item, afloat=afloat)
            wide, high = sprite.width / CANVAS_PX, sprite.height / CANVAS_PX
            x = _choose_x(p, wide, sides[index], scene)
            if scene.portrait:
                foot = p.between(0.9, 1.03)
            elif afloat:
                foot = p.between(min(0.5, high / 2 + 0.01), max(0.5, 0.99 - high / 2)) + high / 2
            else:
                foot = min(0.98, max(depths[k], high + 0.01))
            left, top = corner_of(sprite, x, foot)
            x, foot = left / CANVAS_PX + wide / 2, top / CANVAS_PX + high
            reach = max(wide, high)
            if not afloat and not scene.portrait:
                p.spot(x, foot - 0.01, 0.42 * wide + 0.02, 0.05 + 0.04 * reach, (20, 20, 40), 55)
            if scene.relaxing:
                drink = x + (wide / 2 + 0.09) * (1 if x < 0.5 else -1)
                drawn = self._sprites[kind][PROPS["drink"]]
                p.paste(drawn, min(0.92, max(0.08, drink)), min(0.98, foot + 0.02), 0.26)
            if scene.place in OUTDOORS and time != "day":
                sprite = tint_object(sprite, time)
            sprite = style_object(sprite, scene.style)
            draw_rim(p.image, sprite, (left, top), scene.style)
            p.image.paste(sprite, (left, top), sprite)
            placed[index] = Placed(x, foot - high / 2, reach)
        return tuple(placed[index] for index in range(count))

    def _pose(
        self, p: Painter, sprite: Image.Image, scene: Scene, item: Item, *, afloat: bool
    ) -> Image.Image:
        """Size, mirror and tilt an object."""
        reach = p.between(*(PAIR_REACH if len(scene.items) == 2 else REACH[scene.size]))
        if scene.portrait:
            reach = p.between(*PORTRAIT_REACH)
        elif item.hat and len(scene.items) == 1:
            reach = min(0.98, 1.15 * reach)
        scale = snap(reach) * CANVAS_PX / max(sprite.size)
        size = round(sprite.width * scale), round(sprite.height * scale)
        sprite = sprite.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
        if p.chance(0.5):
            sprite = ImageOps.mirror(sprite)
        angle = p.rng.normal(0, 12 if afloat else 4)
        if scene.relaxing:
            angle = p.between(8, 24) * (1 if p.chance(0.5) else -1)
        angle = TURN_DEG * round(angle / TURN_DEG)
        if angle == 0:
            return sprite
        sprite = sprite.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        return sprite.crop(sprite.getchannel("A").getbbox())


def _choose_x(p: Painter, wide: float, side: str, scene: Scene) -> float:
    """Where an object's middle goes across, so that it stays inside and on its side."""
    left, right = min(0.5, wide / 2 + 0.01), max(0.5, 0.99 - wide / 2)
    if scene.portrait:
        return float(np.clip(0.5 + p.between(-0.12, 0.12), left, right))
    if side == "left":
        return p.between(left, max(left + 0.02, 0.34))
    if side == "right":
        return p.between(min(right - 0.02, 0.66), right)
    if side == "middle":
        return p.between(0.46, 0.54)
    return p.between(left, right)
