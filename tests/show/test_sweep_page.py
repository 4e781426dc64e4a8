"""The page of a sweep, driven in a real browser from the disk."""

from dataclasses import replace

import numpy as np
import pytest

from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.show.figure.sheet import Side
from sdloop.show.page import sweep_data as data_module
from sdloop.show.page.page import write_sweep_page
from sdloop.show.page.small import Small
from sdloop.show.page.sweep_data import Grid, SmallRun, noise_shares, sweep_page_data
from tests.conftest import SCHEDULER

from .test_page import HOSTILE, go, make_run, position

SIZE = (24, 32)


def small_run(folder, steps, seed, with_z0_hat=True, prompt="a cat"):
    """Make up a run whose frames are plain colours: red counts frames, green is the seed."""
    run = make_run(folder, steps=steps, seed=seed, prompt=prompt)
    rows = len(run.schedule)
    frames = np.zeros((rows + 1, *SIZE, 3), np.uint8)
    frames[..., 0] = (np.arange(rows + 1) * 10)[:, None, None]
    frames[..., 1] = 60 * seed
    values = np.ones((rows, *SIZE), np.float32) * np.arange(1, rows + 1)[:, None, None]
    small = Small.of(frames, values * (1 + seed), 255 - frames[1:] if with_z0_hat else None)
    return SmallRun(
        folder, (4 * SIZE[0] + 3, 4 * SIZE[1]), run.config, run.schedule, run.stages, small, None
    )


@pytest.fixture
def grid(tmp_path):
    """Return two seeds by two numbers of steps, of which one run is missing."""
    cells = [
        [small_run(tmp_path / f"s{seed}n{steps}", steps, seed) for steps in (4, 9)]
        for seed in (1, 2)
    ]
    cells[0][1] = replace(cells[0][1], page=tmp_path / "s1n9/index.html")
    cells[1][1] = None
    keys = ["seed", "scheduler.num_steps"]
    sides = Side("seed", ("1", "2")), Side("num_steps", ("4", "9"))
    return Grid(tmp_path, *sides, cells, keys, 4, ["final.png"])


@pytest.fixture
def page(grid, visit):
    """Return its page, open."""
    write_sweep_page(grid.folder / "index.html", grid)
    return visit(grid.folder / "index.html")


def colors(page, holder=".cells"):
    """Read the middle of each canvas: (canvases, 3)."""
    values = page.evaluate(
        """(holder) => [...document.querySelectorAll(holder)].map((canvas) => {
            const copy = new OffscreenCanvas(1, 1);
            const context = copy.getContext("2d", { willReadFrequently: true });
            context.drawImage(canvas, -16, -12);
            const { data } = context.getImageData(0, 0, 1, 1);
            return [...data.subarray(0, 3)];
        })""",
        f"{holder} canvas:not(.bar)",
    )
    return np.array(values)


def near(got, wanted):
    return np.abs(np.asarray(got) - wanted).max() <= 8  # WebP


def test_runs_are_laid_out_as_on_the_sheets(page):
    heads = page.locator(".cells th").all_inner_texts()
    assert heads == ["seed", "num_steps", "4", "9", "1", "2"]
    names = [cell.get_attribute("aria-label") for cell in page.locator(".cells button").all()]
    assert names == ["seed 1, 4 steps", "seed 1, 9 steps", "seed 2, 4 steps"]
    assert page.inner_text(".cells .missing") == "missing"
    assert position(page) == 10  # the end: PNDM makes a row more
    assert "128 × 99 px" in page.inner_text("#facts")
    assert page.locator("#files a").get_attribute("href") == "final.png"


def test_runs_go_by_share_of_their_steps_and_the_page_says_so(page):
    for at, short in ((0, 0), (3, 2), (5, 3), (10, 5)):  # round(at * 5 / 10), up where it is half
        go(page, at)
        assert near(colors(page)[:, 0], [10 * short, 10 * at, 10 * short])
    assert "same share of its steps" in page.inner_text("#facts")


