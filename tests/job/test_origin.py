"""The page of a run that left another one, and of two runs of one config."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from sdloop import render as render_module
from sdloop import run as run_module
from sdloop.job import present
from sdloop.job.folder import RunFolder
from sdloop.job.parting import parting_words
from sdloop.machine.errors import UserError
from sdloop.sampler.trajectory import Trajectory

QUIET = ["export.formats=webp", "export.stages=null", "--quiet"]


def data_of(page):
    """Read what is in a page."""
    return json.loads(re.search('id="data">(.*?)</script>', page.read_text(encoding="utf-8"))[1])


@pytest.fixture
def branches(tiny_config, tmp_path):
    """Return a run and one that left it at frame 2 with another prompt."""
    assert run_module.main([str(tiny_config), *QUIET]) == 0
    start = ["--from", str(tmp_path / "run"), "--at", "2", "prompt=two dogs"]
    assert run_module.main([str(tiny_config), *start, f"output={tmp_path / 'fork'}", *QUIET]) == 0
    return tmp_path / "run", tmp_path / "fork"


def test_page_of_a_fork_shows_both_branches(branches, capfd):
    origin, fork = branches
    data = data_of(fork / "index.html")
    names = [run["facts"]["name"] for run in data["runs"]]
    assert (names, [run["facts"]["start_frame"] for run in data["runs"]]) == (
        ["run", "fork"], [None, 2],
    )  # fmt: skip
    frames = data["comparison"]["frames"]
    assert len(frames) == 7
    assert frames[0] == frames[1] == frames[2] != frames[3]  # all dark up to where it left
    assert data["comparison"]["words"] is None  # another prompt: no rounding
    alone = data_of(origin / "index.html")
    for ours, theirs in zip(data["runs"][0]["steps"], alone["runs"][0]["steps"], strict=True):
        assert ours["frame"] == theirs["frame"]
    shutil.rmtree(origin)
    assert render_module.main([str(fork)]) == 0
    assert "shows this run without the one it left" in capfd.readouterr().err
    assert [run["facts"]["name"] for run in data_of(fork / "index.html")["runs"]] == ["fork"]


def test_fork_is_shown_alone_where_the_run_it_left_cannot_be_decoded(branches, capfd, monkeypatch):
    _, fork = branches
    real = present.show

    def show(plan, *rest):
        if plan.config.prompt != "two dogs":
            raise UserError("the VAE returned a value that is not finite")
        return real(plan, *rest)

    monkeypatch.setattr(present, "show", show)
    assert render_module.main([str(fork)]) == 0
    assert "shows this run without the one it left: the VAE" in capfd.readouterr().err
    data = data_of(fork / "index.html")
    assert [run["facts"]["name"] for run in data["runs"]] == ["fork"]
    assert data["comparison"] is None


def test_two_runs_on_a_page_have_their_difference(branches, tmp_path):
    origin, fork = branches
    assert render_module.main(["--page", str(tmp_path / "x.html"), str(origin), str(fork),
                               "--quiet"]) == 0  # fmt: skip
    ours, theirs = data_of(tmp_path / "x.html"), data_of(fork / "index.html")
    assert ours["comparison"] == theirs["comparison"]


def test_runs_of_one_config_say_where_they_part(tiny_config, tmp_path, capfd):
    for dtype in ("float32", "bfloat16"):
        out = f"output={tmp_path / dtype}"
        assert run_module.main([str(tiny_config), f"dtype={dtype}", out, *QUIET]) == 0
    folders = [str(tmp_path / name) for name in ("float32", "bfloat16")]
    capfd.readouterr()
    assert render_module.main(["--page", str(tmp_path / "x.html"), *folders]) == 0
    words = data_of(tmp_path / "x.html")["comparison"]["words"]
    assert words in capfd.readouterr().err.replace("\n", " ")
    assert words.startswith("One config with dtype float32 and bfloat16: the latents part by more")
    ours, theirs = (RunFolder(folder).trajectory.latents for folder in folders)
    apart = (ours - theirs).abs().amax(dim=(1, 2, 3)) / ours.abs().max()
    row = int(np.flatnonzero(apart > 1e-4)[0]) - 1
    assert f"by more than 0.0001 of the largest at row {row} (timestep" in words


def trajectory(config, latents):
    return Trajectory(latents, latents[1:], torch.arange(3, 0, -1).double(), None, config)


def test_words_name_the_rows_or_say_never():
    config = {"prompt": "a cat", "device": "cpu", "dtype": "float32", "output": "runs/a"}
    ours = torch.ones(4, 1, 2, 2)
    theirs = ours.clone()
    theirs[2] += 2e-4
    other = config | {"device": "cuda", "dtype": "float16", "output": "runs/b", "export": {}}
    other["capture"] = ["attention"]
    assert parting_words(trajectory(config, ours), trajectory(other, theirs)) == (
        "One config with device cpu and cuda, dtype float32 and float16: the latents part by more "
        "than 0.0001 of the largest at row 1 (timestep 2), never by more than 0.01."
    )
    again = parting_words(trajectory(config, ours), trajectory(config, ours))
    assert again == (
        "One config, run twice: the latents never part by more than 0.0001 of the largest."
    )
    theirs[0] += 1
    assert "from frame 0 on, before any row" in parting_words(
        trajectory(config, ours), trajectory(other, theirs)
    )


@pytest.mark.parametrize("change", [{"prompt": "a dog"}, {"seed": 1}])
def test_runs_of_other_configs_are_not_said_to_part(change):
    config = {"prompt": "a cat", "dtype": "float32"}
    latents = torch.ones(4, 1, 2, 2)
    assert parting_words(trajectory(config, latents), trajectory(config | change, latents)) is None
