"""The forks of scripts/last_word.py."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdloop import sweep as door
from sdloop.job.engine import Engine
from sdloop.job.many.sweep import load_sweep
from sdloop.job.many.sweeper import prepare_all
from sdloop.job.plan import settle

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts_on_the_path(monkeypatch):
    """Find the script as it is found when it is called."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in ("last_word", "last_word_figure", "steps_matter", "sweeps"):
        sys.modules.pop(name, None)


def made_up(to_old, to_new):
    from last_word import Forked

    frames = [2 * number for number in range(len(to_old))]
    shades = np.arange(len(frames), dtype=np.uint8)[:, None, None, None] * 10
    pictures = np.broadcast_to(shades, (len(frames), 8, 8, 3)).copy()
    return Forked(("a cat", "a dog"), frames, pictures, to_old, to_new)


def test_last_word_is_the_last_fork_before_one_ends_nearer_the_old_picture():
    assert made_up([9.0, 8.0, 6.0, 1.0, 0.0], [0.0, 1.0, 5.0, 7.0, 9.0]).last_word == 4
    assert made_up([9.0, 2.0, 6.0, 1.0, 0.0], [0.0, 3.0, 5.0, 7.0, 9.0]).last_word == 0
    assert made_up([9.0, 1.0, 0.0], [0.0, 2.0, 9.0]).last_word == 0


def test_distance_is_rms():
    from last_word import distances

    pictures = np.array([[[[3, 4, 0]]], [[[1, 1, 1]]]], np.uint8)
    assert distances(pictures, pictures[1]) == pytest.approx([(14 / 3) ** 0.5, 0])


def test_fork_at_the_start_is_the_new_prompts_own_run(tmp_path, model_folder):
    from last_word import facts_of, forks_of

    path = tmp_path / "pair.yaml"
    path.write_text(
        f"model: {model_folder}\ndevice: cpu\nseed: 3\nguidance_scale: 4\n"
        f"scheduler: {{num_steps: 7}}\nkeep: [trajectory]\noutput: {tmp_path / 'runs'}\n"
        "zip: {prompt: [a cat, two dogs]}\n"
    )
    assert door.main([str(path), "--quiet"]) == 0
    old, new = (settle(one) for one in prepare_all(load_sweep(path)))
    forked = forks_of(old, new, Engine.start(old))
    assert forked.frames == [0, 2, 4, 6, 8]  # PNDM makes a row more
    assert forked.to_new[0] < 0.1  # in a batch of two and alone
    assert forked.to_old[-1] == 0
    assert forked.to_old[0] == pytest.approx(forked.to_new[-1], abs=0.1)
    assert all(off > 0.1 for off in forked.to_old[:-1])
    assert not list(tmp_path.glob("runs/*-at-*"))
    [facts] = facts_of([forked])["pairs"]
    assert facts["prompts"] == ["a cat", "two dogs"]
    pytest.importorskip("matplotlib", reason="comes with sdloop[bench]")
    from last_word_figure import write_figure

    write_figure(tmp_path / "x.png", [forked, forked])
    assert np.asarray(Image.open(tmp_path / "x.png").convert("L")).min() < 100
