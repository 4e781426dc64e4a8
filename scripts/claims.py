"""The post's four claims on the bundled model, as numbers with their spread and a verdict each.

    python scripts/claims.py [--seeds 3] [--steps 50] [--of-each 6] [--out scripts/results/claims]

Nobody knows for sure where the object is in a sample; its mask is guessed from the final picture
(sdloop.show.measure.layout.object_mask). The bounds in `judge` were set before the first full run,
after a trial of twelve runs of ten steps.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from claims_check import Check, Claim, check
from claims_figure import Curve, Panel, write_panels
from claims_runs import GUIDANCE_SCALE, Floats, Runs, Which, sample

from sdloop.machine.files import replacing

PANDAS = (
    "a portrait of a panda wearing a top hat, cartoon",
    "a portrait of a panda",
    "a panda in the snow",
    "a panda on a white background",
)
SIMPLE = (
    "a shiny blue sphere on a table",
    "a snowman in the snow",
    "an apple on a white background",
    "a donut on a blue background",
    "a strawberry on a yellow background",
    "a shiny red sphere on a white background",
)
SCENES = (
    "an astronaut relaxing on a tropical island",
    "a pineapple on a tropical island, pop art",
    "a birthday cake on a table, photo",
    "a rocket in space",
    "a cat in a meadow",
    "an owl wearing a crown in a meadow",
)
VISIBLE_R = 0.3  # a correlation that the eye finds
THERE_R = 0.1  # one that is there at all
SHAPE_R = 0.7  # half of the variance
NEIGHBOURS_R = 0.5  # a quarter of a cell's variance is its neighbours'
EVEN = 1.0
CHANCE = 0.5


def judge(runs: Runs) -> tuple[Claim, ...]:
    """Hold the four claims against the runs.

    "At first" is the first tenth of the steps, "midway" the middle third, "late" the last fifth.
    The size of a correlation with the layout counts: its negative shows it as well.
    """
    early, middle, late = _phases(runs)
    everyone = np.ones(len(runs), dtype=bool)
    pandas, simple = (np.isin(runs.prompt, kind) for kind in (PANDAS, SIMPLE))
    by_detail, by_mask = (np.abs(runs.layout_r(layout)) for layout in ("detail", "mask"))
    detail_r, shape_r = runs.stack("detail_r"), runs.stack("shape_r")
    gathered = detail_r[:, middle].mean(axis=1)
    beaten = {layout: runs.beaten(layout, ~runs.itself)[:, 0] for layout in ("detail", "mask")}
    density = runs.background_density(late)

    def median(what: str, values: Floats, who: Which = everyone, **bounds: float) -> Check:
        return check(what, values[who], runs.prompt[who], **bounds)

    pattern = (
        median(
            "|r| of early changes with the final detail",
            by_detail[:, early].mean(axis=1),
            below=VISIBLE_R,
        ),
        median(
            "|r| of early changes with the final mask",
            by_mask[:, early].mean(axis=1),
            below=VISIBLE_R,
        ),
        median(
            "r of early changes with their neighbours",
            runs.neighbour_r()[:, early].mean(axis=1),
            below=NEIGHBOURS_R,
        ),
    )
    shape = (
        median(
            "share of the steps until the final shape shows",
            (shape_r >= SHAPE_R).argmax(axis=1) / shape_r.shape[1],
            above=0.25,
            below=0.75,
        ),
        median("r of midway changes with the final detail", gathered, above=THERE_R),
        median(
            "the same, less that of early changes",
            gathered - detail_r[:, early].mean(axis=1),
            above=0,
        ),
    )
    background = (
        median("density of late changes on the background", density, simple, above=EVEN),
        median(
            "the same, less that of midway changes",
            density - runs.background_density(middle),
            simple,
            above=0,
        ),
    )
    first = (
        median("other runs that foretell the detail less well", beaten["detail"], above=CHANCE),
        median("other runs that foretell the mask less well", beaten["mask"], above=CHANCE),
        median(
            "pandas: |r| of the first change with the detail",
            by_detail[:, 0],
            pandas,
            above=VISIBLE_R,
        ),
        median(
            "pandas: |r| of the first change with the mask", by_mask[:, 0], pandas, above=VISIBLE_R
        ),
    )
    return (
        Claim("a", "at first there is no obvious pattern", pattern),
        Claim("b", "midway the shape appears, and changes gather on detail", shape),
        Claim("c", "late changes fall on the background of simple objects", background),
        Claim("d", "the first difference shows the layout, a panda's face", first),
    )  # fmt: skip


def beside(runs: Runs) -> dict[str, float]:
    """Return medians that decide nothing and explain something."""
    _, _, late = _phases(runs)
    pandas, scenes = (np.isin(runs.prompt, kind) for kind in (PANDAS, SCENES))
    of_others, of_seeds = ~runs.same_prompt, runs.same_prompt & ~runs.itself
    medians = {
        "runs of other prompts that foretell the mask less well": runs.beaten("mask", of_others)[
            :, 0
        ],
        "other seeds that foretell the mask less well": runs.beaten("mask", of_seeds)[:, 0],
        "pandas: other runs that foretell the mask less well": runs.beaten("mask", ~runs.itself)[
            pandas, 0
        ],
        "scenes: density of late changes on the background": runs.background_density(late)[scenes],
        "r of late changes with the final detail": runs.stack("detail_r")[:, late].mean(axis=1),
        "the object's share of the picture, as guessed": runs.stack("area"),
    }
    return {what: round(float(np.median(values)), 4) for what, values in medians.items()}


def draw(path: Path, runs: Runs, claims: tuple[Claim, ...]) -> None:
    """Draw one panel a claim: what its checks look at, step by step."""
    rows = runs.stack("total").shape[1]
    density = np.stack(
        [runs.background_density(slice(row, row + 1)) for row in range(rows)], axis=1
    )
    simple, scenes = (density[np.isin(runs.prompt, kind)] for kind in (SIMPLE, SCENES))
    looked_at = (
        ("correlation of the blurred difference", VISIBLE_R, (
            Curve("with the final mask, |r|", np.abs(runs.layout_r("mask"))),
            Curve("with its neighbours", runs.neighbour_r()),
        )),
        ("correlation with the final picture", THERE_R, (
            Curve("difference with detail", runs.stack("detail_r")),
            Curve("shape with shape", runs.stack("shape_r")),
        )),
        ("density of change on the background (1: even)", EVEN, (
            Curve("simple objects", simple),
            Curve("scenes", scenes),
        )),
        ("share of other runs that foretell the layout less well", CHANCE, (
            Curve("by detail", runs.beaten("detail", ~runs.itself)),
            Curve("by mask", runs.beaten("mask", ~runs.itself)),
        )),
    )  # fmt: skip
    write_panels(
        path,
        [
            Panel(f"{claim.letter}  {claim.text}: {claim.verdict}", subtitle, curves, level)
            for claim, (subtitle, level, curves) in zip(claims, looked_at, strict=True)
        ],
    )


def _phases(runs: Runs) -> tuple[slice, slice, slice]:
    """Return the rows that are early, midway and late."""
    rows = runs.stack("total").shape[1]
    third, fifth = rows // 3, max(1, rows // 5)
    return slice(0, max(1, rows // 10)), slice(third, rows - third), slice(rows - fifth, rows)


def main() -> None:
    """Sample, judge, print, draw, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="of each prompt, at least 2")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--of-each", type=int, default=6, help="prompts of each of three kinds")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/claims")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: at least 2, as other seeds are a control")
    prompts = tuple(p for kind in (PANDAS, SIMPLE, SCENES) for p in kind[: options.of_each])
    runs = sample(prompts, options.seeds, options.steps)
    claims, context = judge(runs), beside(runs)
    print(f"{len(runs)} runs: {len(prompts)} prompts x {options.seeds} seeds")
    for claim in claims:
        print(f"\n{claim.letter}  {claim.text}: {claim.verdict.upper()}")
        print("\n".join(f"   {made.line()}" for made in claim.checks))
    print("\nbeside (medians)")
    print("\n".join(f"   {what:<56} {value:6.2f}" for what, value in context.items()))
    draw(options.out.with_suffix(".png"), runs, claims)
    facts = {
        "prompts": prompts,
        "seeds": options.seeds,
        "steps": options.steps,
        "guidance_scale": GUIDANCE_SCALE,
        "claims": {claim.letter: claim.facts() for claim in claims},
        "beside": context,
    }
    with replacing(options.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
