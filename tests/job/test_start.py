"""Runs that start from a frame of another run."""

import json
import os
import re
import shutil
import signal

import pytest
import torch

from scripts.faults.kills import contents
from sdloop import render as render_module
from sdloop import run as run_module
from sdloop.job.config_file import load_config
from sdloop.job.folder import RunFolder
from sdloop.job.many.sweep import load_sweep
from sdloop.job.plan import prepare
from sdloop.machine.errors import UserError
from sdloop.model.predictor import UNetPredictor

ORIGIN = ["guidance_scale=4", "export.formats=webp", "export.stages=null"]


@pytest.fixture
def fork(tiny_config, tmp_path):
    """Return a function that makes a run of the tiny config, then one that starts from it."""

    def make(frame, *changes, shared=(), name="fork"):
        shared = [str(tiny_config), *ORIGIN, *shared]
        if not (tmp_path / "run").exists():
            assert run_module.main([*shared, "--quiet"]) == 0
        start = ["--from", str(tmp_path / "run"), "--at", str(frame)]
        words = [*shared, *start, *changes, f"output={tmp_path / name}", "--quiet"]
        return run_module.main(words)

    return make


def loaded(folder):
    return RunFolder(folder).trajectory


def refused(capsys):
    """Return the one line that a command said."""
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    "shared",
    [
        [],  # PNDM
        ["scheduler.skip_prk_steps=false"],
        ["scheduler.type=heun"],
        ["scheduler.type=euler_a", "guidance_rescale=0.7"],  # fresh noise
        ["scheduler.type=unipc", "guidance_scale=1"],
    ],
)
def test_a_fork_without_change_is_the_run_it_left(fork, tmp_path, shared):
    assert fork(3, shared=shared) == 0
    whole, ours = loaded(tmp_path / "run"), loaded(tmp_path / "fork")
    assert torch.equal(ours.latents[:4], whole.latents[:4])
    assert torch.equal(ours.z0_hat[:3], whole.z0_hat[:3])
    for name in ("latents", "z0_hat", "guidance", "guidance_factor"):
        mine, theirs = getattr(ours, name), getattr(whole, name)
        assert (mine is None) == (theirs is None)
        if theirs is not None:
            top = float(theirs.abs().max())
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5 * top)


def test_a_fork_says_what_it_started_from(fork, tmp_path):
    assert fork(2, "prompt=two dogs") == 0
    start = RunFolder(tmp_path / "fork").config.start
    assert (start.run, start.frame) == (str(tmp_path / "run"), 2)
    manifest = json.loads((tmp_path / "fork/manifest.json").read_text())
    assert manifest["start"] == start.model_dump()
    assert loaded(tmp_path / "fork").config["start"] == start.model_dump()
    whole, ours = loaded(tmp_path / "run"), loaded(tmp_path / "fork")
    assert torch.equal(ours.latents[:3], whole.latents[:3])
    assert not torch.allclose(ours.latents[3], whole.latents[3], atol=1e-3)


def test_a_saved_fork_runs_again_to_the_same_bytes(fork, tmp_path, capsys):
    assert fork(2, "prompt=two dogs") == 0
    files, config = contents(tmp_path / "fork"), tmp_path / "fork/config.yaml"
    assert run_module.main([str(config)]) == 0
    assert "is finished" in capsys.readouterr().err
    assert run_module.main([str(config), "--overwrite", "--quiet"]) == 0
    assert contents(tmp_path / "fork") == files


def test_each_row_keeps_the_seed_and_guidance_that_it_had(fork, tmp_path):
    noisy = ["scheduler.type=euler_a"]
    assert fork(2, "seed=8", "guidance_scale=9", shared=noisy) == 0
    prepared = prepare(load_config(tmp_path / "fork/config.yaml"))
    whole, ours = loaded(tmp_path / "run"), loaded(tmp_path / "fork")
    assert ours.seeds.tolist() == [3, 3, 8, 8, 8]
    assert ours.guidance_scales.tolist() == [4, 4, 9, 9, 9]
    assert torch.equal(ours.noise(prepared.table)[:2], whole.noise(prepared.table)[:2])
    assert not torch.equal(ours.noise(prepared.table)[2], whole.noise(prepared.table)[2])
    for mine, theirs in zip(ours.eps(prepared.table), whole.eps(prepared.table), strict=True):
        assert torch.equal(mine[:2], theirs[:2])
        # row 2 sees the same frame and prompt: both halves are as before, whatever their mixture
        torch.testing.assert_close(mine[2], theirs[2], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_fork_of_a_fork_keeps_what_both_had(fork, tiny_config, tmp_path):
    assert fork(2, "seed=8") == 0
    words = [str(tiny_config), *ORIGIN, "seed=9", "--from", str(tmp_path / "fork"), "--at", "4"]
    assert run_module.main([*words, f"output={tmp_path / 'again'}", "--quiet"]) == 0
    assert loaded(tmp_path / "again").seeds.tolist() == [3, 3, 8, 8, 9, 9]
    assert torch.equal(
        loaded(tmp_path / "again").latents[:5], loaded(tmp_path / "fork").latents[:5]
    )


@pytest.mark.slow
def test_a_fork_that_was_cut_off_carries_on(fork, tmp_path, capsys, monkeypatch):
    assert fork(2, "prompt=two dogs") == 0
    files = contents(tmp_path / "fork")
    shutil.rmtree(tmp_path / "fork")
    real, rows, end_at = UNetPredictor.__call__, [], 3

    def predict(self, z, row):
        rows.append(row)
        if len(rows) == end_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, z, row)

    monkeypatch.setattr(UNetPredictor, "__call__", predict)
    assert fork(2, "prompt=two dogs") == 143
    assert fork(2, "prompt=two dogs") == 0
    assert rows == [2, 3, 4, 4, 5]
    assert contents(tmp_path / "fork") == files


