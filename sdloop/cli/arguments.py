"""The words of a command line: which are paths, which are overrides, which are neither."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Parses a command line; says so if an unknown option is a key of the config."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and how to give a key; exit with code 2."""
        unknown = re.search(r"unrecognized arguments: --?([A-Za-z_][\w.-]*)(?:[= ](\S+))?", message)
        key = unknown[1].replace("-", "_") if unknown else ""
        if unknown and _is_key(key):
            value = unknown[2] or "..."
            message += f"; a key of the config is given without dashes: {key}={value}"
        super().error(message)


def split_arguments(texts: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell paths from overrides.

    Args:
        texts: The words, as given.

    Returns:
        The paths, and the `key=value` words. A word with "=" is still a path if a file or folder
        of that name exists, or if there is a path separator before the "=".
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
    """Tell whether a file or folder of this name exists."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or holds a NUL: a prompt
        return False
