"""Throughput of runs side by side against one by one: the walk alone, and whole runs written.

python scripts/bench/sweep.py [--rounds 3] [--runs 8] [--num-steps 10]

All sizes of batch take turns within each round; ratios are medians over the rounds.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine

from sdloop.job.config import RunConfig
from sdloop.job.engine import Engine
from sdloop.job.events import Stages, ignore
from sdloop.job.many.batch import Sampled, Texts, sample_together
from sdloop.job.many.kept import Made, write_run
from sdloop.job.plan import Plan, prepare, settle

RESULT = Path(__file__).parent / "results" / "sweep.json"
PROMPTS = ("a snowman in the snow", "an astronaut relaxing on a tropical island")
BATCHES = (1, 2, 4, 8)


def main() -> None:
    """Time every size of batch and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--num-steps", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plans = [plan_of(number, options.num_steps, Path(folder)) for number in range(options.runs)]
        engine = Engine.start(plans[0])
        texts = Texts(engine)
        walks: dict[int, list[float]] = {size: [] for size in BATCHES}
        writes: list[float] = []
        for number in range(options.rounds + 1):
            for size in BATCHES:
                made, taken = walked(plans, size, engine, texts)
                if number:  # the first round warms up
                    walks[size].append(taken)
            taken = seconds(lambda made=made: written(plans, made, engine))
            if number:
                writes.append(taken)
    report(options, walks, writes)


def report(options: argparse.Namespace, walks: dict[int, list[float]], writes: list[float]) -> None:
    """Print and write medians."""
    rounds = list(zip(*walks.values(), writes, strict=True))
    result = {"machine": machine.facts(), "runs": options.runs, "num_steps": options.num_steps}
    by_size = {}
    for index, size in enumerate(BATCHES):
        by_size[size] = {
            "walk_s_a_run": statistics.median(walks[size]) / options.runs,
            "walk_gain": statistics.median(each[0] / each[index] for each in rounds),
            "whole_gain": statistics.median(
                (each[0] + each[-1]) / (each[index] + each[-1]) for each in rounds
            ),
        }
        print(f"{size} together: " + ", ".join(f"{k} {v:.3f}" for k, v in by_size[size].items()))
    result |= {"write_s_a_run": statistics.median(writes) / options.runs, "together": by_size}
    print(f"decoding, measuring, writing: {result['write_s_a_run']:.3f} s a run")
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


def plan_of(number: int, num_steps: int, folder: Path) -> Plan:
    """Settle a run of the bundled model with a seed, a prompt and a guidance scale of its own."""
    config = RunConfig.model_validate(
        {
            "prompt": PROMPTS[number % len(PROMPTS)],
            "seed": number,
            "guidance_scale": 2.0 + number / 4,
            "scheduler": {"type": "ddim", "num_steps": num_steps},
            "output": str(folder / str(number)),
        }
    )
    return settle(prepare(config))


def walked(
    plans: list[Plan], size: int, engine: Engine, texts: Texts
) -> tuple[list[Sampled], float]:
    """Sample all runs, so many together; return them and the seconds that it took."""
    made: list[Sampled] = []

    def walk_all() -> None:
        for start in range(0, len(plans), size):
            made.extend(
                sample_together(plans[start : start + size], engine, texts, lambda runs: None)
            )

    return made, seconds(walk_all)


def written(plans: list[Plan], made: list[Sampled], engine: Engine) -> None:
    """Write all runs with their trajectories."""
    for plan, one in zip(plans, made, strict=True):
        assert one.trajectory is not None
        write_run(
            Made(plan, one.trajectory, one.took_ms, one.together, {}),
            engine.models.vae,
            ("trajectory",),
            Stages(ignore),
        )


def seconds(function: Callable[[], None]) -> float:
    """Time a call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
