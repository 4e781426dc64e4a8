"""Peak memory of runs, predicted by --dry-run's estimate and measured (Linux, CPU).

python scripts/bench/memory.py [case ...] [--rounds 5]

Each round of a case is measured in a process of its own; they differ, as C's heap gives back more
or less. Without names all are run but those of Stable Diffusion 1.5's shape, which need some 8 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdloop.job.plan import Plan

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "results/memory.json"
PEAK = "VmHWM:"


@dataclass(frozen=True)
class Case:
    """A run: how many samples walk its loop at once, and what overrides the astronaut's config."""

    samples: int
    overrides: tuple[str, ...]
    model: str = "bundled"


def _sized(size_px: int, num_steps: int) -> tuple[str, ...]:
    """Override size and steps."""
    return (f"height={size_px}", f"width={size_px}", f"scheduler.num_steps={num_steps}")


CASES = {
    "128 px, 50 steps": Case(1, ()),
    "128 px, 200 steps": Case(1, ("scheduler.num_steps=200",)),
    "128 px, 1000 steps": Case(1, ("scheduler.num_steps=1000", "scheduler.steps_offset=0")),
    "128 px, 50 steps, 8 samples": Case(8, ()),
    "128 px, 20 steps, 8 samples": Case(8, ("scheduler.num_steps=20",)),
    "512 px, 3 steps": Case(1, _sized(512, 3)),
    "1024 px, 1 step": Case(1, _sized(1024, 1)),
    "1024 px, 3 steps": Case(1, _sized(1024, 3)),
    "sd15, 256 px, 2 steps": Case(1, _sized(256, 2), "sd15"),
    "sd15, 512 px, 1 step": Case(1, _sized(512, 1), "sd15"),
}


def measure(case: Case, folder: Path) -> dict[str, int]:
    """Run a case in a process of its own; return bytes: predicted and measured."""
    model = "bundled"
    if case.model != "bundled":
        make = (
            "import sys, torch; from pathlib import Path; from shapes import model_folder;"
            "model_folder(sys.argv[1], Path(sys.argv[2]), torch.device('cpu'))"
        )
        arguments = [sys.executable, "-c", make, case.model, str(folder)]
        subprocess.run(arguments, check=True, cwd=Path(__file__).parent)
        model = str(folder / case.model)
    where = ("device=cpu", "dtype=float32", f"model={model}", f"output={folder}/run")
    overrides = [*case.overrides, *where, "export.stages=null"]
    child = [sys.executable, __file__, "--child", str(case.samples), *overrides]
    done = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, int] = json.loads(done.stdout)
    return result


def run_child(samples: int, overrides: list[str]) -> None:
    """Predict, run, and print the peak of this process."""
    from sdloop.job.config_file import load_config
    from sdloop.job.forecast import estimate
    from sdloop.job.plan import prepare, settle
    from sdloop.job.runner import Runner

    plan = settle(prepare(load_config(ROOT / "configs/astronaut.yaml", overrides)))
    (ledger,) = estimate(plan, samples)
    if samples == 1:
        Runner(overwrite=True).run(plan)
    else:
        _run_batch(samples, plan)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith(PEAK))
    print(json.dumps({"predicted_bytes": ledger.peak_bytes, "measured_bytes": peak}))


def _run_batch(samples: int, plan: Plan) -> None:
    """Let several samples walk the loop at once, and show one after another."""
    import torch

    import sdloop
    from sdloop.job.decoders import Decoders
    from sdloop.job.events import Stages, ignore
    from sdloop.job.present import export_run

    models = sdloop.load(plan.source, plan.device, plan.dtype)
    prompts, negative = [plan.config.prompt] * samples, [plan.config.negative_prompt] * samples
    embeddings = sdloop.encode_prompts(models.tokenizer, models.text_encoder, prompts, negative)
    z = sdloop.initial_noise(range(samples), *plan.latent_shape)
    denoised = sdloop.denoise(models.unet, plan.table, z, embeddings, plan.config.guidance_scale)
    timesteps = torch.from_numpy(plan.table.timesteps).to(torch.int64)
    for sample in range(samples):
        facts = plan.config.model_dump(mode="json")
        trajectory = sdloop.Trajectory.of_sample(denoised, timesteps, facts, sample)
        folder = plan.folder / str(sample)
        folder.mkdir(parents=True)
        decoders = Decoders.of_plan(plan, models.vae)
        export_run(plan, folder, trajectory, decoders, Stages(ignore))


def main() -> None:
    """Measure the cases, print them side by side, keep them as JSON."""
    import machine

    parser = argparse.ArgumentParser(description="Measure the peak memory of runs.")
    parser.add_argument("names", nargs="*", metavar="case", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    names = options.names or [name for name, case in CASES.items() if case.model == "bundled"]
    kept = json.loads(RESULT.read_text()).get("cases", {}) if RESULT.is_file() else {}
    print(f"{'':<30}{'predicted':>10}{'measured':>20}{'ratio':>8}")
    for name in names:
        rounds = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                rounds.append(measure(CASES[name], Path(folder)))
        predicted = rounds[0]["predicted_bytes"]
        measured = sorted(facts["measured_bytes"] for facts in rounds)
        kept[name] = {"predicted_bytes": predicted, "measured_bytes": measured}
        print(
            f"{name:<30}{predicted / 1e9:>7.2f} GB"
            f"{measured[0] / 1e9:>9.2f} to {measured[-1] / 1e9:.2f} GB"
            f"{predicted / measured[-1]:>8.2f}",
            flush=True,
        )
    cases = {name: kept[name] for name in CASES if name in kept}
    RESULT.write_text(json.dumps({"machine": machine.facts(), "cases": cases}, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_child(int(sys.argv[2]), sys.argv[3:])
    else:
        main()
