"""How soon `--help` and a wrong config answer, against the time that `import torch` takes.

python scripts/bench/startup.py [--rounds 5]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import machine

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs/astronaut.yaml")
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "--help": ["-m", "sdloop.run", "--help"],
    "unknown key": ["-m", "sdloop.run", CONFIG, "sede=1"],
    "unknown model": ["-m", "sdloop.run", CONFIG, "model=/no/such/folder"],
    "stage beyond the last row": ["-m", "sdloop.run", CONFIG, "export.stages=[99]"],
    "device not there": ["-m", "sdloop.run", CONFIG, "device=cuda:99"],
}


def seconds(arguments: list[str]) -> float:
    """Time one call of Python, whole process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, cwd=ROOT)
    return time.perf_counter() - start


def main() -> None:
    """Time all commands in turn, print medians and ratios, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        ratio = value / medians["import torch"]
        print(f"{name:<28} {value * 1000:7.0f} ms   {ratio:5.2f} of import torch")
    result = {"machine": machine.facts(), "medians_s": medians}
    path = ROOT / "scripts/bench/results/startup.json"
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
