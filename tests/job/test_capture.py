"""Runs that keep their attention."""

import csv
import tracemalloc

import numpy as np
import pytest
import torch

from sdloop import run as run_module
from sdloop.job.config_file import load_config
from sdloop.job.engine import Engine
from sdloop.job.forecast import estimate
from sdloop.job.many.batch import Texts, calls_alike, sample_together
from sdloop.job.many.estimate import disk_bytes
from sdloop.job.plan import prepare, settle
from sdloop.job.start import Fork
from sdloop.machine.errors import UserError
from sdloop.sampler.trajectory import Trajectory, Word
from sdloop.show.figure.words import write_words
from sdloop.show.measure.words import measure_words

KEPT = "capture=attention"


def make(tiny_config, *overrides, code=0):
    assert run_module.main([str(tiny_config), *overrides]) == code


def trajectory_of(folder):
    return Trajectory.load(folder / "trajectory.safetensors")


def plan_of(tiny_config, *overrides):
    return settle(prepare(load_config(tiny_config, overrides)))


def test_attention_is_kept_and_the_pictures_stay_the_same_to_the_bit(tiny_config, tmp_path):
    make(tiny_config)
    make(tiny_config, KEPT, f"output={tmp_path / 'kept'}")
    plain, kept = trajectory_of(tmp_path / "run"), trajectory_of(tmp_path / "kept")
    assert plain.captured == {}
    assert plain.words == ()
    for name in ("latents", "z0_hat", "guidance"):
        assert torch.equal(getattr(plain, name), getattr(kept, name))
    assert {name: each.shape for name, each in kept.captured.items()} == {
        "attention_8x8": (6, 16, 8, 8), "attention_4x4": (6, 16, 4, 4),
    }  # fmt: skip
    assert [word.text for word in kept.words] == ["", "a", "cat", ""]
    assert [len(word.tokens) for word in kept.words] == [1, 1, 3, 11]
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert names == {path.name for path in (tmp_path / "run").iterdir()} | {"attention.png"}
    with (tmp_path / "kept/steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    shares = [
        float(rows[2][f"{name}_attention"]) for name in ("begin", "word_1_a", "word_2_cat", "end")
    ]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert all(0.2 < float(row["word_2_cat_change"]) < 5 for row in rows)


def test_runs_side_by_side_keep_what_each_keeps_alone(tiny_config):
    overrides = ([KEPT, "prompt=a red car"], [KEPT, "seed=4"])
    plans = [plan_of(tiny_config, *each) for each in overrides]
    engine = Engine.start(plans[0])
    together = sample_together(plans, engine, Texts(engine), lambda runs: None)
    for plan, one in zip(plans, together, strict=True):
        (alone,) = sample_together([plan], engine, Texts(engine), lambda runs: None)
        assert one.trajectory.words == alone.trajectory.words
        for name, value in alone.trajectory.captured.items():
            torch.testing.assert_close(
                one.trajectory.captured[name].float(), value.float(), rtol=1e-2, atol=1e-3
            )
    assert calls_alike(plan_of(tiny_config)) != calls_alike(plans[0])


@pytest.mark.parametrize("prompt", ["a cat", "a dog"])
def test_a_fork_keeps_the_rows_before_it_of_the_same_prompt_alone(tiny_config, tmp_path, prompt):
    make(tiny_config, KEPT)
    fork = [
        "--from",
        str(tmp_path / "run"),
        "--at",
        "3",
        f"prompt={prompt}",
        f"output={tmp_path / 'f'}",
    ]
    make(tiny_config, KEPT, *fork)
    origin, ours = trajectory_of(tmp_path / "run"), trajectory_of(tmp_path / "f")
    for name, value in ours.captured.items():
        if prompt == "a cat":
            assert torch.equal(value[:3], origin.captured[name][:3])
        else:
            assert not value[:3].any()
        assert value[3:].any()
    assert (tmp_path / "f/index.html").exists()


def test_memory_and_disk_count_it(tiny_config):
    plain, kept = plan_of(tiny_config), plan_of(tiny_config, KEPT)
    row_bytes = 2 * 16 * (8 * 8 + 4 * 4)
    assert kept.captured_bytes == row_bytes
    rows = len(kept.table)
    assert disk_bytes(kept, ["trajectory"]) - disk_bytes(plain, ["trajectory"]) == rows * row_bytes
    for quick in (True, False):
        (less,), (more,) = (estimate(plan, quick=quick) for plan in (plain, kept))
        assert more.stages["denoise"] - less.stages["denoise"] >= 2 * rows * row_bytes
        assert more.stages["decode"] > less.stages["decode"]


@pytest.mark.parametrize("side", [8, 64, 100])
def test_quick_bound_is_above_the_count(tiny_config, side):
    plan = plan_of(tiny_config)
    shape, place = (1, 4, side, side), (plan.device, plan.dtype)
    family = plan.source.family
    quick, counted = (
        family.loop_bytes(plan.source, shape, True, *place, quick=quick, keep_attention=True)
        for quick in (True, False)
    )
    assert quick >= counted > family.loop_bytes(plan.source, shape, True, *place)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["capture=[sounds]"], "capture.0 = 'sounds': must be 'attention'"),
        (["capture=attention", "compile=true"], "capture = attention: not with compile = true"),
    ],
)
def test_what_cannot_be_kept_is_refused(tiny_config, overrides, said):
    with pytest.raises(UserError) as error:
        prepare(load_config(tiny_config, overrides))
    assert said in str(error.value)


def test_maps_of_other_words_are_not_carried_into_a_fork(tiny_config, tmp_path):
    """The same prompt may be other tokens to another model."""
    make(tiny_config, KEPT)
    plan = plan_of(tiny_config, KEPT, f"start.run={tmp_path / 'run'}", "start.frame=3", "output=x")
    fork = Fork.open(plan)
    words = [(word.text, word.tokens) for word in fork.origin.words]
    assert set(fork.before(words).captured) == set(fork.origin.captured)
    words[1] = ("a", (1, 2))
    assert fork.before(words).captured == {}


def test_the_figure_of_many_words_stays_small(tmp_path):
    words = [Word("", (0,)), *(Word(f"w{at}", (at,)) for at in range(1, 40)), Word("", (40,))]
    maps = torch.rand((2, 41, 4, 4)).half()
    images = np.zeros((3, 512, 640, 3), np.uint8)
    made = measure_words({"attention_4x4": maps}, words, torch.rand(2, 512, 640))
    tracemalloc.start()
    write_words(tmp_path / "x.png", made, images, range(2))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 12 * 2**24  # cells, and the canvas twice; 250 MB at full size
