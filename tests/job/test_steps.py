"""A run step by step, in Python, and its quick pictures."""

import gc
import weakref

import numpy as np
import pytest

import sdloop
from sdloop import run as run_module
from sdloop.job import engine as engine_module
from sdloop.job.config_file import load_config
from sdloop.job.folder import RunFolder
from sdloop.job.preview import Previewer
from sdloop.machine.errors import UserError


def test_steps_are_those_of_the_run(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "--quiet", "export.png_frames=true"]) == 0
    saved = RunFolder(tmp_path / "run").trajectory
    steps = list(sdloop.steps(tiny_config))
    assert [step.row for step in steps] == list(range(len(saved.z0_hat)))
    assert {step.rows for step in steps} == {len(saved.z0_hat)}
    for step in steps:
        assert step.latents.z[0].equal(saved.latents[step.row + 1])
        assert step.latents.z0_hat[0].equal(saved.z0_hat[step.row])
        assert step.timestep == saved.timesteps[step.row]
    from imageio.v3 import imread

    png = imread(tmp_path / "run" / "frames" / f"{len(steps):03}.png")
    np.testing.assert_array_equal(steps[-1].frame, png)
    assert steps[2].z0_hat.shape == steps[2].preview.shape == (64, 64, 3)
    assert steps[2].z0_hat.dtype == steps[2].preview.dtype == np.uint8


def test_steps_write_nothing(tiny_config, tmp_path):
    next(sdloop.steps(load_config(tiny_config)))
    assert not (tmp_path / "run").exists()


def test_steps_fork_from_a_frame_of_another_run(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "--quiet"]) == 0
    start = f"start={{run: {tmp_path / 'run'}, frame: 4}}"
    steps = list(sdloop.steps(tiny_config, [start, "output=elsewhere"]))
    assert [step.row for step in steps] == [4, 5]
    saved = RunFolder(tmp_path / "run").trajectory
    assert (steps[-1].latents.z[0] - saved.latents[-1]).abs().max() < 1e-4


def test_a_loop_that_is_left_frees_the_networks(tiny_config, monkeypatch):
    made = []
    start = engine_module.Engine.start

    def watched(plan):
        engine = start(plan)
        made.append(weakref.ref(engine))
        return engine

    monkeypatch.setattr(engine_module.Engine, "start", watched)
    for step in sdloop.steps(tiny_config):
        if step.row == 1:
            break
    del step
    gc.collect()
    assert len(made) == 1
    assert made[0]() is None


def test_a_wrong_config_is_refused_by_name(tiny_config):
    with pytest.raises(UserError, match=r"guidance_scale = 0.5"):
        next(sdloop.steps(tiny_config, ["guidance_scale=0.5"]))
    with pytest.raises(TypeError, match="overrides"):
        next(sdloop.steps(load_config(tiny_config), ["seed=1"]))


@pytest.mark.parametrize("has_tiny", [True, False])
def test_previews_resemble_the_pictures(monkeypatch, has_tiny):
    if not has_tiny:  # a linear map draws
        monkeypatch.setattr("sdloop.job.preview.own_tiny", lambda source: None)
    config = ["scheduler.num_steps=8", "prompt=a panda in the snow", "guidance_scale=3.5"]
    apart, unlike = [], []
    previous = None
    for step in sdloop.steps("configs/astronaut.yaml", ["export.stages=null", *config]):
        picture = step.z0_hat.astype(float)
        apart.append(np.corrcoef(step.preview.ravel(), picture.ravel())[0, 1])
        if previous is not None:
            unlike.append(np.corrcoef(np.flip(previous).ravel(), picture.ravel())[0, 1])
        previous = picture
    assert min(apart) > (0.85 if has_tiny else 0.7)
    assert max(unlike) < min(apart)


@pytest.mark.parametrize(("share", "is_quick"), [(1e9, True), (0.0, False)])
def test_the_small_decoder_draws_where_it_is_quick_enough(share, is_quick):
    steps = sdloop.steps(load_config("configs/astronaut.yaml", ["seed=1"]))
    step = next(steps)
    z0_hat = step.latents.z0_hat
    previewer = Previewer(step._plan, step._engine, share)
    drawn = [previewer.pictures(z0_hat) for _ in range(6)]
    assert np.array_equal(drawn[-1][0], step.preview) == is_quick
    assert not np.array_equal(drawn[0][0], step.preview)  # not known yet
