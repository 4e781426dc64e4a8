"""The live page in a real browser: type, run, stop, fork, scrub, two tabs, a killed server."""

import re
import signal
import subprocess
import sys
import time

import pytest
from axe_playwright_python.sync_playwright import Axe

from sdloop.job.folder import RunFolder

pytestmark = pytest.mark.slow
PATIENCE_MS = 120_000
# long enough, and its steps slow enough, to press something while it runs
LONG = {"scheduler__num_steps": 400, "height": 160, "width": 160}


class Server:
    """`python -m sdloop.watch` as a process."""

    def __init__(self, runs, *words):
        command = [sys.executable, "-m", "sdloop.watch", *words, "--runs", str(runs)]
        self.process = subprocess.Popen(
            [*command, "--no-browser"], stdout=subprocess.PIPE, text=True
        )
        self.address = self.process.stdout.readline().strip()

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(60)
        self.process.stdout.close()
        return self.process.returncode


@pytest.fixture
def start(tmp_path, tiny_config):
    """Return a function that starts a server of the tiny config."""
    servers = []

    def begin(*words):
        words = words or (str(tiny_config), "export.stages=null", "export.formats=webp")
        servers.append(Server(tmp_path / "runs", *words))
        return servers[-1]

    yield begin
    for server in servers:
        server.end(signal.SIGKILL)


@pytest.fixture
def tab(browser):
    """Return a function that opens the page in a browser of its own; nobody may have complained."""
    contexts, complaints = [], []

    def open_tab(address, **options):
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert complaints == []


def fill(page, **values):
    for key, value in values.items():
        field = page.locator(f"#field-{key.replace('__', '-')}")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(str(value))
        else:
            field.fill(str(value))


def wait_for_state(page, words, count=1):
    page.locator(f".state:text-is('{words}')").nth(count - 1).wait_for()


def frames_so_far(page):
    found = re.search(r"Frame (\d+)", page.inner_text("#readout"))
    return int(found[1]) if found else -1  # nothing is shown yet


def wait_for_frame(page, number):
    end = time.monotonic() + PATIENCE_MS / 1000
    while frames_so_far(page) < number:
        assert time.monotonic() < end, page.inner_text("#readout")
        time.sleep(0.05)


def go(page, frame):
    page.evaluate(
        """(frame) => {
            const scrubber = document.getElementById("scrubber");
            scrubber.value = frame;
            scrubber.dispatchEvent(new Event("input"));
        }""",
        frame,
    )


def test_type_run_scrub(start, tab, tmp_path):
    page = tab(start().address)
    assert "token" not in page.url
    fill(page, prompt="a dog", seed=7, scheduler__num_steps=12, scheduler__type="ddim")
    page.click("#run")
    wait_for_state(page, "finished")
    page.wait_for_selector("#stills:not([hidden])")  # the run's own page
    assert page.inner_text("h1") == "“a dog”"
    assert "exact to the pixel" in page.inner_text("#exactness")
    go(page, 3)
    assert page.inner_text("#readout").startswith("Frame 3 of 12")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#readout").startswith("Frame 4 of 12")
    command = page.inner_text("#command")
    assert "'prompt=a dog' seed=7 scheduler.type=ddim scheduler.num_steps=12" in command
    with page.expect_download() as download:
        page.click("#files a:text-is('steps.csv')")
    (folder,) = (tmp_path / "runs").glob("a-dog-*")
    assert download.value.path().read_bytes() == (folder / "steps.csv").read_bytes()


def test_steps_are_seen_while_the_run_goes_on(start, tab):
    page = tab(start().address)
    fill(page, **LONG)
    page.click("#run")
    page.wait_for_selector("main:not([hidden])")
    wait_for_frame(page, 5)
    assert page.locator(".state:text-is('is running')").count() == 1
    seen = frames_so_far(page)
    for kind in ("frame", "difference", "z0_hat"):
        page.wait_for_function(  # a step that comes too quickly after another has no pictures
            """(kind) => {
                const canvas = document.querySelector(`figure.${kind} .plate canvas`);
                const { width, height } = canvas;
                const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                return new Set(data).size > 10;
            }""",
            arg=kind,
        )
    assert page.inner_text("#chart-legend") != ""
    page.keyboard.press("Home")  # look back; what comes does not pull the reader along
    wait_ms = 300
    page.wait_for_timeout(wait_ms)
    assert frames_so_far(page) == 0
    page.keyboard.press("End")
    wait_for_frame(page, seen + 1)
    page.click("#stop")
    wait_for_state(page, "stopped early")


