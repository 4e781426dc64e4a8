"""What a style or a time of day does to a background, an object, or the whole picture."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from .painter import CANVAS_PX, Painter
from .things import RGB

# What daylight is multiplied by, channel by channel.
TINTS = {"night": (0.46, 0.50, 0.78), "sunset": (1.0, 0.82, 0.74)}
# How far objects take the tint: they stay lighter than what is behind them.
_TINT_SHARE = {"night": 0.45, "sunset": 0.4}
_POSTER = [(30, 95, 145, 195, 245)[value * 5 // 256] for value in range(256)] * 3
RIMS: dict[str, tuple[RGB, int]] = {
    "cartoon": ((54, 44, 68), 3),
    "pop art": ((255, 255, 255), 4),
}


def style_background(p: Painter, style: str) -> None:
    """Blur it for a photo, leave it few, vivid colours for pop art."""
    if style == "photo":
        small = p.image.reduce(4).filter(ImageFilter.GaussianBlur(1.0))
        p.show(small.resize((CANVAS_PX, CANVAS_PX), Image.Resampling.BICUBIC))
        p.spot(0.5, 1.0, 0.9, 0.35, (10, 10, 20), 20)
        p.spot(0.5, 0.0, 0.9, 0.3, (10, 10, 20), 20)
    elif style == "pop art":
        vivid = ImageEnhance.Color(p.image.filter(ImageFilter.GaussianBlur(3))).enhance(1.6)
        p.show(vivid.point(_POSTER).filter(ImageFilter.GaussianBlur(1.5)))


def darken_background(p: Painter, time: str) -> None:
    """Night and sunset colour everything that is outdoors."""
    tint = tuple(round(255 * share) for share in TINTS[time])
    image = ImageChops.multiply(p.image, Image.new("RGB", p.image.size, tint))
    # A night sky was painted dark already.
    p.show(ImageEnhance.Brightness(image).enhance(1.35) if time == "night" else image)


def tint_object(sprite: Image.Image, time: str) -> Image.Image:
    """The object in the light of the time of day."""
    share = _TINT_SHARE[time]
    tone = tuple(round(255 * (1 + share * (tint - 1))) for tint in TINTS[time])
    tinted = ImageChops.multiply(sprite.convert("RGB"), Image.new("RGB", sprite.size, tone))
    tinted.putalpha(sprite.getchannel("A"))
    return tinted


def style_object(sprite: Image.Image, style: str) -> Image.Image:
    """Pop art makes colours vivid."""
    if style != "pop art":
        return sprite
    vivid = ImageEnhance.Color(sprite.convert("RGB")).enhance(1.8)
    vivid.putalpha(sprite.getchannel("A"))
    return vivid


def draw_rim(image: Image.Image, sprite: Image.Image, corner: tuple[int, int], style: str) -> None:
    """Outline where the sprite will be pasted, in the styles that outline."""
    if style not in RIMS:
        return
    colour, reach = RIMS[style]
    alpha = ImageOps.expand(sprite.getchannel("A"), 2 * reach)
    wide = alpha.reduce(2).filter(ImageFilter.MaxFilter(2 * (reach // 2) + 1))
    mask = wide.resize(alpha.size, Image.Resampling.BILINEAR)
    image.paste(colour, (corner[0] - 2 * reach, corner[1] - 2 * reach), mask)


def style_picture(picture: Image.Image, style: str) -> Image.Image:
    """A painting's broad, rich strokes."""
    if style != "painting":
        return picture
    return ImageEnhance.Color(picture.filter(ImageFilter.MedianFilter(5))).enhance(1.25)
