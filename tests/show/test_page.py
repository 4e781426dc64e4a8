"""The page, driven in a real browser from the disk."""

import dataclasses
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Error

from sdloop.job.folder import RunFolder
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.show.difference import difference_maps, viridis
from sdloop.show.figure.png import write_frames
from sdloop.show.page import page as page_module
from sdloop.show.page import page_data as data_module
from sdloop.show.page.charts import CHARTS
from sdloop.show.page.modules import join_modules
from sdloop.show.page.packing import pack
from sdloop.show.page.page import write_page
from sdloop.show.page.page_data import PAGE_BYTES, PageRun, Still, page_data
from sdloop.show.page.text import to_json
from tests.conftest import READY, SCHEDULER

HEIGHT, WIDTH = 24, 32
WEB = Path(page_module.__file__).parent / "web"
HOSTILE = """</script><script>alert(1)</script> <b onclick="x">&amp; "'$data ${x} \u2028 <!--"""


def make_run(
    folder, steps=5, seed=0, prompt="a cat", with_z0_hat=True, size=(HEIGHT, WIDTH), **config
):
    """Make up a run of PLMS steps, one row more than steps."""
    schedule = make_table(read_settings(SCHEDULER, "pndm"), steps)
    rows = len(schedule)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (rows + 1, *size, 3), dtype=np.uint8)
    images[-1] = np.minimum(images[-2], 250) + 3  # a small last difference
    maps = difference_maps(images)
    numbers = {name: rng.normal(size=rows) for chart in CHARTS for name in chart.lines}
    numbers |= {"row": np.arange(rows), "energy_below_1": numbers["z_rms"], "novel": np.ones(rows)}
    numbers["step_cosine"][0] = np.nan
    return PageRun(
        folder=folder,
        config={
            "prompt": prompt, "model": "bundled", "seed": seed, "guidance_scale": 3.5,
            "scheduler": {"type": "pndm", "num_steps": steps}, "difference": {"scale": "image"},
            "export": {"delay_ms": 100, "hold_ms": 500}, "output": str(folder), **config,
        },
        images=images,
        z0_hat=rng.integers(0, 256, images[1:].shape, dtype=np.uint8) if with_z0_hat else None,
        differences=maps.values,
        schedule=schedule,
        numbers=numbers,
        stages=(0, 2, rows - 1),
        files=("frames.gif", "steps.csv", "index.html"),
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Return a run of six rows."""
    return make_run(tmp_path)


@pytest.fixture
def page(run, visit):
    """Return its page, open."""
    write_page(run.folder / "index.html", [run])
    return visit(run.folder / "index.html")


def pixels(page, kind, number=0):
    """Read what stands on a canvas, uint8 (H, W, 3)."""
    values = page.evaluate(
        """([kind, number]) => {
            const canvas = document.querySelectorAll(`figure.${kind} .plate canvas`)[number];
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height);
            const context = copy.getContext("2d", { willReadFrequently: true });
            context.drawImage(canvas, 0, 0);
            const { data } = context.getImageData(0, 0, width, height);
            return [height, width, ...data];
        }""",
        [kind, number],
    )
    return np.array(values[2:], dtype=np.uint8).reshape(*values[:2], 4)[..., :3]


def position(page):
    return int(page.input_value("#scrubber"))


def go(page, frame):
    page.evaluate(
        """(frame) => {
            const scrubber = document.getElementById("scrubber");
            scrubber.value = frame;
            scrubber.dispatchEvent(new Event("input"));
        }""",
        frame,
    )


def test_page_opens_at_the_middle_stage(page):
    assert position(page) == 3
    assert page.inner_text("h1") == "“a cat”"
    assert page.title() == "a cat · sdloop"
    # alphas_cumprod[401] of Stable Diffusion's scaled linear betas is 0.4229 (NumPy, float64)
    assert page.inner_text("#readout") == (
        "Frame 3 of 6, made by step 2 at timestep 601: 42% signal and 58% noise, by power."
    )


def test_pictures_are_exact(page, run):
    maps = difference_maps(run.images)
    for frame in range(1, 7):
        go(page, frame)
        np.testing.assert_array_equal(pixels(page, "frame"), run.images[frame])
        np.testing.assert_array_equal(pixels(page, "z0_hat"), run.z0_hat[frame - 1])
        np.testing.assert_array_equal(pixels(page, "difference"), maps.rgb[frame - 1])


def test_scale_switches_between_the_step_and_the_whole_run(page, run):
    go(page, 6)
    whole = difference_maps(run.images, scale="global")
    assert page.inner_text(".difference .bar-ends") == "0\n3 of 255"
    page.check("#scale input[value=global]", force=True)
    index_of = {tuple(color): index for index, color in enumerate(viridis().tolist())}
    shown = [index_of[tuple(color)] for color in pixels(page, "difference").reshape(-1, 3).tolist()]
    # the page holds levels of the step's own largest difference: half a level off at the most
    assert np.abs(np.array(shown) - whole.indices[5].ravel()).max() <= 1
    assert page.inner_text(".difference .bar-ends") == f"0\n{whole.full_scale[0]:.4g} of 255"
    page.check("#scale input[value=image]", force=True)
    np.testing.assert_array_equal(pixels(page, "difference"), difference_maps(run.images).rgb[5])


def test_frame_zero_has_neither_difference_nor_belief(page, run):
    go(page, 0)
    np.testing.assert_array_equal(pixels(page, "frame"), run.images[0])
    assert "pure noise" in page.inner_text("#readout")
    assert not page.is_visible(".difference .plate canvas")
    assert not page.is_visible(".z0_hat .plate canvas")


def test_words_and_marks_tell_of_the_trial_and_its_correction(page):
    for frame, told in (
        (1, "This step only tries: no later one goes on from its frame."),
        (2, "This step is a correction: it starts again from frame 0."),
        (3, "noise, by power."),
    ):
        go(page, frame)
        words = page.inner_text("#readout")
        assert words.endswith(told)
        assert page.get_attribute("#scrubber", "aria-valuetext") == words
    cells = page.locator("#marks span")
    assert [cell.get_attribute("class") for cell in cells.all()] == ["tries", "again"]
    film = page.locator("#film").bounding_box()
    for frame, cell in enumerate(cells.all(), start=1):
        box = cell.bounding_box()
        assert box["x"] - film["x"] == pytest.approx(frame * film["width"] / 7, abs=0.5)
        assert (box["y"], box["height"]) == pytest.approx((film["y"], film["height"]), abs=0.5)
    assert "a trial: no later step goes on from this frame" in page.inner_text("#marks-note")


def test_a_run_of_plain_steps_bears_no_marks(tmp_path, visit, run):
    table = make_table(read_settings(SCHEDULER, "ddim"), len(run.schedule))
    write_page(tmp_path / "page.html", [dataclasses.replace(run, schedule=table)])
    page = visit(tmp_path / "page.html")
    assert page.locator("#marks span").count() == 0
    assert not page.is_visible("#marks-note")


def test_keys_move_and_play(page):
    for key, expected in (
        ("Home", 0), ("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1),
        ("End", 6), ("ArrowRight", 6),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert position(page) == expected
    page.focus("#scrubber")
    page.keyboard.press("ArrowLeft")
    assert position(page) == 5
    page.keyboard.press("Space")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.keyboard.press("Space")
    assert page.get_attribute("#play", "aria-label") == "Play"


def test_keys_in_a_field_stay_there(page):
    page.focus("#pixel-x")
    page.keyboard.press("Home")
    page.focus("#speed")
    page.keyboard.press("ArrowRight")
    assert position(page) == 3


def test_play_takes_a_frame_a_delay_and_holds_the_last(page):
    page.keyboard.press("End")
    page.click("#play")  # from the end it starts again
    assert position(page) == 0
    page.clock.run_for(250)
    assert position(page) == 2
    assert page.get_attribute("#readout", "aria-live") == "off"
    page.clock.run_for(400)
    assert position(page) == 6
    page.clock.run_for(400)
    assert position(page) == 6
    page.clock.run_for(100)
    assert position(page) == 0
    page.click("#play")
    page.clock.run_for(1000)
    assert position(page) == 0
    assert page.get_attribute("#readout", "aria-live") == "polite"


def test_play_stops_at_the_end_without_loop_and_obeys_the_speed(page):
    page.uncheck("#loop")
    page.select_option("#speed", "4")
    page.keyboard.press("Home")
    page.click("#play")
    page.clock.run_for(110)
    assert position(page) == 4
    page.clock.run_for(1000)
    assert position(page) == 6
    assert page.get_attribute("#play", "aria-label") == "Play"


def test_scrubber_is_dragged_over_the_film(page):
    box = page.locator("#scrubber").bounding_box()
    cell = box["width"] / 7
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 1.5 * cell, y)
    page.mouse.down()
    assert position(page) == 1
    page.mouse.move(box["x"] + 5.5 * cell, y)
    page.mouse.up()
    assert position(page) == 5
    film = page.evaluate(
        "[...document.getElementById('film').getContext('2d').getImageData(0, 0, 400, 40).data]"
    )
    assert len(set(film)) > 100  # the frames are on it


def test_stages_are_marked_and_lead_there(page):
    box = page.locator("#scrubber").bounding_box()
    buttons = page.locator("#stages button")
    assert [text.split()[-1] for text in buttons.all_inner_texts()] == ["0", "2", "5"]
    for number, frame in enumerate((1, 3, 6)):
        mark = buttons.nth(number).bounding_box()
        middle = mark["x"] + mark["width"] / 2
        assert middle == pytest.approx(box["x"] + (frame + 0.5) / 7 * box["width"], abs=1)
        buttons.nth(number).click()
        assert position(page) == frame


def test_chart_shows_every_number_and_its_cursor_scrubs(page, run):
    labels = page.locator("#chart-choice option").all_inner_texts()
    assert labels == [*(chart.label for chart in CHARTS), "Coarse and fine", "Novel"]
    box = page.locator("#plot").bounding_box()
    for chart in CHARTS:
        page.select_option("#chart-choice", chart.label)
        assert page.locator("#plot path.line").count() == len(chart.lines)
        name = next(iter(chart.lines))
        value = run.numbers[name][position(page) - 1]
        legend = page.locator("#chart-legend b").first.inner_text().replace("−", "-")
        assert float(legend.split()[0]) == pytest.approx(value, rel=1e-3)
    page.mouse.move(box["x"] + 0.5 / 7 * box["width"], box["y"] + 50)
    page.mouse.down()
    assert position(page) == 0
    page.mouse.move(box["x"] + 4.5 / 7 * box["width"], box["y"] + 50)
    page.mouse.up()
    assert position(page) == 4
    cursor = float(page.get_attribute("#plot .cursor", "x1"))
    assert cursor == pytest.approx(4.5 / 7 * box["width"], abs=0.5)


def test_chart_reads_the_value_under_the_pointer(page, run):
    page.select_option("#chart-choice", "Step")
    box = page.locator("#plot").bounding_box()
    page.mouse.move(box["x"] + 5.5 / 7 * box["width"], box["y"] + 50)
    where, value = page.inner_text("#plot .tip").split("\n")
    assert where == "step 4"
    assert float(value.replace("−", "-")) == pytest.approx(run.numbers["step_rms"][4], rel=1e-3)
    assert position(page) == 3  # looking does not scrub
    page.mouse.move(5, 5)
    assert not page.is_visible("#plot .tip")


def test_chart_without_a_value_says_so(page):
    page.select_option("#chart-choice", "Direction")
    go(page, 1)
    assert page.inner_text("#chart-legend b") == "no value"


def test_pixel_under_the_pointer_is_followed_through_all_steps(page, run):
    x, y, frame = 20, 7, 3
    box = page.locator("figure.difference .plate").bounding_box()
    middle = (
        box["x"] + (x + 0.5) / WIDTH * box["width"],
        box["y"] + (y + 0.5) / HEIGHT * box["height"],
    )
    page.mouse.move(*middle)
    assert (page.input_value("#pixel-x"), page.input_value("#pixel-y")) == (str(x), str(y))
    for frame in (3, 5):
        go(page, frame)
        said = [
            float(number) for number in re.findall(r"[\d.]+", page.inner_text("#pixel .values"))
        ]
        assert said[:3] == run.images[frame, y, x].tolist()
        assert said[3] == pytest.approx(run.differences[frame - 1, y, x], abs=0.06)  # four digits
    band = page.locator("#pixel svg rect").evaluate_all(
        "all => all.map(one => one.getAttribute('fill'))"
    )
    colors = [f"rgb({' '.join(map(str, color))})" for color in run.images[:, y, x].tolist()]
    assert band[:7] == colors
    page.mouse.click(*middle)  # holds it
    page.mouse.move(middle[0] - 60, middle[1])
    assert page.input_value("#pixel-x") == str(x)
    page.mouse.click(*middle)
    page.mouse.move(middle[0] - 60, middle[1])
    assert page.input_value("#pixel-x") != str(x)


def test_pixel_can_be_named_by_keyboard(page, run):
    page.fill("#pixel-x", "99999")
    page.fill("#pixel-y", "3")
    page.keyboard.press("Tab")
    assert page.input_value("#pixel-x") == str(WIDTH - 1)
    color = " ".join(map(str, run.images[3, 3, WIDTH - 1].tolist()))
    assert page.inner_text("#pixel .values").startswith(f"rgb {color}")


def test_small_pictures_are_enlarged_by_whole_factors(page):
    for kind in ("frame", "difference", "z0_hat"):
        canvas = page.locator(f"figure.{kind} .plate canvas")
        width = canvas.bounding_box()["width"]
        assert width >= 384
        assert width % WIDTH == 0
        assert canvas.evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"


def test_hostile_texts_show_as_written(tmp_path, visit):
    folder = tmp_path / "a#b <i>?"
    run = make_run(folder, prompt=HOSTILE, negative_prompt=HOSTILE)
    write_page(folder / "index.html", [run])
    page = visit(folder / "index.html")
    assert page.text_content("h1") == f"“{HOSTILE}”"
    keys = page.locator("dt").all_text_contents()
    values = dict(zip(keys, page.locator("dd").all_text_contents(), strict=True))
    assert values["prompt"] == values["negative_prompt"] == HOSTILE
    assert page.locator("script").count() == 2
    assert page.locator("b[onclick]").count() == 0


def test_scripts_and_requests_of_others_are_refused(browser, run):
    write_page(run.folder / "index.html", [run])
    page = browser.new_page()
    page.goto((run.folder / "index.html").as_uri())
    page.evaluate(
        """document.body.append(
            Object.assign(document.createElement("script"), { text: "window.bad = 1" }))"""
    )
    assert page.evaluate("window.bad") is None
    with pytest.raises(Error, match="Failed to fetch"):
        page.evaluate("fetch('https://example.org/')")
    page.close()


def test_every_config_value_is_shown(page):
    texts = page.locator("dl div").all_inner_texts()
    values = dict(re.split(r"\s*\n\s*", text, maxsplit=1) for text in texts)
    assert values["scheduler.num_steps"] == "5"
    assert values["guidance_scale"] == "3.5"
    assert values["export.hold_ms"] == "500"


def test_files_are_linked_from_where_the_page_lies(tmp_path, visit):
    run = make_run(tmp_path / "runs/50% of it")
    write_page(run.folder / "index.html", [run])
    write_page(tmp_path / "talk/index.html", [run])
    names = page_links(visit(run.folder / "index.html"))
    assert names == ["frames.gif", "steps.csv"]  # not itself
    page = visit(tmp_path / "talk/index.html")
    assert page_links(page) == [
        f"../runs/50%25%20of%20it/{name}" for name in ("frames.gif", "steps.csv", "index.html")
    ]


def page_links(page):
    """Return where the page's links lead."""
    addresses = "all => all.map(one => one.getAttribute('href'))"
    return page.locator("#files a").evaluate_all(addresses)