def test_runs_go_by_noise_where_that_is_asked_for(page, grid):
    page.check("input[value=noise]", force=True)
    assert "as noisy as" in page.inner_text("#facts")
    short, long = grid.cells[0]
    ours, theirs = noise_shares(short.schedule), noise_shares(long.schedule)
    differ = False
    for at in range(11):
        off = np.abs(ours - theirs[at])
        frame = int(np.flatnonzero(off <= off.min() + 1e-12)[-1])
        differ |= frame != round(at * 5 / 10)
        go(page, at)
        assert near(colors(page)[:2, 0], [10 * frame, 10 * at])
        assert "noise, by power" in page.inner_text("#readout")
    assert differ


def test_kinds_are_switched_and_share_a_scale(page, grid):
    from sdloop.show.difference import viridis

    go(page, 10)
    page.check("input[value=z0_hat]", force=True)
    assert near(colors(page), [[205, 195, 255], [155, 195, 255], [205, 135, 255]])
    page.check("input[value=difference]", force=True)
    most = 3 * 5  # of all: seed 2, step 4; against seed 1's 2 * 10
    for run, value in zip(colors(page), (2 * 5, 2 * 10, most), strict=True):
        assert near(run, viridis()[round(255 * value / 20)])
    page.check("#scale input[value=image]", force=True)
    assert near(colors(page), viridis()[255])
    go(page, 0)
    assert not colors(page).any()  # nothing before the first step


def test_pressed_cell_is_shown_large_with_its_page(page):
    assert page.inner_text("#large h2") == "seed 1, 9 steps"  # the longest
    assert page.get_attribute("#large > a", "href") == "s1n9/index.html"
    page.locator(".cells button").nth(2).click()
    assert page.inner_text("#large h2") == "seed 2, 4 steps"
    assert page.locator("#large > a").count() == 0
    assert page.locator(".cells button[aria-pressed=true]").count() == 1
    go(page, 5)
    assert near(colors(page, "#large .frame")[0], [30, 120, 0])
    assert "Frame 3 of 5" in page.inner_text("#large .where")


def test_sweep_without_z0_hat_offers_none(tmp_path, visit):
    run = small_run(tmp_path / "a", 4, 1, with_z0_hat=False, prompt=HOSTILE)
    grid = Grid(tmp_path, Side("", ("",)), Side("prompt", (HOSTILE,)), [[run]], ["prompt"], 1)
    write_sweep_page(tmp_path / "index.html", grid)
    page = visit(tmp_path / "index.html")
    assert page.locator("input[name=kind]").count() == 2
    assert page.locator(".cells thead th").last.text_content() == HOSTILE
    page.keyboard.press("Home")
    assert position(page) == 0


def test_sweep_page_fits_a_phone(grid, visit):
    write_sweep_page(grid.folder / "index.html", grid)
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = visit(grid.folder / "index.html", **phone)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator(".cells button").nth(2).tap()
    assert page.inner_text("#large h2") == "seed 2, 4 steps"


def test_pictures_get_what_the_words_leave(grid, monkeypatch):
    best = sweep_page_data(grid.folder / "x.html", grid, ())
    assert best["quality"] == 90
    size = sum(len(run["frames"]) for run in best["runs"])
    monkeypatch.setattr(data_module, "SWEEP_PAGE_BYTES", size // 2)
    assert sweep_page_data(grid.folder / "x.html", grid, ())["quality"] == 10


def test_noise_shares_fall_from_noise_to_picture():
    shares = noise_shares(make_table(read_settings(SCHEDULER, "ddim"), 5))
    assert len(shares) == 6
    assert (np.diff(shares) < 0).all()
    # alphas_cumprod of Stable Diffusion's scaled linear betas: 0.0058 at 961, 0.99915 at 0
    assert shares[-1] == pytest.approx(2 / np.pi * np.arctan((1 / 0.99915 - 1) ** 0.5), rel=1e-3)


@pytest.mark.slow
def test_page_of_64_noisy_runs_is_below_20_mb(tmp_path):
    rng = np.random.default_rng(0)
    one = small_run(tmp_path / "a", 50, 0)
    noise = rng.integers(0, 256, (52, 64, 64, 3), dtype=np.uint8)
    small = Small.of(noise, noise[1:, :, :, 0].astype(np.float32), noise[1:])
    labels = tuple("01234567")
    cells = [[replace(one, small=small)] * 8] * 8
    grid = Grid(tmp_path, Side("a", labels), Side("b", labels), cells, ["seed"], 2)
    write_sweep_page(tmp_path / "index.html", grid)
    assert (tmp_path / "index.html").stat().st_size < 20_000_000
