"""The whole job, prompt to GIFs, against what a user of diffusers writes today.

python scripts/bench/job.py --shape bundled [--rounds 5] [--cold 5] [--tuned]
python scripts/bench/job.py --shape sd15 --tuned      (meant for a GPU; needs 10 GB of its memory)

Same weights, same noise; that the frames are the same is checked. Everything is timed warm in one
process, the contestants in turn, and then cold, each in processes of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np
import ours
import torch
import tuned
import usual
from clock import Clock
from numpy.typing import NDArray
from shapes import model_folder
from task import Frames, Task

ROOT = Path(__file__).parents[2]
CONTESTANTS = {"usual": usual, "tuned": tuned, "sdloop": ours}
SIZES_PX = {"bundled": 128, "sd15": 512}
# of Stable Diffusion 1.5 at 512 px, guided; nominal, as sdloop leaves out 2.5 % of a step
STEP_TFLOP, FRAME_TFLOP = 1.607, 2.515


def warm_rounds(names: list[str], task: Task, rounds: int) -> dict[str, dict[str, float]]:
    """Time the contestants in turn; return the median seconds of each stage."""
    loaded = {name: CONTESTANTS[name].load(task) for name in names}
    times: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    frames: dict[str, Frames] = {}
    for number in range(rounds + 1):  # the first one warms up, and compiles
        for name in names:
            clock = Clock(task.device)
            frames[name] = CONTESTANTS[name].job(loaded[name], task, clock)
            if number:
                seconds = clock.seconds
                times[name].append(seconds | {"whole job": sum(seconds.values())})
    usual_frames = frames["usual"]()
    for name in names:
        print(f"frames of {name} against usual: {_psnr_db(frames[name](), usual_frames):.1f} dB")
    return {
        name: {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
        for name, runs in times.items()
    }


def cold_rounds(task: Task, rounds: int) -> dict[str, float]:
    """Time whole processes in turn; return the median seconds of each."""
    sizes = ["--size", str(task.size_px), "--steps", str(task.num_steps)]
    usual_command = ["scripts/bench/usual.py", str(task.model), str(task.folder), *sizes]
    our_command = ["-m", "sdloop.run", str(ours.write_config(task)), "--overwrite", "--quiet"]
    commands = {
        "usual": usual_command,
        "sdloop": our_command,
        "sdloop, z0_hat too": [*our_command, "decode.z0_hat=full"],
        "sdloop, z0_hat by the small decoder": [*our_command, "decode.z0_hat=tiny"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT, capture_output=True)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def print_table(warm: dict[str, dict[str, float]], cold: dict[str, float]) -> None:
    """Print seconds, and how many times sdloop's each of the others' are."""
    stages = list(dict.fromkeys(stage for times in warm.values() for stage in times))
    rows = {stage: {name: times.get(stage) for name, times in warm.items()} for stage in stages}
    if cold:
        rows["cold, from the shell"] = {name: cold.get(name) for name in warm}
    print(f"{'seconds':<22}" + "".join(f"{name:>20}" for name in warm))
    for stage, values in rows.items():
        mine = values["sdloop"]
        cells = []
        for name, value in values.items():
            ratio = f" {value / mine:5.2f}x" if value and mine and name != "sdloop" else ""
            cells.append(f"{value:.3f}{ratio}".rjust(20) if value is not None else " " * 20)
        print(f"{stage:<22}" + "".join(cells))
    for name in cold.keys() - warm.keys():
        print(f"cold, {name}: {cold[name]:.3f}")


def matmul_ceiling_tflops() -> float:
    """Measure the dense float16 rate of the device."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    rates = []
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ a
        torch.cuda.synchronize()
        rates.append(2 * 8192**3 / (time.perf_counter() - start) / 1e12)
    return statistics.median(rates)


def _psnr_db(ours_: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> float:
    """Return the lowest peak signal-to-noise ratio of any frame."""
    errors = [
        np.square(a.astype(np.float32) - b).mean() for a, b in zip(ours_, theirs, strict=True)
    ]
    return float(10 * np.log10(255**2 / max(max(errors), 1e-10)))


def main() -> None:
    """Run the benchmark, print the table, keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SIZES_PX, default="bundled")
    parser.add_argument("--size", type=int, help="in pixels; by default the model's own")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", type=int, default=5, help="rounds from the shell")
    parser.add_argument("--tuned", action="store_true", help="the compiled pipeline too")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    names = ["usual", *(["tuned"] if asked.tuned else []), "sdloop"]
    with tempfile.TemporaryDirectory() as scratch:
        model = model_folder(asked.shape, Path(scratch), device)
        task = Task(model, Path(scratch), asked.size or SIZES_PX[asked.shape], asked.steps, device)
        warm = warm_rounds(names, task, asked.rounds)
        cold = cold_rounds(task, asked.cold) if asked.cold else {}
        manifest = json.loads((task.folder / "run/manifest.json").read_text())
    print_table(warm, cold)
    result: dict[str, Any] = {
        "machine": machine.facts(),
        "shape": asked.shape,
        "size_px": task.size_px,
        "steps": asked.steps,
        "rounds": asked.rounds,
        "warm_s": warm,
        "cold_s": cold,
        "last_run_stages_ms": manifest["timings_ms"],
    }
    if device.type == "cuda":
        ceiling = matmul_ceiling_tflops()
        rows, frames = asked.steps + 1, asked.steps + 2
        rates = {
            "steps": STEP_TFLOP * rows / warm["sdloop"]["steps"],
            "decode": FRAME_TFLOP * frames / warm["sdloop"]["decode"],
        }
        result["matmul_tflops"] = ceiling
        if asked.shape == "sd15":
            for stage, rate in rates.items():
                of_products = f"{rate / ceiling:.0%} of the matmul rate"
                print(f"{stage}: {rate:.0f} nominal TFLOP/s, {of_products}")
            result["nominal_tflops"] = rates
    if task.size_px == SIZES_PX[asked.shape]:
        path = ROOT / f"scripts/bench/results/job-{asked.shape}-{device.type}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
