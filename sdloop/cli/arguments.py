"""The words of a command line: which are paths, which are overrides, and which are neither."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Parses a command line; an option that is a key of the config is told apart from a mistake."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and how a key is given; exit code 2."""
        unknown = re.search(r"unrecognized arguments: --?([A-Za-z_][\w.-]*)(?:[= ](\S+))?", message)
        key = unknown[1].replace("-", "_") if unknown else ""
        if unknown and _is_key(key):
            value = unknown[2] or "..."
            message += f"; a key of the config is given without dashes: {key}={value}"
        super().error(message)


def split_arguments(texts: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell paths from overrides.

    Args:
        texts: As they were given.

    Returns:
        The paths, and the texts `key=value`. A text is a path, whatever it holds, if a file or
        folder of that name exists, or if a folder is named before its "=".
    """
    overrides = [text for text in texts if _is_override(text)]
    return [Path(text) for text in texts if text not in overrides], overrides


def _is_override(text: str) -> bool:
    """Tell whether a text is key=value."""
    key, equals, _ = text.partition("=")
    return bool(equals) and os.sep not in key and not _exists(text)


def _is_key(name: str) -> bool:
    """Tell whether the config has a key of this name."""
    from sdloop.job.config import RunConfig

    return name.partition(".")[0] in RunConfig.model_fields


def _exists(text: str) -> bool:
    """Tell whether a text is the path of something."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or with a NUL: a prompt
        return False