def test_page_without_z0_hat_shows_two_pictures(tmp_path, visit):
    write_page(tmp_path / "index.html", [make_run(tmp_path, with_z0_hat=False)])
    page = visit(tmp_path / "index.html")
    assert page.locator("#runs figure").count() == 2
    page.keyboard.press("ArrowRight")
    assert position(page) == 4


@pytest.mark.parametrize("small", [True, False])
def test_page_says_whether_a_small_decoder_drew_z0_hat(tmp_path, visit, small):
    run = replace(make_run(tmp_path), small_decoder=small)
    write_page(tmp_path / "index.html", [run])
    caption = visit(tmp_path / "index.html").locator("figure.z0_hat figcaption")
    assert ("drawn by a small decoder" in caption.inner_text()) is small


def test_stills_are_inside_the_page(tmp_path, run, visit):
    write_frames(tmp_path, run.images[:1])
    still = Still("000.png", "Noise", "The first frame.")
    write_page(tmp_path / "index.html", [replace(run, stills=[still])])
    (tmp_path / "000.png").unlink()
    page = visit(tmp_path / "index.html")
    image = page.locator("#stills img")
    assert image.get_attribute("alt") == "Noise: The first frame."
    assert image.evaluate("one => one.decode().then(() => one.naturalWidth)") == WIDTH


