"""Kill the workers and the driver of a sweep on Ray, carry on, and hold it against one left alone.

    python scripts/faults/workers.py [--runs 200] [--kills 5] [--workers 2] [--batch 4] [--seed 0]

The kills are SIGKILLs, spread at random over the sweep; the middle one takes the driver, which is
then started again. At the end every run must be finished, none that was finished before its driver
died may have been made again, and each death of a worker may have cost its batch alone. The same
sweep is then made in one process, and every latent compared.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

CONFIG = """
prompt: a snowman in the snow
device: cpu
scheduler: {type: ddim, num_steps: 2}
keep: [trajectory]
"""
SWEEP = Path("many.yaml")
LATEST_S = 3000  # of the whole; far beyond what it takes
TOLERANCE = 1e-3  # of the largest latent: what `same_again` in the manifests says


@dataclass
class Watch:
    """What was seen of the runs' manifests, which are each run's last file.

    Attributes:
        first: When each was first seen written.
        kept: When those that stood as a driver was killed were written.
    """

    folder: Path
    first: dict[str, float] = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)

    def look(self) -> int:
        """Note new manifests; return how many runs are finished."""
        for path in self.folder.glob("*/manifest.json"):
            self.first.setdefault(path.parent.name, path.stat().st_mtime)
        return len(self.first)

    def keep(self) -> None:
        """Note what stands now."""
        self.look()
        self.kept = {name: self.written(name) for name in self.first}

    def written(self, name: str) -> float:
        """Return when a run's manifest was written."""
        return (self.folder / name / "manifest.json").stat().st_mtime

    def made_again(self, when: dict[str, float]) -> list[str]:
        """Name the runs whose manifest is another one than it was."""
        return [name for name, then in when.items() if self.written(name) != then]


def main() -> None:
    """Kill, carry on, compare, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    sys.stdout.reconfigure(line_buffering=True)
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        (where / SWEEP).write_text(CONFIG + f"sweep: {{seed: 0..{options.runs - 1}}}\n")
        watch = Watch(where / "runs/many")
        started = time.monotonic()
        at = sorted(chance.sample(range(1, options.runs - 2 * options.batch), options.kills))
        driver, deaths = start(where, "ray", options), 0
        for number, finished in enumerate(at):
            wait_until(finished, watch, driver)
            if number == len(at) // 2:
                kill_driver(driver)
                watch.keep()
                driver = start(where, "ray", options)
                print(f"driver killed with {len(watch.kept)} runs finished; started again")
            elif kill_worker(driver, chance):
                deaths += 1
                print(f"worker killed with {watch.look()} runs finished")
        said = driver.communicate(timeout=LATEST_S)[0].decode()
        assert driver.returncode == 0, said
        finished, again = watch.look(), watch.made_again(watch.first)
        took_s = time.monotonic() - started
        print(
            f"{finished} of {options.runs} runs finished in {took_s:.0f} s, after {deaths} "
            f"SIGKILLs of workers and 1 of the driver; {len(again)} of them were made twice"
        )
        assert finished == options.runs
        assert not watch.made_again(watch.kept), "the second driver made finished runs again"
        assert len(again) <= deaths * (options.batch - 1)
        assert deaths == options.kills - 1
        compare(where, options)


def start(where: Path, engine: str, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start the sweep."""
    command = [sys.executable, "-m", "sdloop.sweep", str(SWEEP), f"--batch={options.batch}"]
    if engine == "ray":
        command += ["--engine=ray", f"--workers={options.workers}"]
    else:
        command += ["output=runs/local"]
    return subprocess.Popen(
        command,
        cwd=where,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_until(finished: int, watch: Watch, driver: subprocess.Popen[bytes]) -> None:
    """Wait until so many runs are finished."""
    while watch.look() < finished:
        if driver.poll() is not None:
            raise SystemExit(driver.communicate()[0].decode())
        time.sleep(0.02)


def kill_worker(driver: subprocess.Popen[bytes], chance: random.Random) -> bool:
    """Kill one of the driver's workers that is making a batch."""
    while driver.poll() is None:
        at_work = [pid for pid in below(driver.pid) if title_of(pid).startswith("ray::Worker.make")]
        if at_work:
            os.kill(chance.choice(at_work), signal.SIGKILL)
            return True
        time.sleep(0.02)
    return False


def kill_driver(driver: subprocess.Popen[bytes]) -> None:
    """Kill the driver, and wait until its workers are gone too."""
    family = below(driver.pid)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 60
    while any(title_of(pid).startswith("ray::Worker") for pid in family):
        assert time.monotonic() < deadline, "workers of a killed driver live on"
        time.sleep(0.05)


def below(pid: int) -> list[int]:
    """List the processes that a process started, and those that these started."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        parents.setdefault(parent, []).append(int(path.parent.name))
    found, new = [], [pid]
    while new:
        new = [child for one in new for child in parents.get(one, [])]
        found += new
    return found


def title_of(pid: int) -> str:
    """Return a process's command line; Ray writes there what an actor is doing."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def compare(where: Path, options: argparse.Namespace) -> None:
    """Make the sweep in one process, and compare all latents."""
    from sdloop.sampler.trajectory import Trajectory

    local = start(where, "local", options)
    said = local.communicate(timeout=LATEST_S)[0].decode()
    assert local.returncode == 0, said
    equal, furthest = 0, 0.0
    for path in sorted((where / "runs/local").glob("*/trajectory.safetensors")):
        ours = Trajectory.load(where / "runs/many" / path.parent.name / path.name).latents
        theirs = Trajectory.load(path).latents
        difference = float((ours - theirs).abs().max() / theirs.abs().max())
        equal += difference == 0
        furthest = max(furthest, difference)
    print(f"{equal} runs equal the local engine's to the bit; the furthest is {furthest:.1e} off")
    assert furthest <= TOLERANCE


if __name__ == "__main__":
    main()