@pytest.mark.slow
def test_a_fork_is_drawn_again_without_its_origin(fork, tmp_path):
    assert fork(1, "prompt=two dogs") == 0
    shutil.rmtree(tmp_path / "run")
    words = [str(tmp_path / "fork"), "difference.reduce=max", "--quiet"]
    assert render_module.main(words) == 0


def test_the_folder_is_named_after_the_origin_and_the_frame(
    fork, tiny_config, tmp_path, monkeypatch, capsys
):
    assert fork(2) == 0
    monkeypatch.chdir(tmp_path)
    words = [str(tiny_config), *ORIGIN, "--from", "run", "--at", "2", "--dry-run"]
    assert run_module.main(words) == 0
    said = capsys.readouterr().out
    assert "output: runs/run-at-2\n" in said
    assert re.search(r"start:\n  run: run\n  frame: 2\n  trajectory_sha256: [0-9a-f]{64}\n", said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["height=72"], "height = 72: {run} has 64, which a run that starts"),
        (["scheduler.num_steps=6"], "scheduler.num_steps = 6: {run} has 5"),
        (["scheduler.type=heun"], "scheduler.type = 'heun': {run} has 'pndm'"),
        (["scheduler.timestep_spacing=trailing"], "timestep_spacing = 'trailing': {run} has"),
        (["guidance_scale=1"], "guidance_scale = 1: {run} has 4; a run that"),
        (["start.frame=6"], "start.frame = 6: allowed: 0 to 5"),
        (["start.frame=-1"], "start.frame = -1: must be greater"),
        (["start.run=null"], "start = {"),
        (["start.run=nowhere"], "start.run = nowhere: holds no run (there is no config.yaml)"),
    ],
)  # fmt: skip
def test_what_leaves_no_rows_is_refused_naming_the_key(fork, tmp_path, capsys, changes, said):
    assert fork(2, name="first") == 0
    saved = str(tmp_path / "first/config.yaml")
    again = ["start.trajectory_sha256=null", f"output={tmp_path / 'second'}"]
    assert run_module.main([saved, *again, *changes]) == 2
    assert said.replace("{run}", str(tmp_path / "run")) in refused(capsys)
    assert not (tmp_path / "second").exists()


def test_another_model_may_go_on_if_its_rows_are_the_same(
    fork, tmp_path, capsys, model_folder, v_model_folder
):
    twin, other = tmp_path / "twin", tmp_path / "other"
    for folder in (twin, other):
        shutil.copytree(model_folder, folder)
    path = other / "scheduler/scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"beta_end": 0.02}))
    assert fork(2, f"model={twin}") == 0
    assert fork(2, f"model={other}", name="b") == 2
    assert f"model = {other}: its noise levels are not as in" in refused(capsys)
    assert fork(2, f"model={v_model_folder}", name="c") == 2
    assert "scheduler.prediction_type = 'v_prediction': " in refused(capsys)


def test_only_a_run_with_its_latents_is_an_origin(fork, tmp_path, capsys):
    assert fork(2) == 0
    for name, why in (
        ("trajectory.safetensors", "did not keep its latents"),
        ("manifest.json", "is not finished"),
    ):
        (tmp_path / "run" / name).unlink()
        assert fork(2, name="b") == 2
        assert f"{why} (there is no trajectory.safetensors)" in refused(capsys)


def test_a_fork_never_overwrites_its_origin(fork, tmp_path, capsys):
    assert fork(2) == 0
    files = contents(tmp_path / "run")
    assert fork(2, "--overwrite", name="run") == 2
    assert "is the run that this one starts from" in refused(capsys)
    assert contents(tmp_path / "run") == files


@pytest.mark.slow
def test_an_origin_that_was_made_anew_is_noticed(fork, tiny_config, tmp_path, capsys):
    assert fork(2) == 0
    words = [str(tiny_config), *ORIGIN, "seed=4", "--overwrite", "--quiet"]
    assert run_module.main(words) == 0
    saved = str(tmp_path / "fork/config.yaml")
    assert run_module.main([saved, "--overwrite"]) == 2
    assert "is no longer the one that this run started from" in capsys.readouterr().err
    assert run_module.main([saved, "--overwrite", "start.trajectory_sha256=null"]) == 0


@pytest.mark.parametrize("words", [["--from", "runs/a"], ["--at", "3"]])
def test_from_and_at_go_together(tiny_config, capsys, words):
    assert run_module.main([str(tiny_config), *words]) == 2
    assert "--from and --at go together" in refused(capsys)


def test_a_sweep_starts_from_noise(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("prompt: p\nstart: {run: runs/a, frame: 2}\nsweep: {seed: [0, 1]}\n")
    with pytest.raises(UserError, match=r"start\.run = runs/a: a sweep starts from noise"):
        load_sweep(path)
