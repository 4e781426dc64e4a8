"""The page of two runs that differ, and of a run that left another, in a real browser."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdloop.show.difference import difference_maps, viridis
from sdloop.show.figure.strip import write_strip
from sdloop.show.page.page import write_page
from sdloop.show.page.page_data import Comparison

from .test_page import go, make_run, pixels


@pytest.fixture
def pair(tmp_path):
    """Return a run and one that left it at frame 2, and the difference between them."""
    first = make_run(tmp_path / "a")
    second = make_run(tmp_path / "b", seed=1, prompt="a dog")
    images = second.images.copy()
    images[:3] = first.images[:3]
    second = replace(second, images=images, start_frame=2)
    values = np.abs(images.astype(np.float32) - first.images).mean(axis=-1)
    return first, second, Comparison(values)


def test_both_branches_and_their_difference_go_in_step(tmp_path, visit, pair):
    first, second, comparison = pair
    write_page(tmp_path / "b/index.html", [first, second], (), comparison)
    page = visit(tmp_path / "b/index.html")
    assert page.locator(".run").count() == 3
    peak = float(comparison.values.max())
    for frame in (0, 2, 3, 6):
        go(page, frame)
        np.testing.assert_array_equal(pixels(page, "frame"), first.images[frame])
        np.testing.assert_array_equal(pixels(page, "frame", 1), second.images[frame])
        levels = np.rint(255 * comparison.values[frame] / peak).astype(np.uint8)
        np.testing.assert_array_equal(pixels(page, "between"), viridis()[levels])
        where = page.inner_text(".comparison .where")
        if frame <= 2:
            assert where == "They do not differ here."
        else:
            most = float(comparison.values[frame].max())
            assert float(where.split()[5]) == pytest.approx(most, abs=peak / 255)
    assert page.inner_text(".comparison .bar-ends") == f"0\n{peak:.4g} of 255"
    page.mouse.move(0, 0)
    page.locator("figure.between .plate").click()
    assert page.locator("figure.frame .mark").first.is_visible()


def test_fork_is_marked_on_chart_and_film(tmp_path, visit, pair):
    first, second, comparison = pair
    write_page(tmp_path / "b/index.html", [first, second], (), comparison)
    page = visit(tmp_path / "b/index.html")
    box = page.locator("#plot").bounding_box()
    line = page.locator("#plot line.fork")
    assert line.count() == 1
    assert float(line.get_attribute("x1")) == pytest.approx(2.5 / 7 * box["width"], abs=0.5)
    cell = page.locator("#marks .fork").bounding_box()
    film = page.locator("#film").bounding_box()
    assert cell["x"] - film["x"] == pytest.approx(2 * film["width"] / 7, abs=0.5)
    assert cell["y"] - film["y"] == pytest.approx(film["height"] / 2, abs=0.5)  # its own lane
    assert "here the run left the other one" in page.inner_text("#marks-note")
    go(page, 2)
    said = page.locator(".run .where").all_inner_texts()
    assert ["It is the other run’s frame." in words for words in said[:2]] == [False, True]


def test_fork_alone_is_marked_too(tmp_path, visit, pair):
    _, second, _ = pair
    write_page(tmp_path / "b/index.html", [second])
    page = visit(tmp_path / "b/index.html")
    assert page.locator("#plot line.fork").count() == 1
    assert page.locator(".comparison").count() == 0


def test_page_says_where_two_runs_part(tmp_path, visit, pair):
    first, second, comparison = pair
    words = "One config with dtype float32 and float16: the latents part."
    write_page(tmp_path / "x.html", [first, replace(second, start_frame=None)], (),
               replace(comparison, words=words))  # fmt: skip
    page = visit(tmp_path / "x.html")
    assert page.inner_text(".parting") == words
    assert page.locator("#plot line.fork").count() == 0


def test_equal_runs_differ_nowhere(tmp_path, visit, pair):
    first, _, comparison = pair
    runs = [first, replace(first, folder=tmp_path / "b")]
    write_page(tmp_path / "x.html", runs, (), Comparison(0 * comparison.values))
    page = visit(tmp_path / "x.html")
    assert (pixels(page, "between") == viridis()[0]).all()
    assert page.inner_text(".comparison .where") == "They do not differ here."


def test_differences_of_large_pictures_are_shown(tmp_path, visit):
    """512 px have more pixels than a JavaScript call takes arguments."""
    runs = []
    for name in "ab":
        run = make_run(tmp_path / name, steps=1, seed=ord(name), with_z0_hat=False, size=(32, 32))
        large = {
            each: getattr(run, each).repeat(16, axis=1).repeat(16, axis=2)
            for each in ("images", "differences")
        }
        runs.append(replace(run, **large))
    values = np.abs(runs[0].images.astype(np.float32) - runs[1].images).mean(axis=-1)
    write_page(tmp_path / "x.html", runs, (), Comparison(values))
    page = visit(tmp_path / "x.html")
    go(page, 1)
    assert page.evaluate("document.querySelector('figure.between canvas').height") == 512
    said = page.inner_text(".comparison .where").split()[5]
    assert float(said) == pytest.approx(float(values[1].max()), abs=float(values.max()) / 255)


def test_comparison_fits_a_phone(tmp_path, visit, pair):
    first, second, comparison = pair
    write_page(tmp_path / "x.html", [first, second], (), comparison)
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = visit(tmp_path / "x.html", **phone)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("figure.between .plate").bounding_box()["width"] >= 90


@pytest.mark.parametrize(("fork", "column"), [(0, 0), (1, 1), (3, 2), (5, 3)])
def test_strip_has_a_line_before_the_first_own_step(tmp_path, images, fork, column):
    maps, stages = difference_maps(images), (0, 2, 4)
    write_strip(tmp_path / "plain.png", images, maps, stages, scale=2)
    write_strip(tmp_path / "fork.png", images, maps, stages, scale=2, fork=fork)
    plain = np.asarray(Image.open(tmp_path / "plain.png").convert("RGB")).astype(int)
    forked = np.asarray(Image.open(tmp_path / "fork.png").convert("RGB")).astype(int)
    assert forked.shape[1] == plain.shape[1]
    assert forked.shape[0] > plain.shape[0]
    changed = np.abs(forked[: plain.shape[0] - 12] - plain[: plain.shape[0] - 12]).any(axis=(0, 2))
    gap, pitch = 6, 128 + 6
    middle = np.flatnonzero(changed).mean()
    assert middle == pytest.approx(gap / 2 + column * pitch, abs=2)
    assert changed.sum() <= 4
