"""The words on the page, driven in a real browser from the disk."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sdloop.sampler.trajectory import Word
from sdloop.show.difference import viridis
from sdloop.show.measure.words import measure_words
from sdloop.show.page.page import write_page
from sdloop.show.page.page_words import pack_words
from tests.show.test_page import make_run

WORDS = (Word("", (0,)), Word("cat", (1, 2)), Word("<b>&", (3,)), Word("", (4,)))


def with_words(run, size=(3, 4), missing=(), words=WORDS):
    """Give a made-up run made-up attention."""
    rows = len(run.differences)
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand((rows, 5, *size), generator=generator)
    maps[list(missing)] = 0
    words = measure_words({"a": maps.half()}, words, torch.from_numpy(run.differences))
    return replace(run, words=words, numbers={**run.numbers, **words.columns()})


@pytest.fixture
def run(tmp_path):
    """Return a run of six rows with words, but for the attention of row 1."""
    return with_words(make_run(tmp_path), missing=[1])


@pytest.fixture
def page(run, visit):
    """Return its page, open at frame 3."""
    write_page(run.folder / "index.html", [run])
    return visit(run.folder / "index.html")


def overlay_of(page):
    """Read the colours of the map that is laid over a picture, (h, w, 3), and which that is."""
    values, kind = page.evaluate(
        """() => {
            const canvas = document.querySelector("canvas.attention");
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height);
            const context = copy.getContext("2d", { willReadFrequently: true });
            context.drawImage(canvas, 0, 0);
            const { data } = context.getImageData(0, 0, width, height);
            return [[height, width, ...data], canvas.closest("figure").className];
        }"""
    )
    height, width, *colors = values
    return np.reshape(colors, (height, width, 4))[..., :3], kind


def shown(page):
    return page.is_visible("canvas.attention")


def test_a_pressed_word_shows_its_map_of_this_step(page, run):
    assert not shown(page)
    button = page.locator(".word-row button", has_text="cat")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    for frame, key in ((3, None), (4, "ArrowRight")):
        if key:
            page.keyboard.press(key)
        colors, kind = overlay_of(page)
        maps = run.words.maps[:, 1]
        levels = np.rint(maps[frame - 1] / np.nanmax(maps) * 255).astype(int)
        assert kind == "frame"
        assert np.abs(levels.astype(int) - nearest(colors)).max() <= 1
        share = run.words.attention[frame - 1, 1]
        assert button.locator("small").inner_text() == f"{100 * share:.0f}%"
    button.click()
    assert not shown(page)


def nearest(colors):
    """Turn colours of viridis back into levels."""
    off = np.abs(colors[..., None, :].astype(int) - viridis().astype(int)).sum(axis=-1)
    assert off.min(axis=-1).max() == 0
    return off.argmin(axis=-1)


def test_the_map_lies_over_the_picture_that_is_chosen(page):
    page.locator(".word-row button", has_text="cat").click()
    for kind in ("difference", "z0_hat", "frame"):
        page.locator(f"input[name=word-over][value={kind}]").check(force=True)
        assert overlay_of(page)[1] == kind


def test_what_is_said_is_of_this_step(page, run):
    def go(frame):
        page.locator("#scrubber").fill(str(frame))

    says = page.locator("#words .values")
    go(1)
    change = run.words.change[0, 1:-1]
    most = int(change.argmax())
    assert f"where “{WORDS[1 + most].text}” is attended" in says.inner_text()
    assert f"{change[most]:.4g} times" in says.inner_text()
    page.locator(".word-row button", has_text="cat").click()
    go(2)
    assert says.inner_text() == "Of step 1 no attention was kept."
    assert not shown(page)
    assert page.locator(".word-row small").all_inner_texts() == ["–"] * 4
    go(0)
    assert says.inner_text() == "Before the first step nothing is attended."


@pytest.mark.parametrize("said", ["Step 3 changed nothing.", "The prompt has no words."])
def test_it_says_so_where_no_word_can_have_moved_the_picture(tmp_path, visit, said):
    run = make_run(tmp_path)
    run.differences[3] = 0
    words = (WORDS[0], WORDS[3]) if "no words" in said else WORDS
    write_page(tmp_path / "index.html", [with_words(run, words=words)])
    page = visit(tmp_path / "index.html")
    page.locator("#scrubber").fill("4")
    assert page.locator("#words .values").inner_text() == said


def test_begin_and_end_stand_apart_behind_the_words(page):
    texts = page.locator(".word-row button span").all_inner_texts()
    assert texts == ["cat", "<b>&", "begin", "end"]
    assert page.locator(".word-row button.apart span").all_inner_texts() == ["begin", "end"]
    choices = page.locator("#chart-choice option").all_inner_texts()
    assert not [each for each in choices if "ttention" in each or "Word" in each]


def test_a_page_without_attention_has_no_words(tmp_path, visit):
    write_page(tmp_path / "index.html", [make_run(tmp_path)])
    assert not visit(tmp_path / "index.html").is_visible("#words")


@pytest.mark.parametrize("width", [390, 1440])
def test_runs_side_by_side_have_words_of_their_own(tmp_path, visit, width):
    first, second, plain = (make_run(tmp_path / name, seed=at) for at, name in enumerate("abc"))
    write_page(tmp_path / "x.html", [with_words(first), plain, with_words(second)])
    page = visit(tmp_path / "x.html", viewport={"width": width, "height": 800})
    assert page.locator(".word-run").count() == 2
    page.locator(".word-row").nth(1).locator("button", has_text="cat").click()
    overlays = page.locator("canvas.attention")
    visible = [overlays.nth(at).is_visible() for at in range(overlays.count())]
    assert visible == [False, True]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_fine_maps_are_averaged_to_fit(tmp_path):
    run = with_words(make_run(tmp_path), size=(64, 96))
    files = pack_words(run.words, len(run.differences))
    for file in files:
        assert Image.open(io.BytesIO(base64.b64decode(file))).size == (len(WORDS) * 32, 21)
    assert sum(map(len, files)) < 30_000 * len(files)
