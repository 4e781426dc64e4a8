"""The verdicts of scripts/claims.py, on values whose answer is known."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts_on_the_path(monkeypatch):
    """Find the script's parts as it does when it is called."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in [name for name in sys.modules if name.startswith("claims")]:
        del sys.modules[name]


def made(low, high, above, below):
    from claims_check import Check

    return Check("it", (low + high) / 2, (low, high), (low, high), (above, below), 3)


@pytest.mark.parametrize(
    ("low", "high", "above", "below", "answer"),
    [(2, 3, 1, 4, "yes"), (0, 0.5, 1, 4, "no"), (5, 6, 1, 4, "no"), (0, 2, 1, 4, "open"),
     (2, 5, 1, 4, "open"), (2, 3, 1, np.inf, "yes"), (0, 1, 1, np.inf, "no")],
)  # fmt: skip
def test_an_answer_needs_the_whole_interval(low, high, above, below, answer):
    assert made(low, high, above, below).answer == answer


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [("yes yes", "holds"), ("yes no", "mixed"), ("yes open", "mixed"), ("open open", "undecided"),
     ("no open", "does not hold"), ("no no", "does not hold")],
)  # fmt: skip
def test_verdict_of_several_checks(answers, verdict):
    from claims_check import Claim

    intervals = {"yes": (2, 3), "no": (0, 0.5), "open": (0, 2)}
    checks = tuple(made(*intervals[answer], 1, np.inf) for answer in answers.split())
    claim = Claim("a", "text", checks)
    assert claim.verdict == verdict
    assert json.loads(json.dumps(claim.facts()))["checks"][0]["bounds"] == [1, None]


def test_interval_draws_prompts_not_runs():
    from claims_check import check

    # two prompts that disagree: whatever their seeds say, the median may be either's
    values = np.repeat([0.0, 1.0], 50)
    spread = check("it", values, np.repeat(["a cat", "a dog"], 50))
    assert spread.interval == (0, 1)
    assert spread.median == 0.5
    alike = check("it", np.ones(9), np.repeat(["a", "b", "c"], 3), above=0.5)
    assert alike.interval == (1, 1)
    assert alike.answer == "yes"


def test_neighbours_and_density_of_known_maps():
    from claims_runs import Run, Runs

    checkerboard = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    halves = (torch.arange(8) // 4).expand(8, 8)
    maps = torch.stack([checkerboard, halves]).float()
    row = np.zeros(2)
    total, on_object = np.array([10.0, 30.0]), np.array([1.0, 3.0])
    runs = Runs((Run("a cat", row, row, total, on_object, 0.25, maps, maps[1], maps[1]),))
    np.testing.assert_allclose(runs.neighbour_r(), [[-1, (5 / 7 + 1) / 2]], rtol=1e-6)
    np.testing.assert_allclose(runs.background_density(slice(0, 2)), [0.9 / 0.75])
    np.testing.assert_allclose(runs.layout_r("mask"), [[0, 1]], atol=1e-6)


@pytest.mark.slow
def test_script_judges_all_four_claims(tmp_path, capsys, monkeypatch):
    import claims

    out = tmp_path / "claims"
    arguments = ["claims.py", "--seeds", "2", "--steps", "10", "--of-each", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    claims.main()
    facts = json.loads(out.with_suffix(".json").read_text())
    assert list(facts["claims"]) == ["a", "b", "c", "d"]
    printed = capsys.readouterr().out
    for claim in facts["claims"].values():
        assert f"{claim['claim']}: {claim['verdict'].upper()}" in printed
    assert out.with_suffix(".png").is_file()