def test_runs_of_different_length_go_in_step(tmp_path, visit):
    runs = [make_run(tmp_path / "a", steps=5), make_run(tmp_path / "b", steps=10, seed=1)]
    write_page(tmp_path / "compare.html", runs)
    page = visit(tmp_path / "compare.html")
    assert page.title() == "a, b · sdloop"
    assert page.inner_text("h1") == "“a cat”"
    assert page.get_attribute("#scrubber", "max") == "11"
    for at, first in ((0, 0), (1, 1), (5, 3), (10, 5), (11, 6)):  # round(at * 6 / 11)
        go(page, at)
        np.testing.assert_array_equal(pixels(page, "frame"), runs[0].images[first])
        np.testing.assert_array_equal(pixels(page, "frame", 1), runs[1].images[at])
    names = page.locator(".run h2").all_inner_texts()
    assert names == ["seed 0, 5 steps", "seed 1, 10 steps"]
    assert page.locator(".differs th").all_text_contents() == [
        "seed (differs)", "scheduler.num_steps (differs)",
    ]  # fmt: skip
    assert page.locator("#plot path.line").count() == 2


def test_compared_runs_share_one_scale(tmp_path, visit):
    dim = make_run(tmp_path / "b", seed=1)
    dim = replace(dim, differences=dim.differences / 4)
    runs = [make_run(tmp_path / "a"), dim]
    write_page(tmp_path / "compare.html", runs)
    page = visit(tmp_path / "compare.html")
    most = max(run.differences.max() for run in runs)
    bars = page.locator(".bar-ends").all_inner_texts()
    assert bars == [f"0\n{most:.4g} of 255"] * 2
    index_of = {tuple(color): index for index, color in enumerate(viridis().tolist())}
    brightest = max(
        index_of[tuple(c)] for c in pixels(page, "difference", 1).reshape(-1, 3).tolist()
    )
    assert brightest == pytest.approx(255 * dim.differences[2].max() / most, abs=1)


