"""Stable Diffusion 1.5's shape on a CPU: ours in float32 and in auto, diffusers, OpenVINO.

python scripts/bench/cpu.py [--sizes 256 512] [--rounds 3] [--threads 2] [--model FOLDER] [--job 3]

Random weights, guided, one picture. Each contestant has a process of its own; in each round every
one makes one step, then every one decodes one frame. Beside the wall clock, the CPU time of each is
taken, all threads together: other work on the machine changes it less. `--job N` adds whole jobs of
N steps from the shell. Needs `pip install -c constraints.txt -e '.[bench]'`, and at 256 px 14 GB of
memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine

HERE = Path(__file__).parent
RESULT = HERE / "results/cpu.json"
CONTESTANTS = ("float32", "auto", "diffusers", "openvino")
NETWORKS = {
    "step": CONTESTANTS,
    # auto decodes frames in float32, for the sake of the maps, and z0_hat in bfloat16
    "frame": ("auto", "diffusers", "openvino", "auto, as for z0_hat"),
}
WAITS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}  # waiting threads take no CPU time


class Worker:
    """A contestant's process, which waits to be asked."""

    def __init__(self, arguments: list[str], threads: int) -> None:
        """Start it, and wait until it is loaded."""
        self._command = [sys.executable, str(HERE / "cpu_worker.py"), *arguments]
        environment = os.environ | WAITS | {"OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.ready = self._read()

    def ask(self) -> dict[str, float]:
        """Let it make one call; return its seconds."""
        return self._tell("go")

    def end(self) -> dict[str, float]:
        """Let it go; return its peak memory."""
        facts = self._tell("end")
        self._process.wait()
        return facts

    def _tell(self, word: str) -> dict[str, float]:
        """Send a word, return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        """Read one answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a contestant ended: {self._command}")
        answer: dict[str, float] = json.loads(line)
        return answer


def compare(
    network: str, model: Path, size_px: int, rounds: int, threads: int
) -> dict[str, dict[str, float]]:
    """Time one network of all contestants in turn; medians, and ratios to auto's."""
    workers = {
        name: Worker([network, name, str(model), str(size_px)], threads)
        for name in NETWORKS[network]
    }
    times: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    for number in range(rounds + 1):  # the first one warms up
        for name, worker in workers.items():
            taken = worker.ask()
            if number:
                times[name].append(taken)
    result: dict[str, dict[str, float]] = {}
    for name, worker in workers.items():
        pairs = list(zip(times[name], times["auto"], strict=True))
        result[name] = {
            kind: statistics.median(taken[kind] for taken in times[name])
            for kind in ("wall_s", "cpu_s")
        }
        for kind in ("wall", "cpu"):
            ratios = [one[f"{kind}_s"] / auto[f"{kind}_s"] for one, auto in pairs]
            result[name][f"{kind}_to_auto"] = statistics.median(ratios)
        result[name]["peak_bytes"] = worker.end()["peak_bytes"]
        told = ", ".join(f"{key} {value:.3g}" for key, value in result[name].items())
        print(f"{size_px} px, {network}, {name}: {told}", flush=True)
    return result


def jobs(model: Path, size_px: int, steps: int, threads: int) -> dict[str, dict[str, float]]:
    """Run whole jobs from the shell, once each: seconds and peak memory."""
    result = {}
    for name in ("float32", "auto", "diffusers"):
        worker = Worker(["job", name, str(model), str(size_px), str(steps)], threads)
        result[name] = worker.ready
        worker.end()
        told = ", ".join(f"{key} {value:.3g}" for key, value in result[name].items())
        print(f"{size_px} px, job of {steps} steps, {name}: {told}", flush=True)
    return result


def main() -> None:
    """Compare at each size, print the figures, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--model", type=Path, help="of this shape; by default one is made, 2 GB")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--job", type=int, metavar="STEPS", help="jobs too, at the first size")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = asked.model or Path(scratch) / "sd15"
        kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
        sizes = kept.get("sizes_px", {})
        threads = {"threads": asked.threads}
        for size_px in asked.sizes:
            facts = sizes.setdefault(str(size_px), {})
            for network in asked.networks:
                Worker(["convert", network, str(model), str(size_px)], asked.threads).end()
                facts[network] = compare(network, model, size_px, asked.rounds, asked.threads) | {
                    "rounds": asked.rounds
                }
                _write(sizes, threads)
        if asked.job:
            facts = sizes.setdefault(str(asked.sizes[0]), {})
            facts["job"] = jobs(model, asked.sizes[0], asked.job, asked.threads)
            facts["job"]["steps"] = asked.job
            _write(sizes, threads)


def _write(sizes: dict[str, Any], threads: dict[str, int]) -> None:
    """Keep what there is so far."""
    facts = {"machine": machine.facts() | threads, "sizes_px": sizes}
    RESULT.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
