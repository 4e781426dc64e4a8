"""The README's film of the live page: a run, a look back, a fork, in a real browser.

The loop waits after each step, so that every third step can be taken.

python scripts/watch_film.py [--out configs/watch.webp] [--browser chromium]
"""

import argparse
import io
import os
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from sdloop.job.events import Event, StepMade
from sdloop.serve import desk
from sdloop.serve.form import Form
from sdloop.serve.live import Live
from sdloop.serve.server import serving

ROOT = Path(__file__).parents[1]
CONFIG = Path("configs/astronaut.yaml")
SIZE = {"width": 1000, "height": 900}
WIDTH_PX = 480
LARGEST_BYTES = 300_000
WAIT_S = 0.5
FRAME_MS, LAST_MS = 220, 1600
FORK_AT, FORK_PROMPT = 24, "a panda relaxing on a tropical island"


class SlowLive(Live):
    """Waits after each step."""

    def hear(self, event: Event) -> None:
        """Take note of an event, and wait."""
        super().hear(event)
        if isinstance(event, StepMade):
            time.sleep(WAIT_S)


class Film:
    """Frames of a page, one after the other."""

    def __init__(self, page: Page) -> None:
        """Take none yet."""
        self._page = page
        self.frames: list[Image.Image] = []
        self.times_ms: list[int] = []

    def take(self, time_ms: int = FRAME_MS) -> None:
        """Take what the page shows; the time is how long the film shows it."""
        picture = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        height = round(picture.height * WIDTH_PX / picture.width)
        self.frames.append(picture.resize((WIDTH_PX, height), Image.Resampling.LANCZOS))
        self.times_ms.append(time_ms)

    def follow(self, most: int) -> None:
        """Take frames until the run is decoded in full, at most about so many of its steps."""
        last = -3
        final = self._page.locator("#exactness:has-text('exact to the pixel')")
        while final.count() == 0:
            doing = self._page.inner_text("#doing")
            frame = int(self._page.input_value("#scrubber"))
            if doing == "taking the steps" and frame >= last + 3 and len(self.frames) < most:
                last = frame
                self.take()
            self._page.wait_for_timeout(60)
        self.take(LAST_MS)

    def save(self, path: Path) -> None:
        """Write the best film that is small enough."""
        for quality in (50, 35, 20, 10):
            self.frames[0].save(
                path,
                "WEBP",
                save_all=True,
                append_images=self.frames[1:],
                duration=self.times_ms,
                loop=0,
                quality=quality,
                method=4,
            )
            if path.stat().st_size <= LARGEST_BYTES:
                break
        print(f"{path}: {len(self.frames)} frames, {path.stat().st_size} bytes, quality {quality}")


def main() -> None:
    """Drive the page and write the film."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "configs/watch.webp")
    parser.add_argument("--browser", default=shutil.which("chromium"))
    options = parser.parse_args()
    out = options.out.resolve()
    desk.Live = SlowLive  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.browser, args=["--no-sandbox"])
        # the page shows a command with paths: as they are for somebody who stands in a checkout
        os.chdir(folder)
        CONFIG.parent.mkdir()
        shutil.copy(ROOT / CONFIG, CONFIG)
        with serving(Form(CONFIG, (), Path("runs"))) as address:
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(240_000)
            page.goto(address)
            film = Film(page)
            page.click("#run")
            page.wait_for_selector("main:not([hidden])")
            film.follow(26)
            for frame in (44, 36, 30, FORK_AT):
                page.evaluate(
                    """(frame) => {
                        const scrubber = document.getElementById("scrubber");
                        scrubber.value = frame;
                        scrubber.dispatchEvent(new Event("input"));
                    }""",
                    frame,
                )
                film.take()
            page.evaluate("scrollTo(0, 0)")
            page.fill("#field-prompt", FORK_PROMPT)
            film.take(2 * FRAME_MS)
            page.click("#fork")
            page.wait_for_selector("body.several")
            film.follow(52)
            film.save(out)
        browser.close()


if __name__ == "__main__":
    main()
