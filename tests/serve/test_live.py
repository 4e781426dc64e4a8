"""A run's steps as the live page gets them: how often with pictures, and who rings for them."""

import pytest

from sdloop.job.config_file import load_config
from sdloop.job.plan import prepare
from sdloop.job.runner import Runner
from sdloop.serve import live as live_module
from sdloop.serve.live import Live


def walked(tiny_config):
    """Let a `Live` hear a run; return it, and how many steps there were at each ring."""
    rings = []
    live = Live(lambda: rings.append(len(live.steps)))
    Runner(live.hear).run(prepare(load_config(tiny_config)))
    live.close()
    return live, rings


@pytest.mark.parametrize(("gap_s", "drawn"), [(3600.0, "first and last"), (0.0, "some")])
def test_steps_without_pictures_come_along_with_those_that_have_some(
    tiny_config, monkeypatch, gap_s, drawn
):
    monkeypatch.setitem(live_module.GAP_S, "cpu", gap_s)
    live, rings = walked(tiny_config)
    rows = len(live.facts["table"])
    assert len(live.steps) == rows > 3
    pictured = [row for row, step in enumerate(live.steps) if step["frame"] is not None]
    assert rings == [0, *(row + 1 for row in pictured)]  # the walk's begin, and each picture
    assert pictured[-1] == rows - 1
    if drawn == "first and last":
        assert pictured == [0, rows - 1]
    assert all(len(step["numbers"]) == len(live_module.COLUMNS) for step in live.steps)


def test_a_walk_that_never_began_ends_at_once():
    live = Live(lambda: None)
    live.close()
    assert live.steps == []
