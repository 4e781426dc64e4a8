"""Every sampler on one prompt and seed: their pictures, and how far off each ends.

    python scripts/samplers.py [CONFIG] [key=value ...] [--out scripts/results/samplers]

All methods run at 5, 10, 20 and 50 steps, as a sweep in runs/samplers, which carries on where it
was interrupted. samplers.json gets the distance of each deterministic method's last latent to the
solution of 1,000 steps; samplers.png, beside the pictures of configs/, draws it. The sheet of all
pictures is runs/samplers/sheet.png.

Karras' levels are taken by every method that takes them, with the whole range of trained levels:
with evenly spaced times the last jump, to no noise at all, is the largest error of any method, and
hides the others. DDIM and PNDM know no other times; theirs are trailing, to begin at the last one.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from samplers_figure import Line, write_chart, write_pictures
from sweeps import run_sweep
from torch import Tensor

from sdloop.job.folder import TRAJECTORY_FILE
from sdloop.job.many.batch import Texts
from sdloop.job.many.summary import SUMMARY_FILE, Summary
from sdloop.job.plan import Plan, settle
from sdloop.machine.files import replacing
from sdloop.model.family import Conditioning
from sdloop.sampler.loop import initial_noise
from sdloop.sampler.methods import METHODS, find_method
from sdloop.sampler.trajectory import Trajectory

if TYPE_CHECKING:
    from sdloop.job.engine import Engine

ROOT = Path(__file__).parents[1]
STEPS = (5, 10, 20, 50)
SOLVER, SOLVER_STEPS = "heun_karras", 1000  # of second order; two calls a step
SAME = 0.03  # lines that are closer, as a share of their distances, are drawn as one


@dataclass(frozen=True)
class Solution:
    """Where the solver ends.

    Attributes:
        last: Frame without noise.
        before: The frame before it, at the least trained level, where some methods end.
    """

    last: Tensor
    before: Tensor

    def distance(self, trajectory: Trajectory, ends_clean: bool) -> float:
        """Return how far off a run's last frame is: RMS of the difference over the solution's."""
        there = self.last if ends_clean else self.before
        off = trajectory.latents[-1].double() - there
        return float(off.square().mean().sqrt() / there.square().mean().sqrt())


def sweep_overrides() -> list[str]:
    """Say which methods run, with which levels."""
    names, spacings = [], []
    for method in METHODS.values():
        if "epsilon" not in method.predictions:
            continue  # a flow's, which no model of Stable Diffusion is
        has_karras = "karras" in method.spreads
        names.append(f"{method.name}_karras" if has_karras else method.name)
        spacing = "linspace" if has_karras or method.scales_noise else "trailing"
        spacings.append(spacing if "timestep_spacing" in method.options else None)
    return [
        f"zip.scheduler.type={json.dumps(names)}",
        f"zip.scheduler.timestep_spacing={json.dumps(spacings)}",
        f"sweep.scheduler.num_steps={list(STEPS)}",
        "keep=[trajectory]",
        "export.stages=null",
        "output=runs/samplers",
    ]


def solve(plan: Plan, starts: list[float]) -> tuple[list[Solution], float]:
    """Walk the solver from frame 0 of each factor, side by side.

    Args:
        plan: Of any run of the sweep.
        starts: Factors of the noise of frame 0.

    Returns:
        One solution a factor, and how far half of the steps end from it.
    """
    from sdloop.job.engine import Engine

    engine = Engine.start(plan)
    whole, half = (
        _walk(plan, engine, steps, starts) for steps in (SOLVER_STEPS, SOLVER_STEPS // 2)
    )
    off = (half[-1] - whole[-1]).square().mean().sqrt() / whole[-1].square().mean().sqrt()
    pairs = zip(whole[-1], whole[-2], strict=True)
    return [Solution(last, before) for last, before in pairs], float(off)


def _walk(plan: Plan, engine: Engine, steps: int, starts: list[float]) -> list[Tensor]:
    """Return the last two frames of a walk of the solver, float64 (starts, channels, h, w)."""
    from sdloop.job.plan import prepare

    config = plan.config
    scheduler = {"type": SOLVER, "num_steps": steps, "timestep_spacing": "linspace"}
    config = config.model_copy(update={"scheduler": type(config.scheduler)(**scheduler)})
    other = settle(prepare(config, plan.source))
    noise = initial_noise([config.seed] * len(starts), *plan.latent_shape)
    z = (noise * torch.tensor(starts).reshape(-1, 1, 1, 1)).to(plan.device)
    conditioning = Conditioning.joined([Texts(engine).of(other)] * len(starts))
    frames = [z]
    for step in engine.walk(other.table, z, conditioning, config.guidance_scale):
        frames = [frames[-1], step.z.clone()]
        if step.row % 100 == 0:
            print(f"{SOLVER}: {step.row} of {len(other.table)} calls", flush=True)
    return [frame.double().cpu() for frame in frames]


def measure(plans: list[Plan]) -> dict[str, Any]:
    """Hold every deterministic method against the solution that starts where it does."""
    calm = [plan for plan in plans if not plan.table.noisy]
    starts = sorted({plan.table.init for plan in calm})
    solutions, off = solve(calm[0], starts)
    methods: dict[str, dict[str, dict[str, float]]] = {}
    for plan in calm:
        scheduler, table = plan.config.scheduler, plan.table
        solution = solutions[starts.index(table.init)]
        distance = solution.distance(
            Trajectory.load(plan.folder / TRAJECTORY_FILE), bool(table.noise_to[-1] < 1e-6)
        )
        entry = methods.setdefault(_name(plan), {})
        entry[str(scheduler.num_steps)] = {"calls": len(table), "distance": round(distance, 7)}
    return {
        "prompt": plans[0].config.prompt,
        "seed": plans[0].config.seed,
        "guidance_scale": plans[0].config.guidance_scale,
        "solution": f"{SOLVER}, {SOLVER_STEPS} steps",
        "half_as_many_steps_end_off_by": float(f"{off:.2g}"),
        "distance": "RMS of the last latent's difference over the RMS of the solution",
        "methods": methods,
    }


def lines_of(methods: dict[str, dict[str, dict[str, float]]]) -> list[Line]:
    """Make one line of each method; those that end in the same places share one."""
    lines: list[Line] = []
    for name, entries in methods.items():
        calls = [int(entry["calls"]) for entry in entries.values()]
        distances = [entry["distance"] for entry in entries.values()]
        method, spread = find_method(name)
        for number, line in enumerate(lines):
            pairs = zip(distances, line.distances, strict=True)
            if calls == line.calls and all(abs(a - b) <= SAME * b for a, b in pairs):
                lines[number] = replace(line, names=(*line.names, method.name))
                break
        else:
            order = method.order if method.order.isdigit() else method.options["solver_order"]
            lines.append(Line((method.name,), int(order), calls, distances, spread is None))
    return lines


def _name(plan: Plan) -> str:
    """Name a plan's method and its levels, as `scheduler.type` does."""
    scheduler = plan.config.scheduler
    return (
        scheduler.type if scheduler.sigmas == "trained" else f"{scheduler.type}_{scheduler.sigmas}"
    )


def main() -> None:
    """Make the runs, measure, draw, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "scripts/results/samplers")
    parser.add_argument("--chart", type=Path, default=ROOT / "configs/samplers.png")
    options = parser.parse_args()
    sweep, plans = run_sweep(options.config, sweep_overrides())
    summaries = [Summary.load(plan.folder / SUMMARY_FILE) for plan in plans]
    names = [_name(plan) for plan in plans[: len(plans) // len(STEPS)]]
    write_pictures(sweep.folder / "sheet.png", names, STEPS, summaries)
    facts = measure(plans)
    with replacing(options.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    write_chart(options.chart, lines_of(facts["methods"]))


if __name__ == "__main__":
    main()
