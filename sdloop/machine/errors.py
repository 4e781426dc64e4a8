"""The kinds of error that are shown as one line: the user's to mend, and memory that ran out."""

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

    Whatever the message quotes, it is one printable line of bounded length.
    """

    def __init__(self, message: str) -> None:
        """Take the message; what could move the cursor or hide text in it is spelled out."""
        super().__init__(printable(message)[:LONGEST_MESSAGE])


def printable(text: str) -> str:
    """Spell out line ends, control characters, invisible ones and halves of characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def shown(value: object) -> str:
    """Write a value as Python does, cut to a length and depth that a message can hold."""
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
    """Write another library's error in one line of bounded length."""
    said = " ".join(str(error).split())[:300]
    return said if said and not isinstance(error, KeyError) else f"{type(error).__name__} {said}"


class OutOfMemory(MemoryError):
    """The machine has no memory for a stage: names it, in one line; exit code 1."""


def explain(error: ValidationError) -> str:
    """Say in one line which key of a foreign config holds what, and what it must be."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part != "function-after")
    said = first["msg"].replace("Input should be", "must be")
    if first["type"] == "missing":
        return f"no {key}"
    return f"{key} = {shown(first['input'])}: {said}"
