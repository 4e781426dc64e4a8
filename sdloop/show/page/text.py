"""Values, files and links as the text that a page holds."""

import base64
import json
import math
import os
from pathlib import Path
from urllib.parse import quote

BASE64_GROWTH = 4 / 3


def to_json(data: object) -> str:
    """Write JSON in which no character can begin or end anything in HTML."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def href_to(page: Path, file: Path) -> str:
    """Write a link from a page to a file."""
    way = Path(os.path.relpath(file, page.parent))
    return quote(os.fsencode(way.as_posix()))


def in_base64(file: bytes) -> str:
    """Write a file as text."""
    return base64.b64encode(file).decode()


def finite(value: float) -> float | None:
    """Return None for what is no number."""
    return value if math.isfinite(value) else None