def test_runs_are_named_by_what_changes_a_row(tmp_path, visit):
    runs = [
        make_run(tmp_path / "a", seed=1, decode={"batch_size": 1}, outputs="x"),
        make_run(tmp_path / "b", seed=2, decode={"batch_size": 2}, outputs="y"),
    ]
    marked = [
        f"{key} (differs)" for key in ("seed", "decode.batch_size", "outputs")
    ]  # not `output`, which always differs
    for shown_keys, names in (
        ((), ["seed 1, decode.batch_size 1, outputs x", "seed 2, decode.batch_size 2, outputs y"]),
        (("decode", "output"), ["seed 1, outputs x", "seed 2, outputs y"]),
        (("decode", "output", "outputs", "seed"), ["a", "b"]),
    ):
        write_page(tmp_path / "compare.html", runs, shown_keys)
        page = visit(tmp_path / "compare.html")
        assert page.locator(".run h2").all_inner_texts() == names
        assert sorted(page.locator(".differs th").all_text_contents()) == sorted(marked)


def test_runs_of_different_size_share_chart_and_pixel(tmp_path, visit):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", size=(12, 16))]
    wide = runs[0].numbers | {"energy_8_up": np.arange(6.0)}
    write_page(tmp_path / "compare.html", [replace(runs[0], numbers=wide), runs[1]])
    page = visit(tmp_path / "compare.html")
    page.select_option("#chart-choice", "Coarse and fine")
    values = page.locator("#chart-legend b").all_inner_texts()
    assert values[1] == "2 levels²"
    assert values[3] == "no value"  # a small picture has fewer bands
    page.fill("#pixel-x", "99999")
    page.fill("#pixel-y", "0")
    page.keyboard.press("Tab")
    assert page.input_value("#pixel-x") == "31"
    for number, x in enumerate((31, 15)):
        color = " ".join(map(str, runs[number].images[3, 0, x].tolist()))
        assert page.locator("#pixel .values").nth(number).inner_text().startswith(f"rgb {color}")
        mark = page.locator(".frame .mark").nth(number)
        assert float(mark.evaluate("one => parseFloat(one.style.left)")) < 100


