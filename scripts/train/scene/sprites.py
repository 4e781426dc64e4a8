"""The emoji that scenes are pasted from: Microsoft's Fluent Emoji (MIT), in 3D and flat.

Both sets come from npm by name. The flat set holds SVG, which resvg-py draws.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

from PIL import Image

from .things import HATS, PROPS, THINGS

SOLID, FLAT = "solid", "flat"
PACKAGES = {
    SOLID: "@lobehub/fluent-emoji-3d@1.1.0",
    FLAT: "@iconify-json/fluent-emoji-flat@1.2.6",
}
SPRITE_PX = 256
# A code may end in it in one set and not in the other.
_VARIANT = "-fe0f"

Sprites = dict[str, dict[str, Image.Image]]


def codes() -> list[str]:
    """The code points of every emoji that scenes use."""
    hats = {code for code, _ in HATS.values()}
    return sorted({thing.code for thing in THINGS.values()} | hats | set(PROPS.values()))


def fetch_package(package: str, folder: Path) -> Path:
    """Unpack an npm package into `folder`, once.

    Returns:
        The folder of the package's files.

    Raises:
        subprocess.CalledProcessError: if npm cannot get the package.
    """
    place = folder / package.replace("/", "-")
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            command = ["npm", "pack", package, "--json"]
            said = subprocess.run(command, cwd=scratch, check=True, capture_output=True, text=True)
            archive = Path(scratch) / json.loads(said.stdout)[0]["filename"]
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
            (Path(scratch) / "package").rename(place)
    return place


def trim(image: Image.Image) -> Image.Image:
    """The picture in RGBA without its transparent margin."""
    image = image.convert("RGBA")
    return image.crop(image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())


def _read_solid(package: Path) -> dict[str, Image.Image]:
    """The 3D set: one WebP a code."""
    sprites = {}
    for code in codes():
        bare = code.removesuffix(_VARIANT)
        paths = [package / "assets" / f"{name}.webp" for name in (code, bare, bare + _VARIANT)]
        with Image.open(next(path for path in paths if path.exists())) as image:
            sprites[code] = trim(image)
    return sprites


def _read_flat(package: Path) -> dict[str, Image.Image]:
    """The flat set: SVG bodies in one file, their codes in another."""
    import resvg_py

    icons = json.loads((package / "icons.json").read_text())
    names = json.loads((package / "chars.json").read_text())
    names = {code.replace(_VARIANT, ""): name for code, name in names.items()}
    sprites = {}
    for code in codes():
        name = names[code.replace(_VARIANT, "")]
        icon = icons["icons"][icons.get("aliases", {}).get(name, {}).get("parent", name)]
        width = icon.get("width", icons.get("width", 16))
        height = icon.get("height", icons.get("height", 16))
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        drawn = resvg_py.svg_to_bytes(
            svg_string=f"{head}{icon['body']}</svg>", width=SPRITE_PX, height=SPRITE_PX
        )
        sprites[code] = trim(Image.open(io.BytesIO(bytes(drawn))))
    return sprites


def load_sprites(folder: Path) -> Sprites:
    """Every emoji in both drawings, trimmed, by set and code.

    The first call fetches the packages and draws; `folder` then holds PNG files, and later calls
    need neither npm nor resvg-py.
    """
    readers = {SOLID: _read_solid, FLAT: _read_flat}
    sprites: Sprites = {}
    for kind, reader in readers.items():
        drawn = folder / kind
        if any(not (drawn / f"{code}.png").exists() for code in codes()):
            drawn.mkdir(parents=True, exist_ok=True)
            for code, image in reader(fetch_package(PACKAGES[kind], folder / "npm")).items():
                image.save(drawn / f"{code}.png")
        sprites[kind] = {code: Image.open(drawn / f"{code}.png").copy() for code in codes()}
    return sprites
