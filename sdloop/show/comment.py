"""The comment in a picture's file: a text beside the pixels, and how each format keeps it.

PNG and APNG: a text chunk with the keyword Comment. GIF: a comment extension. WebP: Exif's
UserComment. MP4: the comment tag.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from sdloop.machine.errors import UserError, reason_of

COMMENTED = (".png", ".apng", ".gif", ".webp", ".mp4")  # names of files that may carry one
PNG_KEYWORD, MP4_TAG = "Comment", "comment"
EXIF_FOLDER, USER_COMMENT = 0x8769, 0x9286
EXIF_START, UTF_16 = b"Exif\0\0", b"UNICODE\0"
FORMATS = ("PNG", "GIF", "WEBP")  # that Pillow opens here


def exif_of(comment: str) -> bytes:
    """Return Exif data, big-endian and without its start marker, that hold a comment."""
    from PIL import Image

    exif = Image.Exif()
    exif.endian = ">"
    exif.get_ifd(EXIF_FOLDER)[USER_COMMENT] = UTF_16 + comment.encode("utf-16-be")
    return exif.tobytes().removeprefix(EXIF_START)


def read_comment(path: Path) -> str | None:
    """Read the comment of a picture or an animation.

    Args:
        path: A file with an ending in COMMENTED.

    Returns:
        The comment; None if the file has none.

    Raises:
        UserError: The file is missing or is no such picture; or it is an MP4, and PyAV is not
            installed.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: cannot be read: not a regular file")
    try:
        return _mp4_comment(path) if path.suffix.lower() == ".mp4" else _still_comment(path)
    except FileNotFoundError:
        raise UserError(f"{path}: cannot be read: No such file or directory") from None
    except UserError:
        raise
    except Exception as error:  # decoders may raise anything on damaged files
        raise UserError(f"{path}: is not a picture that can be read: {reason_of(error)}") from None


def _still_comment(path: Path) -> str | None:
    """Read what Pillow finds in the head of a PNG, APNG, GIF or WebP."""
    from PIL import Image

    with (
        warnings.catch_warnings(action="ignore"),
        Image.open(path, formats=FORMATS) as picture,
    ):
        comment = picture.info.get(PNG_KEYWORD, picture.info.get(MP4_TAG))
        if comment is None and picture.format == "WEBP":
            comment = picture.getexif().get_ifd(EXIF_FOLDER).get(USER_COMMENT)
            if isinstance(comment, bytes) and comment.startswith(UTF_16):
                return comment.removeprefix(UTF_16).decode("utf-16-be")
    return comment.decode("utf-8") if isinstance(comment, bytes) else comment


def _mp4_comment(path: Path) -> str | None:
    """Read a film's tag."""
    try:
        import av
    except ModuleNotFoundError:
        raise UserError(f"{path}: reading MP4 needs PyAV: pip install 'sdloop[mp4]'") from None
    with av.open(str(path), format="mp4") as film:
        return film.metadata.get(MP4_TAG)
