"""Pictures from scenes: emoji pasted on drawn backgrounds, with hats, shadows and styles."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from .backgrounds import DRAWERS, plain, soften
from .objects import HATS, PROPS, SPHERE_COLOURS, THINGS
from .scenes import Scene, captioned

EMOJI_PX = 256
# Everything is drawn larger and reduced once, which smooths every edge.
SUPERSAMPLE = 2
# Backgrounds are most of the cost: each is drawn this often, a little changed, and kept.
VARIANTS = 24


class Composer:
    """Draws scenes from a folder of emoji, keeping the cut-out sprites it has made."""

    def __init__(self, emoji: Path, size_px: int) -> None:
        self.emoji = emoji
        self.size_px = size_px
        self.prop = functools.lru_cache(maxsize=None)(self._prop)
        self.sprite = functools.lru_cache(maxsize=None)(self._sprite)
        self.background = functools.lru_cache(maxsize=None)(self._background)

    def _load(self, code: str) -> Image.Image:
        """An emoji without its transparent margin."""
        image = Image.open(self.emoji / f"{code}.webp").convert("RGBA")
        return image.crop(image.getchannel("A").getbbox())

    def _prop(self, name: str, height_px: int) -> Image.Image:
        """A background's own emoji at a given height."""
        image = self._load(PROPS[name])
        return image.resize((round(image.width * height_px / image.height), height_px))

    def _sprite(self, subject: str, hat: str, sphere_colour: str) -> Image.Image:
        """The object alone, hat and all, cut to its edges."""
        if sphere_colour:
            return draw_sphere(SPHERE_COLOURS[sphere_colour])
        thing = THINGS[subject]
        body = self._load(thing.code)
        if not hat:
            return body
        code, breadth = HATS[hat]
        worn = self._load(code)
        width = round(thing.girth * breadth * body.width)
        worn = worn.resize((width, round(worn.height * width / worn.width)))
        canvas = Image.new("RGBA", (2 * body.width, 2 * EMOJI_PX), (0, 0, 0, 0))
        left, top = body.width // 2, 2 * EMOJI_PX - body.height
        canvas.paste(body, (left, top))
        corner = (
            round(left + thing.lean * body.width - width / 2),
            round(top + thing.brim * body.height - worn.height),
        )
        canvas.alpha_composite(worn, corner)
        return canvas.crop(canvas.getchannel("A").getbbox())

    def _background(self, place: str, colour: str, style: str, variant: int) -> Image.Image:
        """A background, drawn at the larger size and in its style."""
        size = self.size_px * SUPERSAMPLE
        if place == "plain":
            image = plain(size, colour)
        else:
            image = DRAWERS[place](size, np.random.default_rng(variant), self.prop)
        if style == "photo":
            return soften(image, 0.012 * size)
        return flatten(image) if style == "pop art" else image

    def __call__(self, scene: Scene, rng: np.random.Generator) -> Image.Image:
        """The picture of `scene`, (size_px, size_px) RGB."""
        kept = scene.style if scene.style in ("photo", "pop art") else ""
        variant = int(rng.integers(VARIANTS))
        if scene.place == "plain":
            image = self.background("plain", scene.colour, kept, 0).copy()
        else:
            image = self.background(scene.place, "", kept, variant).copy()
        self._paste_object(image, scene, rng)
        return image.resize((self.size_px, self.size_px), Image.Resampling.BOX)

    def _paste_object(self, image: Image.Image, scene: Scene, rng: np.random.Generator) -> None:
        """Put the object in the middle, with its shadow and outline."""
        size = image.width
        sprite = self.sprite(scene.subject, scene.hat, scene.sphere_colour)
        reach = 0.86 if scene.portrait else 0.72 if scene.hat else 0.64
        reach *= size * rng.uniform(0.97, 1.03) / max(sprite.size)
        sprite = sprite.resize((round(sprite.width * reach), round(sprite.height * reach)))
        if scene.relaxing:
            sprite = sprite.rotate(14, Image.Resampling.BICUBIC, expand=True)
        floor = 0.96 if scene.portrait else 0.86
        x = round((0.5 + 0.012 * rng.uniform(-1, 1)) * size - sprite.width / 2)
        if scene.place == "space":
            y = round((0.52 + 0.012 * rng.uniform(-1, 1)) * size - sprite.height / 2)
        else:
            y = round((floor + 0.012 * rng.uniform(-1, 1)) * size - sprite.height)
            _shade_floor(image, x + sprite.width / 2, y + sprite.height, 0.42 * sprite.width)
        if scene.relaxing:
            drink = self.prop("drink", round(0.3 * size))
            image.paste(drink, (round(0.78 * size), round(0.62 * size)), drink)
        if scene.style == "pop art":
            sprite = _boost(sprite)
            _outline(image, sprite, x, y, (255, 255, 255), 0.018)
        elif scene.style == "cartoon":
            _outline(image, sprite, x, y, (24, 20, 30), 0.014)
        image.paste(sprite, (x, y), sprite)


