"""Real processes, ended at random moments of all stages; see scripts/faults/kills.py."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/faults/kills.py"


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--kills=20"], ["--kills=8", "--gently"]])
def test_runs_that_are_ended_at_random_moments_carry_on(capsys, options):
    ended = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True)
    with capsys.disabled():
        print("\n" + ended.stdout + ended.stderr)
    assert ended.returncode == 0
    times, _ = ended.stdout.split(" times SIG")
    assert int(times) >= int(options[0].removeprefix("--kills="))
