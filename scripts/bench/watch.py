"""What watching costs, and how soon a step is seen: the live page in a real browser.

python scripts/bench/watch.py [--rounds 5] [--browser chromium] [key=value ...]

Runs with and without the page take turns in the server's own thread, with a model that is loaded
already: a second thread that computes would have a team of its own, and slow the first one down.
A step is seen when the browser has drawn its frame; until then all is counted from the moment at
which the loop hands the step out.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from sdloop.job.events import Event, StepMade
from sdloop.serve.form import Form
from sdloop.serve.live import Live
from sdloop.serve.server import serving

CONFIG = Path(__file__).parents[2] / "configs" / "astronaut.yaml"
NOTE_FRAMES = """() => {
    window.seen = {};
    new MutationObserver(() => {
        const label = document.querySelector("figure.frame canvas")?.getAttribute("aria-label");
        const frame = /frame (\\d+) of/.exec(label ?? "")?.[1];
        if (frame === undefined || frame in window.seen) return;
        window.seen[frame] = 0;
        requestAnimationFrame(() => setTimeout(() => {  // behind the drawing
            window.seen[frame] = performance.timeOrigin + performance.now();
        }));
    }).observe(document.body, { subtree: true, childList: true, attributeFilter: ["aria-label"] });
}"""


def watched_run(page: Page, runs: Path, seed: int) -> tuple[float, list[float]]:
    """Run from the page; return the loop's seconds, and each step's milliseconds until seen."""
    made: dict[int, float] = {}
    hear = Live.hear

    def timed(live: Live, event: Event) -> None:
        if isinstance(event, StepMade):
            made[event.step.row + 1] = time.time() * 1000
        hear(live, event)

    Live.hear = timed  # type: ignore[method-assign]
    try:
        page.evaluate(NOTE_FRAMES)
        page.fill("#field-seed", str(seed))
        page.click("#run")
        page.locator(f"#values:has-text('{seed}')").wait_for()
        page.locator("#exactness:has-text('exact')").wait_for()
    finally:
        Live.hear = hear  # type: ignore[method-assign]
    seen = page.evaluate("window.seen")
    waits = [seen[str(frame)] - at for frame, at in made.items() if seen.get(str(frame))]
    return loop_seconds(runs, seed), waits


def unwatched_run(page: Page, address: str, runs: Path, seed: int) -> float:
    """Run from the page, leave it, and draw no step; return the loop's seconds."""
    hear = Live.hear
    Live.hear = lambda live, event: None  # type: ignore[method-assign]
    try:
        page.fill("#field-seed", str(seed))
        page.click("#run")
        page.locator(f"#queue:has-text('{seed}')").wait_for()
        page.goto("about:blank")
        while (seconds := loop_seconds(runs, seed)) == 0:
            time.sleep(0.1)
    finally:
        Live.hear = hear  # type: ignore[method-assign]
    page.goto(address)
    page.locator("#exactness:has-text('exact')").wait_for()
    return seconds


def loop_seconds(runs: Path, seed: int) -> float:
    """Return how long a run's loop took; 0 while it is not finished."""
    for path in runs.glob("*/manifest.json"):
        if f"seed: {seed}\n" in (path.parent / "config.yaml").read_text():
            return float(json.loads(path.read_text())["timings_ms"]["denoise"]) / 1000
    return 0.0


def main() -> None:
    """Take turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    parser.add_argument("overrides", nargs="*", help="of the config, such as width=256 height=256")
    options = parser.parse_args()
    plain, watched, waits = [], [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = Path(folder) / "runs"
        browser = playwright.chromium.launch(executable_path=options.browser, args=["--no-sandbox"])
        with serving(Form(CONFIG, options.overrides, runs)) as address:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(240_000)
            page.goto(address)
            for number in range(options.rounds + 1):  # the first one warms up
                seconds, each = watched_run(page, runs, 1000 + number)
                unwatched = unwatched_run(page, address, runs, 2000 + number)
                if number:
                    watched.append(seconds)
                    plain.append(unwatched)
                    waits += each
                    print(f"watched {seconds:.2f} s, alone {unwatched:.2f} s, seen after "
                          f"{statistics.median(each):.0f} ms ({len(each)} steps)")  # fmt: skip
            browser.close()
    more = statistics.median(a / b for a, b in zip(watched, plain, strict=True)) - 1
    waits.sort()
    print(f"the loop: {statistics.median(plain):.2f} s alone, {statistics.median(watched):.2f} s "
          f"watched: {100 * more:+.0f}%, the median of {len(plain)} pairs")  # fmt: skip
    print(f"a step is seen after {statistics.median(waits):.0f} ms; 95% after "
          f"{waits[int(0.95 * len(waits))]:.0f} ms ({len(waits)} drawn)")  # fmt: skip


if __name__ == "__main__":
    main()