def test_page_of_an_unfinished_run_ends_where_the_run_does(run, visit):
    path = run.folder / "index.html"
    write_page(path, [run])
    text = path.read_text()
    data = json.loads(re.search('id="data">(.*?)</script>', text)[1])
    del data["runs"][0]["steps"][2:]
    path.write_text(re.sub('(id="data">).*?(</script>)', lambda at: at[1] + to_json(data) + at[2],
                           text))  # fmt: skip
    page = visit(path)
    assert position(page) == 2  # the middle stage has not come yet
    page.keyboard.press("ArrowRight")
    assert position(page) == 2
    assert page.inner_text("#readout").startswith("Frame 2 of 6")
    np.testing.assert_array_equal(pixels(page, "frame"), run.images[2])


# what a server that sends steps as they are made will do: it comes with frame 0 and two steps
LIVE = """
import { readData } from "./data.js";
import { Page } from "./page.js";
import { ColorMap } from "./pictures.js";
import { decodeStep, Run } from "./run.js";
import { Runs } from "./runs.js";

const data = readData();
const later = data.runs[0].steps.splice(2);
const run = new Run(data.runs[0], new ColorMap(data.viridis));
await run.load();
const page = new Page(new Runs([run], []), data.charts);
page.update();
document.body.addEventListener("step", async () => {
  run.append(await decodeStep(later.shift()));
  page.update();
  document.body.dataset.steps = run.steps.length;
});
document.getElementById("main").removeAttribute("aria-busy");
"""