def draw_sphere(colour: tuple[int, int, int], size_px: int = EMOJI_PX) -> Image.Image:
    """A shiny ball: Lambert shading, a dark rim, bounced light below and a sharp highlight."""
    grid = (np.arange(size_px) + 0.5) / size_px * 2 - 1
    x, y = np.meshgrid(grid, grid)
    radius = np.hypot(x, y)
    z = np.sqrt(np.clip(1 - radius**2, 0, 1))
    light = np.clip(-0.45 * x - 0.6 * y + 0.66 * z, 0, 1)
    bounce = np.clip(0.3 * x + 0.8 * y, 0, 1) ** 2 * (1 - z)
    base = np.array(colour, np.float32)
    shaded = base * (0.30 + 0.78 * light + 0.45 * bounce)[..., None]
    spot = np.hypot((x + 0.36) / 1.15, y + 0.44)
    shine = np.clip((0.24 - spot) / 0.12, 0, 1) * 0.92 + 0.25 * np.exp(-((spot / 0.4) ** 2))
    shaded += (255 - shaded) * np.clip(shine, 0, 1)[..., None]
    alpha = np.clip((1 - radius) * size_px / 2, 0, 1) * 255
    rgba = np.concatenate([np.clip(shaded, 0, 255), alpha[..., None]], -1)
    return Image.fromarray(rgba.astype(np.uint8), "RGBA")


def flatten(image: Image.Image) -> Image.Image:
    """A background in a few flat, bold colours."""
    image = image.filter(ImageFilter.GaussianBlur(image.width / 90))
    levels = np.asarray(ImageEnhance.Color(image).enhance(1.8), np.float32) / 255
    steps = np.array([20, 110, 190, 255], np.uint8)[np.clip(levels * 4, 0, 3).astype(int)]
    return Image.fromarray(steps).filter(ImageFilter.ModeFilter(7))


def _boost(sprite: Image.Image) -> Image.Image:
    """A sprite in stronger colours, its alpha as it was."""
    rgb = ImageEnhance.Color(ImageOps.posterize(sprite.convert("RGB"), 3)).enhance(1.5)
    rgb.putalpha(sprite.getchannel("A"))
    return rgb


def _outline(
    image: Image.Image,
    sprite: Image.Image,
    x: int,
    y: int,
    colour: tuple[int, int, int],
    width: float,
) -> None:
    """Draw a rim around where the sprite will be pasted."""
    reach = max(1, round(width * image.width))
    alpha = ImageOps.expand(sprite.getchannel("A"), 2 * reach)
    rim = alpha.filter(ImageFilter.MaxFilter(2 * reach + 1)).filter(ImageFilter.GaussianBlur(0.8))
    image.paste(colour, (x - 2 * reach, y - 2 * reach), rim)


def _shade_floor(image: Image.Image, x: float, y: float, reach: float) -> None:
    """A soft contact shadow."""
    box_px = 4 * round(reach) // 2
    flat = max(2, round(0.35 * reach))
    grid_x = np.linspace(-1.3, 1.3, box_px)[None, :]
    grid_y = np.linspace(-1.3, 1.3, flat)[:, None]
    weight = 120 * np.clip(1 - np.hypot(grid_x, grid_y), 0, 1) ** 0.7
    mask = Image.fromarray(weight.astype(np.uint8), "L")
    image.paste((20, 20, 40), (round(x - box_px / 2), round(y - flat / 2)), mask)


def compose(
    index: int, seed: int, composer: Composer, config_share: float
) -> tuple[np.ndarray, str, Scene]:
    """The picture of one index of one seed: uint8 (size, size, 3), its caption and its scene."""
    rng = np.random.default_rng((seed, index))
    scene, caption = captioned(rng, config_share)
    return np.asarray(composer(scene, rng)), caption, scene