def test_typing_does_not_move_the_page(start, tab):
    page = tab(start().address)
    page.click("#run")
    wait_for_state(page, "finished")
    go(page, 3)
    page.focus("#field-prompt")
    for key in ("Space", "ArrowLeft", "Home"):
        page.keyboard.press(key)
    assert frames_so_far(page) == 3
    assert page.get_attribute("#play", "aria-label") == "Play"


def test_stop_then_fork_shows_both_branches(start, tab, tmp_path):
    page = tab(start().address)
    fill(page, prompt="a dog", **LONG, guidance_scale=4)
    page.click("#run")
    page.wait_for_selector("main:not([hidden])")
    wait_for_frame(page, 8)
    assert page.locator("#fork").is_disabled()
    page.click("#stop")
    wait_for_state(page, "stopped early")
    page.locator("#exactness:has-text('on this page are')").wait_for()
    go(page, 5)
    assert page.inner_text("#fork") == "Fork at frame 5"
    fill(page, prompt="a cat", guidance_scale=6)
    page.click("#fork")
    page.wait_for_selector("body.several")
    names = page.locator(".run h2").all_inner_texts()
    assert names == [
        "“a dog”, from the start, guidance 4.0",
        "“a cat”, from frame 5, guidance 6.0",
    ]
    page.locator("#queue button:text-is('Stop')").click()
    wait_for_state(page, "stopped early", 2)
    page.locator("#exactness:has-text('on this page are')").wait_for()
    assert page.locator(".run").count() == 2
    assert f"--from {tmp_path / 'runs'}/a-dog-" in page.inner_text("#command")
    (dog,) = (tmp_path / "runs").glob("a-dog-*")
    (cat,) = (tmp_path / "runs").glob("a-cat-*")
    origin, fork = RunFolder(dog).trajectory, RunFolder(cat).trajectory
    assert fork.latents[:6].equal(origin.latents[:6])
    assert not fork.latents[6].equal(origin.latents[6])


def test_a_fork_of_a_finished_run_is_shown_to_its_end_beside_it(start, tab, tmp_path):
    page = tab(start().address)
    fill(page, prompt="a dog", scheduler__num_steps=8, scheduler__type="ddim")
    page.click("#run")
    wait_for_state(page, "finished")
    page.locator("#exactness:has-text('exact to the pixel')").wait_for()
    go(page, 3)
    fill(page, prompt="a cat")
    page.click("#fork")
    wait_for_state(page, "finished", 2)
    page.wait_for_selector(".comparison")  # both are there, and what differs between them
    names = page.locator(".run:not(.comparison) h2").all_inner_texts()
    assert names == ["“a dog”, from the start", "“a cat”, from frame 3"]
    go(page, 3)
    assert page.inner_text(".comparison .where") == "They do not differ here."
    go(page, 8)
    assert page.inner_text(".comparison .where").startswith("They differ by up to ")
    links = page.locator("#files a[href$='steps.csv']").all()
    assert len(links) == 2
    for link in links:
        assert page.request.get(link.evaluate("link => link.href")).ok


def test_a_wrong_value_shows_beside_its_field(start, tab):
    page = tab(start().address)
    fill(page, guidance_scale="lots")
    page.click("#run")
    page.locator("#field-guidance_scale-wrong:not(:empty)").wait_for()
    assert page.inner_text("#field-guidance_scale-wrong") == (
        "guidance_scale = 'lots': must be a valid number"
    )
    assert page.get_attribute("#field-guidance_scale", "aria-invalid") == "true"
    assert page.evaluate("document.activeElement.id") == "field-guidance_scale"
    fill(page, guidance_scale=3)
    page.click("#run")
    wait_for_state(page, "finished")
    assert page.inner_text("#field-guidance_scale-wrong") == ""


