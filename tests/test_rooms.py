"""The rooms of the package: which may know which, and what no room may do."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sdloop"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAY_KNOW = {  # beside itself
    "doors": {"cli", "serve", "job", "machine"},
    "serve": {"job", "show", "sampler", "machine"},
    "cli": {"job", "machine"},
    "job": {"show", "model", "sampler", "machine"},
    "show": {"sampler", "machine"},
    "model": {"machine"},
    "sampler": {"machine"},
    "machine": set(),
}


def room_of(module):
    """Return the room of a module's path, or of its dotted name in the package."""
    first = module.split(".")[0]
    return first if (PACKAGE / first).is_dir() else "doors"


def imports_of(path):
    """Yield each module of the package that a file imports, with the names; as deep as they lie."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sdloop":
            yield node.module.removeprefix("sdloop").lstrip("."), [it.name for it in node.names]
        elif isinstance(node, ast.Import):
            for each in node.names:
                if each.name.split(".")[0] == "sdloop":
                    yield each.name.removeprefix("sdloop").lstrip("."), []


def name_of(path):
    return path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_arrow_goes_upward(path):
    here = room_of(name_of(path))
    for module, _ in imports_of(path):
        there = room_of(module)
        assert there == here or there in MAY_KNOW[here], f"{here} knows {module}"


def test_imports_say_the_whole_name():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.ImportFrom) or node.level == 0, path


def test_show_knows_tables_and_trajectories_alone_of_the_sampler():
    known = {
        module
        for path in MODULES
        if room_of(name_of(path)) == "show"
        for module, _ in imports_of(path)
        if room_of(module) == "sampler"
    }
    assert known == {"sampler.table", "sampler.trajectory"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_private_name_crosses_a_module(path):
    for module, names in imports_of(path):
        assert not [name for name in names if name.startswith("_")], module


def test_modules_import_each_other_in_no_circle():
    arrows = {name_of(path): {module for module, _ in imports_of_runtime(path)} for path in MODULES}
    left = dict(arrows)
    while left:
        free = [name for name, known in left.items() if not known & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


def imports_of_runtime(path):
    """Yield what `imports_of` yields, without what only types need."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sdloop."):
            yield node.module.removeprefix("sdloop."), []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_process_is_changed_by_cli_alone(path):
    if room_of(name_of(path)) in ("cli", "doors"):
        return
    text = path.read_text()
    for change in ("gc.freeze", "gc.disable", "atexit", "signal.signal", "os._exit", "print("):
        assert change not in text


def test_knowledge_of_networks_stays_in_its_room():
    for path in MODULES:
        if room_of(name_of(path)) in ("model", "doors"):
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
                node.body = []
        names = {
            (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else each.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for each in node.names
        }
        assert not names & {"diffusers", "transformers"}, path
