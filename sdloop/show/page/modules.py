"""ES modules -> one script: a page opened from disk can load no other file.

The modules stay standard ES modules, which browsers, linters and type checkers can read and a
server can serve. This only orders them and strips `import` and `export`.
"""

import re
from importlib.resources.abc import Traversable

NAMES = r"\{\s*\w+(?:,\s*\w+)*,?\s*\}"
IMPORT = re.compile(rf'^import {NAMES} from "\./(\w+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) )", re.MULTILINE)
TIE = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def join_modules(folder: Traversable, entry: str) -> str:
    """Concatenate modules, each after its imports, without `import` and `export`.

    All names share one scope, so no two modules may declare the same name; a browser rejects a
    script that does.

    Args:
        folder: That holds the modules.
        entry: File name of the module that imports the others.

    Returns:
        The body of a script of type "module".

    Raises:
        ValueError: Modules import each other in a circle, or one uses a form of import or export
            that is not supported. Supported are `import { a, b } from "./x.js";` and `export`
            before a function, class or const.
    """
    joined: dict[str, str] = {}
    _join(folder, entry, (), joined)
    return "\n".join(joined.values())


def _join(
    folder: Traversable, name: str, importers: tuple[str, ...], joined: dict[str, str]
) -> None:
    """Append a module after its imports."""
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
