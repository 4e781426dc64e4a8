"""The page of a sweep: of which runs, and when it is made."""

import json
import re

import numpy as np
import pytest

from sdloop.job.many import grid as grid_module
from sdloop.job.many import workshop as workshop_module
from sdloop.job.many.small_file import load_small, save_small
from sdloop.job.many.sweep import load_sweep
from sdloop.job.many.sweeper import Sweeper, prepare_all
from sdloop.machine.errors import UserError
from sdloop.show.page.small import Small

from .test_sweeper import made, sweep_of

__all__ = ["sweep_of"]


def data_of(folder):
    """Read what is in a page."""
    return json.loads(re.search('id="data">(.*?)</script>', (folder / "index.html").read_text())[1])


def test_sweep_that_keeps_its_grid_has_a_page_of_all_runs(sweep_of, tmp_path):
    folder = tmp_path / "many"
    path = sweep_of(keep=["grid", "page"], sweep={"seed": [1, 2], "scheduler.num_steps": [2, 3]},
                    scheduler={})  # fmt: skip
    sweep, failed = made(path)
    assert failed == []
    data = data_of(folder)
    assert data["cells"] == [[0, 1], [2, 3]]
    assert (data["rows"], data["columns"]["labels"]) == ({"name": "seed", "labels": ["1", "2"]},
                                                         ["2", "3"])  # fmt: skip
    assert [run["facts"]["name"] for run in data["runs"]] == [run.name for run in sweep.runs]
    assert data["runs"][1]["page"] == "seed-1_num_steps-3/index.html"
    assert data["runs"][1]["z0_hat"] is not None
    assert {"final.png", "difference_0.png"} <= {file["name"] for file in data["files"]}
    small = load_small(folder / "seed-1_num_steps-3/small.safetensors")
    assert small.frames.shape == (5, 64, 64, 3)  # PNDM makes a row more


def test_sweep_that_does_not_keep_its_grid_has_no_page(sweep_of, tmp_path):
    page = tmp_path / "many/index.html"
    page.parent.mkdir()
    page.write_text("of an earlier call, which kept its grid")
    sweep, _ = made(sweep_of(keep=["trajectory"], sweep={"seed": [1]}))
    assert not page.exists()
    assert not (sweep.folder / sweep.runs[0].name / "small.safetensors").exists()


def test_run_that_failed_leaves_its_place_empty(sweep_of, tmp_path, monkeypatch):
    real = workshop_module.write_run

    def failing(made, *rest):
        if made.plan.config.seed == 2:
            raise OSError(28, "No space left on device", "there")
        return real(made, *rest)

    monkeypatch.setattr(workshop_module, "write_run", failing)
    _, failed = made(sweep_of(keep="grid", sweep={"seed": [1, 2, 3]}))
    assert len(failed) == 1
    assert data_of(tmp_path / "many")["cells"] == [[0, None, 1]]


def test_small_pictures_survive_their_file(tmp_path):
    y, x = np.mgrid[0:64, 0:48].astype(np.uint8)
    frames = np.stack([np.stack([x + 20 * k, y, 90 + 0 * x], axis=-1) for k in range(4)])
    values = np.abs(np.diff(frames[..., 0].astype(np.float32), axis=0)) + x
    save_small(tmp_path / "small", Small.of(frames, values, None))
    again = load_small(tmp_path / "small")
    assert again.z0_hat is None
    assert np.abs(again.frames.astype(int) - frames).mean() < 2
    assert np.abs(again.differences / 255 * again.peaks[:, None, None] - values).max() < 4
    (tmp_path / "small").write_bytes(b"damage" + (tmp_path / "small").read_bytes()[6:])
    with pytest.raises(UserError, match="is damaged"):
        load_small(tmp_path / "small")


def test_pictures_shrink_with_the_number_of_runs_until_nothing_is_seen(
    sweep_of, tmp_path, monkeypatch
):
    path, told = sweep_of(keep="grid", sweep={"seed": [1, 2]}), []
    monkeypatch.setattr(grid_module, "MOST_PIXELS", 2 * 4 * 32 * 32)
    made(path)
    assert data_of(tmp_path / "many")["factor"] == 2
    assert data_of(tmp_path / "many")["runs"][0]["facts"]["width"] == 32
    monkeypatch.setattr(grid_module, "MOST_PIXELS", 2 * 4 * 31 * 31)
    sweep = load_sweep(path)
    Sweeper(told.append).run(sweep, prepare_all(sweep))
    assert "2 runs are too many" in "".join(str(event) for event in told)
    assert not (tmp_path / "many/index.html").exists()
