"""Prompts and names that try to run, to fetch, to close what holds them, or to turn words round."""

import csv
import re

import pytest

from sdloop.job.config import LONGEST_PROMPT
from sdloop.job.config_file import load_config
from sdloop.run import main
from sdloop.show.page.page import write_page
from tests.conftest import READY

from .test_page import make_run

PROMPTS = {
    "script": "</script><script>alert(1)</script><script type=module>alert(2)</script>",
    "title": "</title></style></textarea></noscript></iframe><script>alert(1)</script>",
    "comment": "<!-- --><!--> <script>alert(1)</script> --!>",
    "double escape": "<!--<script>alert(1)</script>--><script>",
    "event": "<img src=x onerror=alert(1)><svg onload=alert(1)><b onclick=alert(1)>b</b>",
    "frame": "<iframe src='https://example.org/'></iframe><object data=x></object><embed src=x>",
    "fetch": "<link rel=stylesheet href=//example.org/x.css><img src=//example.org/x.png>",
    "meta": "<meta http-equiv=refresh content='0;url=https://example.org/'><base href=//e.org/>",
    "attribute": "\" onmouseover=\"alert(1)\" x='' ' autofocus onfocus=alert(1) '",
    "template": "$data ${alert(1)} {{7*7}} {% x %} `${alert(1)}` #{7*7} <%= 7*7 %> %s {0}",
    "json": '"}]}</script>\\"],"runs":[],"x":"\\u003cscript\\u003e',
    "css": "</style><style>*{display:none}</style> expression(alert(1)) url(//example.org/x)",
    "address": "javascript:alert(1) data:text/html,<script>alert(1)</script> vbscript:x",
    "entities": "&lt;script&gt;alert(1)&lt;/script&gt; &#60;b&#62; &amp;amp; &notin &#0; &#xD800;",
    "cdata": "<![CDATA[<script>alert(1)</script>]]> <?php x ?> <math><mtext></math>",
    "lines": "a\n\tb\u2028c\u2029d\u0085e".replace("\u0085", " "),
    "formula": "=cmd|'/C calc'!A0",
    "formulas": "+1+1\n-1-1\n@SUM(1)\n=HYPERLINK(\"https://example.org\")",
    "path": "../../../x /etc/passwd C:\\x \\\\host\\x ~/x %2e%2e%2f $(touch x) `touch x`; rm x |x",
    "dots": "..",
    "emoji": "👩‍🚀🏳️‍🌈 \U0001f1e9\U0001f1ea e\u0301\u0327 \U0010fffd \ufeff\u200b\u00ad",
    "override": "a \u202eright to left\u202e\u202e",
    "isolates": "a \u2069\u2069\u202eescapes its isolate \u2066\u2067\u2068 and leaves some open",
    "marks": "\u202a\u202b\u202d\u202e\u200f\u061c שלום مرحبا",
    "prototype": "__proto__ constructor toString",
    "long": "<b>" * (LONGEST_PROMPT // 3),
    "one word": "x" * LONGEST_PROMPT,
    "high": "\u0fff\u035c" * 3000 + "\ufffe\uffff",
}  # fmt: skip
BIDI = ("override", "isolates", "marks")


def shape_of(page):
    """List every element of the page, with its attributes' names; pictures may differ."""
    return page.evaluate(
        """() => [...document.querySelectorAll("*")].map((element) =>
            [element.localName, ...element.getAttributeNames().sort()].join(" "))"""
    )


def open_page(visit, folder, **config):
    run = make_run(folder, **config)
    write_page(folder / "index.html", [run])
    return visit(folder / "index.html")


def without_isolates(text):
    return re.sub("[\u2066-\u2069]", "", text)


@pytest.fixture(scope="module")
def plain_shape(browser, tmp_path_factory):
    """Return the elements of a page whose prompt is harmless, short and long."""
    shapes = {}
    for length in (1, LONGEST_PROMPT):
        folder = tmp_path_factory.mktemp("plain")
        write_page(
            folder / "index.html",
            [make_run(folder, prompt="x" * length, negative_prompt="x", model="x")],
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto((folder / "index.html").as_uri())
        page.wait_for_selector(READY)
        shapes[length > 90] = shape_of(page)
        page.close()
    return shapes


@pytest.mark.parametrize("name", PROMPTS)
def test_hostile_text_is_only_text_on_the_page(tmp_path, visit, plain_shape, name):
    # `visit` fails on a dialog, a message of the console or a request
    text = PROMPTS[name]
    page = open_page(visit, tmp_path, prompt=text, negative_prompt=text, model=text, output=text)
    assert shape_of(page) == plain_shape[len(text) > 88]
    values = dict(page.evaluate(
        """() => [...document.querySelectorAll("dl > div")].map((pair) =>
            [...pair.children].map((child) => child.textContent))"""
    ))  # fmt: skip
    for key in ("prompt", "negative_prompt", "model", "output"):
        assert values[key] == text
    assert without_isolates(page.text_content("h1")) == without_isolates(f"“{text}”")
    assert page.title().endswith("· sdloop")


@pytest.mark.parametrize("name", BIDI)
def test_words_around_a_prompt_keep_their_places(tmp_path, visit, name):
    runs = [
        make_run(tmp_path / "a", seed=1),
        make_run(tmp_path / "b", seed=2, prompt=PROMPTS[name], model=PROMPTS[name]),
    ]
    write_page(tmp_path / "one.html", runs[1:])
    write_page(tmp_path / "two.html", runs)
    places = """([selector, number, words]) => {
        const holder = document.querySelectorAll(selector)[number];
        const walker = document.createTreeWalker(holder, NodeFilter.SHOW_TEXT);
        let node = walker.nextNode();
        while (!words.every((word) => node.data.includes(word))) node = walker.nextNode();
        return words.map((word) => {
            const range = document.createRange();
            const at = node.data.lastIndexOf(word);
            range.setStart(node, at);
            range.setEnd(node, at + word.length);
            const { top, left } = range.getBoundingClientRect();
            return [top, left];
        });
    }"""
    one, two = visit(tmp_path / "one.html"), visit(tmp_path / "two.html")
    for page, arguments in (
        (one, ["h1", 0, ["“", "”"]]),
        (two, [".run h2", 1, ["“", "”", "model", "seed 2"]]),
        (two, ["#chart-legend .entry", 1, ["“", "”", "model", "seed 2"]]),
    ):
        ends = page.evaluate(places, arguments)
        words = arguments[2]
        by_place = [word for _, word in sorted(zip(ends, words, strict=True))]
        text = page.locator(arguments[0]).nth(arguments[1]).text_content()
        assert by_place == sorted(words, key=text.rindex)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", one.title())


@pytest.mark.slow
def test_folders_of_any_name_are_linked_and_named(tmp_path, visit):
    for number, name in enumerate(("javascript:alert(1)", "<b>&amp;", "%2e%2e", "a\udcffb")):
        run = make_run(tmp_path / name)
        (tmp_path / name).mkdir(exist_ok=True)
        write_page(tmp_path / f"{number}.html", [run, make_run(tmp_path / "other", seed=2)])
        page = visit(tmp_path / f"{number}.html")
        links = page.eval_on_selector_all("#files a", "all => all.map((link) => link.protocol)")
        assert set(links) == {"file:"}
        assert page.locator("b:not(.entry b)").count() == 0


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory, model_folder):
    """Return the names of a harmless run's files, and its columns."""
    folder = run_with("a cat", tmp_path_factory.mktemp("plain"), model_folder)
    return names_in(folder), cells_of(folder)[0]


def run_with(prompt, folder, model_folder):
    config = folder / "c.yaml"
    plain = f"prompt: p\nmodel: {model_folder}\nscheduler: {{num_steps: 2}}\ndevice: cpu\n"
    config.write_text(plain)
    out = folder / "run"
    assert main([str(config), f"prompt={prompt}", f"negative_prompt={prompt}", f"output={out}",
                 "export.png_frames=true", "--quiet"]) == 0  # fmt: skip
    assert load_config(out / "config.yaml").prompt == prompt
    assert sorted(path.name for path in folder.iterdir()) == ["c.yaml", "run"]
    return out


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def cells_of(folder):
    return list(csv.reader((folder / "steps.csv").read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("name", ["formula", "path", "script", "isolates"])
def test_no_name_and_no_cell_comes_from_a_prompt(tmp_path, model_folder, plain_run, capsys, name):
    folder = run_with(PROMPTS[name], tmp_path, model_folder)
    names, columns = plain_run
    assert names_in(folder) == names
    head, *rows = cells_of(folder)
    assert head == columns
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", cell) for cell in head)
    assert all(
        cell == "" or re.fullmatch(r"-?[0-9][0-9.e+-]*", cell) for row in rows for cell in row
    )
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())