def test_two_browsers_see_one_queue(start, tab):
    server = start()
    first, second = tab(server.address), tab(server.address)
    fill(first, prompt="a dog", **LONG)
    first.click("#run")
    second.wait_for_selector("main:not([hidden])")
    wait_for_frame(second, 3)
    fill(second, prompt="a cat", scheduler__num_steps=3)
    second.click("#run")
    wait_for_state(first, "waits")
    assert first.locator(".state:text-is('is running')").count() == 1
    first.click("#stop")
    wait_for_state(second, "stopped early")
    wait_for_state(first, "finished")
    second.locator("h1:has-text('a cat')").wait_for()  # which it asked for itself
    assert first.inner_text("h1") == "“a dog”"


def test_a_hundred_quick_presses_lose_nothing(start, tab):
    page = tab(start().address)
    fill(page, prompt="a dog", **LONG)
    page.click("#run")
    wait_for_state(page, "is running")
    page.evaluate(
        """() => {
            const seed = document.getElementById("field-seed");
            for (let press = 0; press < 100; press++) {
                seed.value = String(press + 10);
                document.getElementById("run").click();
            }
        }"""
    )
    page.locator("#queue:has-text('100 waiting')").wait_for()
    assert page.locator("#queue .state:text-is('is running')").count() == 1
    page.evaluate(
        """() => {
            for (const button of document.querySelectorAll("#queue .small")) button.click();
        }"""
    )
    wait_for_state(page, "stopped early")
    assert page.locator(".state:text-is('waits')").count() == 0


def test_a_closed_tab_and_a_killed_server_lose_nothing(start, tab, tmp_path):
    server = start()
    page = tab(server.address)
    fill(page, prompt="a dog", **LONG)
    page.click("#run")
    page.wait_for_selector("main:not([hidden])")
    fill(page, prompt="a cat", scheduler__num_steps=3)
    page.click("#run")
    wait_for_state(page, "waits")
    wait_for_frame(page, 5)
    page.close()
    again = tab(server.address)
    wait_for_frame(again, 6)  # it is told all steps so far
    server.end(signal.SIGKILL)
    again.locator("[role=alert]:has-text('does not answer')").wait_for()
    (folder,) = (tmp_path / "runs").glob("a-dog-*")
    kept = (folder / ".progress").stat().st_size
    second = tab(start().address)
    wait_for_state(second, "waits")
    wait_for_frame(second, 5)
    assert (folder / ".progress").stat().st_size >= kept
    second.click("#stop")
    wait_for_state(second, "finished")
    assert second.locator(".state:text-is('stopped early')").count() == 1


def test_the_command_ends_well(start, tab):
    server = start()
    tab(server.address)
    assert server.end(signal.SIGINT) == 130


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_everybody_can_use_the_page(start, tab, scheme, size, tmp_path):
    viewport = {"width": size[0], "height": size[1]}
    page = tab(start().address, viewport=viewport, color_scheme=scheme, bypass_csp=True)
    fill(page, seed="x")
    page.click("#run")
    page.locator("#field-seed-wrong:not(:empty)").wait_for()
    found = [Axe().run(page)]
    fill(page, seed=3)
    page.click("#run")
    wait_for_state(page, "finished")
    page.wait_for_selector("#stills:not([hidden])")
    found.append(Axe().run(page))
    for results in found:
        grave = [
            f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}"
            for each in results.response["violations"]
            if each["impact"] in ("serious", "critical")
        ]
        assert grave == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= size[0]


def test_a_tab_that_was_refused_tries_again(start, tab):
    page = tab("about:blank")
    page.route("**/events", lambda route: route.fulfill(status=503, body="{}"), times=1)
    page.goto(start().address)
    page.locator("[role=alert]:has-text('does not answer')").wait_for()
    page.locator("[role=alert]:text-is('')").wait_for(state="attached")
    fill(page, scheduler__num_steps=3)
    page.click("#run")
    wait_for_state(page, "finished")
