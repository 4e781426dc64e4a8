"""Kill runs at random moments, carry on, and hold what comes out against an uninterrupted run.

    python scripts/faults/kills.py [--kills 60] [--seed 0] [--workers 2]

Every round makes one run: it is started and killed with SIGKILL a few times, at moments drawn at
random over the whole run or right after some file appeared, then finished. After each kill, every
file under a final name must be whole, and no finished row may be lost. At the end every byte of the
folder must be that of the run that was never killed, but for the manifest's times.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

CONFIG = """
prompt: a panda with a top hat
guidance_scale: 3.5
device: cpu
scheduler: {num_steps: 20}
export: {formats: [gif, webp, apng], png_frames: true}
output: runs/killed
"""
FOLDER = Path("runs/killed")
KILLS_A_ROUND = 4
LATEST_S = 120  # of one process; far beyond what a run takes
SIGNALS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
MOMENTS = (  # files in whose order a process writes them, after which it may be ended
    *("", ".lock", ".progress", ".progress", ".progress", "config.yaml", "trajectory.safetensors"),
    *("frames.gif", "evolution.webp", "strip.png", "commitment.png", "frames/005.png"),
    *("differences/015.png", "index.html", "manifest.json"),
)


@dataclass
class Tally:
    """What was done and seen.

    Attributes:
        kills: How many processes were ended, by the stage that they had reached.
        rounds: How many runs were finished afterwards.
        files: How many files were compared after kills.
        carried: How many rows were not computed again.
    """

    kills: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    files: int = 0
    carried: int = 0


def start(where: Path) -> subprocess.Popen[bytes]:
    """Start the run in a folder."""
    (where / "killed.yaml").write_text(CONFIG)
    (where / FOLDER / ".lock").unlink(missing_ok=True)  # its coming says that Python has started
    return subprocess.Popen(
        [sys.executable, "-m", "sdloop.run", "killed.yaml"],
        cwd=where,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(where: Path) -> str:
    """Let a run come to its end; return what it said."""
    process = start(where)
    said = process.communicate(timeout=LATEST_S)[1].decode()
    assert process.returncode == 0, said
    return said


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file; of the manifest all but its times."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    if "manifest.json" in files:
        manifest = json.loads(files["manifest.json"])
        assert manifest.pop("timings_ms")
        files["manifest.json"] = json.dumps(manifest).encode()
    return files


def is_written(path: Path, started: float) -> bool:
    """Tell whether a file was written since a process started."""
    return path.exists() and path.stat().st_mtime > started


def stage_of(folder: Path, started: float) -> str:
    """Tell from the files that it wrote how far a killed process had come."""
    stages = (
        ("manifest.json", "finished"),
        ("index.html", "manifest"),
        ("frequency.png", "frames, page"),
        ("difference.apng", "strip, measures"),
        ("frames.gif", "animate"),
        ("trajectory.safetensors", "decode, difference, measure"),
        ("config.yaml", "trajectory"),
        (".progress", "denoise"),
        (".lock", "import, load, text"),
    )
    return next((name for file, name in stages if is_written(folder / file, started)), "start")


def rows_kept(folder: Path, row_bytes: int) -> int:
    """Count the rows in the file of progress."""
    path = folder / ".progress"
    if not path.exists():
        return 0
    content = path.read_bytes()
    return (len(content) - content.find(b"\n") - 1) // row_bytes


def wait_for_moment(
    chance: random.Random, name: str, folder: Path, process: subprocess.Popen[bytes], started: float
) -> None:
    """Sleep until a moment drawn at random soon after a process wrote a file, "" if it started."""
    while name and process.poll() is None and not is_written(folder / name, started):
        time.sleep(0.001)
    time.sleep(chance.choice((0, 0.01, 0.1, 0.5, 2)) * chance.random())


def one_round(seed: int, kinds: tuple[signal.Signals, ...], whole: dict[str, bytes]) -> Tally:
    """End a run a few times, finish it, and compare."""
    chance, tally = random.Random(seed), Tally()
    row_bytes = 4 + 2 * 4 * 16 * 16 * 4
    with tempfile.TemporaryDirectory() as name:
        where, kept = Path(name), 0
        # the early ones first: what is through once is never computed again
        for moment in sorted(chance.choices(range(len(MOMENTS)), k=KILLS_A_ROUND)):
            started, kind = time.time(), chance.choice(kinds)
            process = start(where)
            if kind != signal.SIGKILL:  # before that Python itself is still starting
                while not (where / FOLDER / ".lock").exists() and process.poll() is None:
                    time.sleep(0.001)
            wait_for_moment(chance, MOMENTS[moment], where / FOLDER, process, started)
            process.send_signal(kind)
            said = process.communicate(timeout=LATEST_S)[1].decode()
            if process.returncode == 0:
                break  # it was faster than the signal
            context = f"seed {seed}, {kind.name}: {process.returncode} {said!r}"
            assert process.returncode == SIGNALS[kind], context
            if kind != signal.SIGKILL:
                lines = [line for line in said.splitlines() if "carries on at row" not in line]
                assert lines == ["interrupted; run the same command again to carry on"], context
            rows = rows_kept(where / FOLDER, row_bytes)
            assert rows >= kept or (where / FOLDER / "manifest.json").exists(), context
            kept = rows
            tally.kills[stage_of(where / FOLDER, started)] += 1
            for file, content in contents(where / FOLDER).items():
                if not Path(file).name.startswith("."):
                    assert content == whole[file], f"{context}: {file} is not whole"
                    tally.files += 1
        said = finish(where)
        if kept and not said.strip().endswith("makes it again"):
            assert f"carries on at row {kept}" in said, f"seed {seed}: {said!r}"
        tally.carried += kept
        ours = contents(where / FOLDER)
        assert ours.keys() == whole.keys(), f"seed {seed}: {ours.keys() ^ whole.keys()}"
        differing = [file for file in whole if ours[file] != whole[file]]
        assert not differing, f"seed {seed}: {differing} differ"
        tally.rounds += 1
    return tally


def kill(kills: int, seed: int, workers: int, kinds: tuple[signal.Signals, ...]) -> Tally:
    """End as many runs as asked for.

    Args:
        kills: How many at least.
        seed: Of the moments.
        workers: Rounds at once.
        kinds: The signals to choose from.

    Returns:
        What was done.

    Raises:
        AssertionError: Something was lost, half written or different.
    """
    with tempfile.TemporaryDirectory() as name:
        finish(Path(name))
        whole = contents(Path(name) / FOLDER)
    total, count = Tally(), 0
    with ThreadPoolExecutor(workers) as pool:
        while sum(total.kills.values()) < kills:
            missing = kills - sum(total.kills.values())
            rounds = max(workers, missing // KILLS_A_ROUND)
            numbers = range(count, count + rounds)
            count += rounds
            for tally in pool.map(
                lambda number: one_round(seed * 10_000 + number, kinds, whole), numbers
            ):
                total.kills += tally.kills
                total.rounds += tally.rounds
                total.files += tally.files
                total.carried += tally.carried
    return total


def main() -> None:
    """Kill, and print the count."""
    parser = argparse.ArgumentParser(description="Kill runs at random moments and carry on.")
    parser.add_argument("--kills", type=int, default=60, help="at least so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="runs at once")
    parser.add_argument("--gently", action="store_true", help="SIGINT and SIGTERM, not SIGKILL")
    options = parser.parse_args()
    kinds = (signal.SIGINT, signal.SIGTERM) if options.gently else (signal.SIGKILL,)
    tally = kill(options.kills, options.seed, options.workers, kinds)
    names = " and ".join(kind.name for kind in kinds)
    print(f"{sum(tally.kills.values())} times {names} in {tally.rounds} runs, seed {options.seed}:")
    for stage, count in tally.kills.most_common():
        print(f"  {count:4d} in {stage}")
    print(
        f"{tally.files} files under final names were whole after the kills; {tally.carried} rows "
        f"were carried on; all {tally.rounds} runs came out byte for byte as never killed"
    )


if __name__ == "__main__":
    main()
