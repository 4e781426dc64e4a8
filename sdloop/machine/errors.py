"""The errors shown as one line: those that the user can fix, and running out of memory."""

from __future__ import annotations

import reprlib
from types import UnionType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST_MESSAGE = 1000
_ECHO = reprlib.Repr()
_ECHO.maxstring = _ECHO.maxother = _ECHO.maxlong = 80


class UserError(Exception):
    """A wrong key, value, file, model or device: says what was given and what is allowed.

    The message is one printable line of at most 1000 characters, whatever it quotes.
    """

    def __init__(self, message: str) -> None:
        """Escape whatever in the message could move the cursor or hide text, and cut its length."""
        super().__init__(printable(message)[:LONGEST_MESSAGE])


def printable(text: str) -> str:
    r"""Escape line ends, control characters, invisible ones and lone surrogates, as "\n"."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def shown(value: object) -> str:
    """Return a value's repr, cut to a length and depth that fit in a message."""
    return _ECHO.repr(value)


def check_type(value: object, kind: type | UnionType, argument: str, hint: str = "") -> None:
    """Tell a caller which argument is of a wrong type, before anything else goes wrong.

    Args:
        value: What was passed.
        kind: What it must be.
        argument: Its name.
        hint: How to come by the right thing.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, kind):
        wanted = getattr(kind, "__name__", None) or str(kind)
        raise TypeError(f"{argument}: must be {wanted}, not {type(value).__name__}{hint}")


def reason_of(error: BaseException) -> str:
    """Return another library's error as one line of bounded length."""
    said = " ".join(str(error).split())[:300]
    return said if said and not isinstance(error, KeyError) else f"{type(error).__name__} {said}"


class OutOfMemory(MemoryError):
    """Memory ran out in a stage, which the one-line message names; exit code 1."""


def explain(error: ValidationError) -> str:
    """Say in one line which key of a model's config is wrong, what it holds and what it must be."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part != "function-after")
    said = first["msg"].replace("Input should be", "must be")
    if first["type"] == "missing":
        return f"no {key}"
    return f"{key} = {shown(first['input'])}: {said}"
