"""ES modules -> one script: a page that works from the disk has no other file to load.

The modules stay what browsers, linters and type checkers know, and a server can hand them out as
they are. Here they are only put in order, and the words that tie them together go.
"""

import re
from importlib.resources.abc import Traversable

NAMES = r"\{\s*\w+(?:,\s*\w+)*,?\s*\}"
IMPORT = re.compile(rf'^import {NAMES} from "\./(\w+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) )", re.MULTILINE)
TIE = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def join_modules(folder: Traversable, entry: str) -> str:
    """Put each module behind those that it imports, without `import` and `export`.

    All names come to stand in one scope, so no two modules may declare the same one; a browser
    refuses a script where they do.

    Args:
        folder: Where the modules are.
        entry: Name of the module that imports the others.

    Returns:
        The body of a script of type "module".

    Raises:
        ValueError: Modules import each other in a circle, or one is tied to others in a form that
            is not known here. Known are `import { a, b } from "./x.js";`, and `export` in front of
            a function, a class or a const.
    """
    joined: dict[str, str] = {}
    _join(folder, entry, (), joined)
    return "\n".join(joined.values())


def _join(
    folder: Traversable, name: str, importers: tuple[str, ...], joined: dict[str, str]
) -> None:
    """Add a module to those that are joined, behind what it imports."""
    if name in importers:
        circle = " -> ".join((*importers, name))
        raise ValueError(f"modules import each other in a circle: {circle}")
    if name in joined:
        return
    text = (folder / name).read_text(encoding="utf-8")
    for imported in IMPORT.findall(text):
        _join(folder, imported, (*importers, name), joined)
    untied = EXPORT.sub("", IMPORT.sub("", text))
    if tie := TIE.search(untied):
        raise ValueError(f"{name}: cannot be joined: {tie[0]}")
    joined[name] = untied
