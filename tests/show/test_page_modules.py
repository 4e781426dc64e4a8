"""The page's modules: how they become one script, and that Python writes what they read."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sdloop.show.figure.png import write_frames
from sdloop.show.page import modules
from sdloop.show.page.modules import join_modules
from sdloop.show.page.page_data import Comparison, Still, page_data

from .test_page import make_run
from .test_page_words import with_words

WEB = Path(modules.__file__).parent / "web"


def join(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.js").write_text(text)
    return join_modules(folder, "main.js")


def test_module_stands_behind_those_it_imports(tmp_path):
    script = join(
        tmp_path,
        main='import { b } from "./b.js";\nimport {\n  a,\n  A,\n} from "./a.js";\n\nb(a, A);\n',
        b='import { a } from "./a.js";\nexport const b = () => a();\n',
        a="export async function a() {}\nexport function c() {}\nexport class A {}\n",
    )
    assert script == (
        "async function a() {}\nfunction c() {}\nclass A {}\n\nconst b = () => a();\n\n\nb(a, A);\n"
    )


def test_words_within_a_line_stay(tmp_path):
    text = 'const text = "export const";\n// import { a } from "./a.js";\n'
    assert join(tmp_path, main=text) == text


@pytest.mark.parametrize(
    "tie",
    [
        'import { a as b } from "./a.js";', 'import {\n  a as b,\n} from "./a.js";',
        'import a from "./a.js";', 'import * as a from "./a.js";', 'import "./a.js";',
        "import { a } from './a.js';", 'import { a } from "../a.js";', 'import { a } from "a";',
        "export default a;", "export { a };", 'export * from "./a.js";', "export let a = 1;",
        'import { a } from "./a.js"; a();',
    ],
)  # fmt: skip
def test_any_other_tie_is_refused(tmp_path, tie):
    with pytest.raises(ValueError, match=r"main\.js: cannot be joined: (import|export)"):
        join(tmp_path, main=f"{tie}\n", a="export const a = 1;\n")


def test_circle_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"in a circle: main\.js -> a\.js -> b\.js -> a\.js"):
        join(
            tmp_path,
            main='import { a } from "./a.js";\n',
            a='import { b } from "./b.js";\nexport const a = 1;\n',
            b='import { a } from "./a.js";\nexport const b = 1;\n',
        )


ENTRIES = ("main.js", "live.js", "sweep.js")


@pytest.mark.parametrize("entry", ENTRIES)
def test_script_has_every_module_once_and_ends_no_element(entry):
    script = join_modules(WEB, entry)
    firsts = {path.name: path.read_text().splitlines()[0] for path in WEB.glob("*.js")}
    joined = {name for name, first in firsts.items() if first in script}
    assert joined >= {"run.js", entry}
    assert all(script.count(firsts[name]) == 1 for name in joined)
    scripts = [join_modules(WEB, each) for each in ENTRIES]
    assert all(any(first in each for each in scripts) for first in firsts.values())
    assert not re.search("</script|<!--", script, re.IGNORECASE)


def types_of_data(file="data.js"):
    """Return the fields of each type in a module."""
    blocks = re.findall(r"/\*\*.*?\*/", (WEB / file).read_text(), re.DOTALL)
    types = {}
    for block in blocks:
        for name in re.findall(r"@typedef \{object\} (\w+)", block):
            types[name] = set(re.findall(r"@property \{[^}]*\} (\w+)", block))
    return types


def test_data_have_the_fields_that_their_types_name(tmp_path):
    run = make_run(tmp_path)
    write_frames(tmp_path, run.images[:1])
    run = replace(with_words(run), stills=[Still("000.png", "Noise", "The first frame.")])
    comparison = Comparison(run.differences)
    data = page_data(tmp_path / "x.html", [run], (), comparison)
    [shown] = data["runs"]
    found = {
        "PageData": data, "RunData": shown, "RunFacts": shown["facts"],
        "TableRow": shown["facts"]["table"][0], "StepData": shown["steps"][0],
        "LinkedFile": shown["files"][0], "StillData": shown["stills"][0],
        "ChartData": data["charts"][0], "ComparisonData": data["comparison"],
        "WordFacts": shown["facts"]["words"][0],
    }  # fmt: skip
    assert {name: set(value) for name, value in found.items()} == types_of_data()


def test_sweep_data_have_the_fields_that_their_types_name(tmp_path):
    from sdloop.show.figure.sheet import Side
    from sdloop.show.page.sweep_data import Grid, sweep_page_data

    from .test_sweep_page import small_run

    sides = Side("a", ("1",)), Side("b", ("2",))
    grid = Grid(tmp_path, *sides, [[small_run(tmp_path, 2, 0)]], ["seed"], 1)
    data = sweep_page_data(tmp_path / "x.html", grid, ())
    found = {"SweepData": data, "SmallRunData": data["runs"][0], "SideData": data["rows"]}
    found["Size"] = data["runs"][0]["size"]
    assert {name: set(value) for name, value in found.items()} == types_of_data("sweep_data.js")