def test_page_grows_with_the_steps_that_come(tmp_path, run, visit, monkeypatch):
    shutil.copytree(WEB, tmp_path / "web")
    (tmp_path / "web/live.js").write_text(LIVE)
    monkeypatch.setattr(
        page_module, "join_modules", lambda *_: join_modules(tmp_path / "web", "live.js")
    )
    write_page(run.folder / "index.html", [run])
    page = visit(run.folder / "index.html")
    for steps in range(2, 7):
        page.keyboard.press("End")
        assert position(page) == steps
        np.testing.assert_array_equal(pixels(page, "frame"), run.images[steps])
        np.testing.assert_array_equal(
            pixels(page, "difference"), difference_maps(run.images).rgb[steps - 1]
        )
        assert page.get_attribute("#plot path.line", "d").count("L") == steps - 1
        assert page.locator("#pixel svg rect").count() == 2 * steps + 1
        page.keyboard.press("Space")  # plays what there is
        page.clock.run_for(100 * steps)
        assert position(page) == steps
        page.clock.run_for(500)
        assert position(page) == 0
        if steps < 6:
            page.evaluate("document.body.dispatchEvent(new Event('step'))")
            page.wait_for_selector(f"body[data-steps='{steps + 1}']")
            assert position(page) == 0  # looking at one step goes on while others come


def test_different_prompts_are_told_apart(tmp_path, visit):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", prompt=HOSTILE)]
    write_page(tmp_path / "compare.html", runs)
    page = visit(tmp_path / "compare.html")
    assert page.inner_text("h1") == "2 runs in step"
    assert page.locator(".run h2").nth(1).text_content() == f"“{HOSTILE}”"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_phone_needs_no_sideways_scrolling(tmp_path, visit, count):
    runs = [
        make_run(tmp_path / f"run{number}", seed=number, prompt="x" * 300)
        for number in range(count)
    ]
    write_page(tmp_path / "page.html", runs)
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = visit(tmp_path / "page.html", device_scale_factor=3, **phone)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.tap("#on")
    assert position(page) == 4
    page.locator("figure.frame .plate").first.tap()
    assert page.input_value("#pixel-x") == str(WIDTH // 2)


def test_theme_follows_the_system_and_the_button(run, visit):
    write_page(run.folder / "index.html", [run])
    paper = "getComputedStyle(document.body).backgroundColor"
    light = visit(run.folder / "index.html", color_scheme="light")
    dark = visit(run.folder / "index.html", color_scheme="dark")
    light_paper, dark_paper = light.evaluate(paper), dark.evaluate(paper)
    assert light_paper != dark_paper
    light.click("#theme")
    assert light.evaluate(paper) == dark_paper
    light.reload()
    light.wait_for_selector(READY)
    assert light.evaluate(paper) == dark_paper  # it was remembered
    light.click("#theme")
    assert light.evaluate(paper) == light_paper


def test_every_control_has_a_name(page):
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, select, a, svg[role], canvas[role], img")]
            .filter((one) => !(one.getAttribute("aria-label") || one.labels?.[0]?.textContent.trim()
                || one.textContent.trim() || one.alt))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_nothing_moves_by_itself_where_motion_is_not_wanted(run, visit):
    write_page(run.folder / "index.html", [run])
    page = visit(run.folder / "index.html", reduced_motion="reduce")
    assert (
        page.evaluate("getComputedStyle(document.getElementById('play')).transitionDuration")
        == "0s"
    )
    page.clock.run_for(5000)
    assert position(page) == 3


def test_run_shows_itself_in_a_notebook(tmp_path, visit):
    run = make_run(tmp_path / "run", prompt=HOSTILE)
    write_page(run.folder / "index.html", [run])
    notebook = tmp_path / "notebook.html"
    shown = RunFolder(run.folder)._repr_html_()
    notebook.write_text(f"<!doctype html><link rel=icon href=data:,><main>{shown}</main>")
    page = visit(notebook)
    frame = page.frames[1]
    frame.wait_for_selector(READY)
    assert frame.text_content("h1") == f"“{HOSTILE}”"
    frame.press("#scrubber", "End")
    assert frame.input_value("#scrubber") == "6"
    frame.click("#theme")  # works without a memory
    assert frame.locator("#files a").count() == 0  # which from in there would lead nowhere


def test_run_without_a_page_shows_its_name(tmp_path):
    assert RunFolder(tmp_path)._repr_html_() is None
    assert os.fspath(RunFolder(tmp_path)) == str(tmp_path)


def test_address_can_name_the_frame(run, visit):
    write_page(run.folder / "index.html", [run])
    page = visit(run.folder / "index.html")
    page.goto("about:blank")
    page.goto((run.folder / "index.html").as_uri() + "#5")
    page.wait_for_selector(READY)
    assert position(page) == 5


def test_same_run_gives_the_same_page(tmp_path, run):
    for name in ("a.html", "b.html"):
        write_page(tmp_path / name, [run])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_numbers_that_json_has_not_are_left_out(run):
    run.numbers["log_snr"][:3] = np.nan, np.inf, -np.inf
    [data] = page_data(run.folder / "index.html", [run], ())["runs"]
    at = data["facts"]["columns"].index("log_snr")
    assert [step["numbers"][at] for step in data["steps"][:3]] == [None, None, None]
    assert data["steps"][3]["numbers"][at] == run.numbers["log_snr"][3]
    assert "row" not in data["facts"]["columns"]  # a counter is no chart


def test_words_leave_the_pictures_less_room(tmp_path, run, monkeypatch):
    def data_of(run):
        [data] = page_data(tmp_path / "x.html", [run], ())["runs"]
        return data["quality"], len(to_json(data))

    quality, size = data_of(run)
    assert quality is None
    budget = int(1.1 * size)
    monkeypatch.setattr(data_module, "PAGE_BYTES", budget)
    assert data_of(run) == (None, size)
    many = {f"number {number}": np.linspace(0, 1 / 3, 6) for number in range(200)}
    quality, size = data_of(replace(run, numbers=run.numbers | many))
    assert quality is not None
    assert size <= budget


def test_pictures_are_lossless_while_they_fit(run):
    exact = pack([run.images, run.z0_hat], 10**6)
    assert exact.quality is None
    smaller = pack([run.images, run.z0_hat], exact.size_bytes // 2)
    assert smaller.quality is not None
    assert smaller.size_bytes <= exact.size_bytes // 2
    assert [len(stack) for stack in smaller.stacks] == [7, 6]


@pytest.mark.slow
def test_page_of_51_noisy_frames_at_512_px_is_below_8_mb(tmp_path):
    rng = np.random.default_rng(0)
    run = make_run(tmp_path, steps=50)
    blobs = (
        rng.integers(0, 256, (52, 128, 128, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    )
    maps = difference_maps(blobs)
    run = replace(run, images=blobs, z0_hat=blobs[1:], differences=maps.values)
    write_page(tmp_path / "index.html", [run])
    assert (tmp_path / "index.html").stat().st_size < 8_000_000
    assert PAGE_BYTES < 8_000_000
