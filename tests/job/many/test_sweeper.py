"""A sweep's runs: made, carried on, failed; what they leave, alone and together."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from sdloop import sweep as door
from sdloop.job import engine as engine_module
from sdloop.job.events import Warned
from sdloop.job.many import workshop as workshop_module
from sdloop.job.many.summary import Summary
from sdloop.job.many.sweep import load_sweep
from sdloop.job.many.sweeper import Sweeper, prepare_all
from sdloop.job.plan import prepare
from sdloop.job.runner import Runner
from sdloop.machine.errors import UserError
from sdloop.sampler.trajectory import Trajectory


@pytest.fixture
def sweep_of(tmp_path, model_folder):
    """Return a function that writes the config of a small sweep and returns its path."""

    def write(**values):
        base = {
            "prompt": "a cat",
            "model": str(model_folder),
            "device": "cpu",
            "scheduler": {"num_steps": 2},
            "output": str(tmp_path / "many"),
            "keep": ["trajectory"],
        }
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(base | values, sort_keys=False))
        return path

    return write


def made(path, **options):
    """Make a sweep; return it and the runs that failed."""
    sweep = load_sweep(path)
    return sweep, Sweeper(lambda event: None, **options).run(sweep, prepare_all(sweep))


def latents_of(sweep, index):
    return Trajectory.load(sweep.folder / sweep.runs[index].name / "trajectory.safetensors").latents


def test_sweep_leaves_runs_sheets_and_table(sweep_of, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = sweep_of(sweep={"guidance_scale": [1, 4.5], "seed": [1, 2]})
    assert door.main([str(path), "--quiet"]) == 0
    folder = tmp_path / "many"
    names = {each.name for each in folder.iterdir() if each.is_file()}
    sheets = {"final.png", "commitment.png", *(f"difference_{stage}.png" for stage in range(3))}
    assert names == {*sheets, "sweep.parquet", "sweep.yaml"}
    run = {each.name for each in (folder / "guidance_scale-4.5_seed-2").iterdir()}
    assert run == {"config.yaml", "manifest.json", "summary.safetensors", "trajectory.safetensors"}
    table = parquet.read_table(folder / "sweep.parquet")
    assert table.num_rows == 4 * 3  # PNDM makes a row more
    assert table.column_names[:4] == ["run", "guidance_scale", "seed", "step"]
    last = table.slice(table.num_rows - 3).to_pydict()
    assert last["run"] == ["guidance_scale-4.5_seed-2"] * 3
    assert (last["guidance_scale"], last["seed"], last["step"]) == (
        [4.5] * 3, [2] * 3, [0, 1, 2],
    )  # fmt: skip
    manifest = json.loads((folder / "guidance_scale-4.5_seed-2/manifest.json").read_text())
    assert manifest["walked_together"] == 2
    summary = Summary.load(folder / "guidance_scale-4.5_seed-2/summary.safetensors")
    for name, column in summary.columns.items():
        np.testing.assert_array_equal(last[name], column, err_msg=name)


def test_table_takes_times_that_are_whole_in_some_runs_alone(sweep_of, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    made(sweep_of(sweep={"scheduler.type": ["pndm", "euler_karras"]}))
    times = parquet.read_table(tmp_path / "many/sweep.parquet")["timestep"].to_pylist()
    assert len(times) == 3 + 2
    assert any(time % 1 for time in times)


def test_all_that_a_single_run_has_is_left_where_nothing_else_is_asked_for(sweep_of, tmp_path):
    path = sweep_of(keep="all", sweep={"seed": [5]})
    sweep, failed = made(path)
    assert failed == []
    config = sweep.runs[0].config.model_copy(update={"output": str(tmp_path / "alone")})
    alone = Runner(lambda event: None).run(prepare(config)).folder
    ours = sweep.folder / sweep.runs[0].name
    files = {each.name for each in alone.iterdir()}
    assert {each.name for each in ours.iterdir()} == files | {
        "summary.safetensors",
        "small.safetensors",
    }
    for name in files - {"manifest.json", "config.yaml", "index.html", "trajectory.safetensors"}:
        assert (ours / name).read_bytes() == (alone / name).read_bytes(), name
    assert torch.equal(
        latents_of(sweep, 0), Trajectory.load(alone / "trajectory.safetensors").latents
    )


@pytest.mark.slow
def test_seeds_share_their_noise_over_all_other_axes(sweep_of):
    axes = {"scheduler.type": ["ddim", "euler_a"], "scheduler.num_steps": [1, 2], "seed": [3, 4]}
    sweep, _ = made(sweep_of(scheduler={}, sweep=axes))
    first = [latents_of(sweep, index)[0] for index in range(8)]
    for index in range(2, 8):
        torch.testing.assert_close(first[index], first[index % 2], rtol=1e-6, atol=0)
    assert not torch.equal(first[0], first[1])


@pytest.mark.slow
def test_networks_are_loaded_once_and_finished_runs_are_left(sweep_of, monkeypatch, tmp_path):
    loads, walks = [], []
    load, sample = engine_module.load, workshop_module.sample_together
    monkeypatch.setattr(engine_module, "load", lambda *given: loads.append(1) or load(*given))
    monkeypatch.setattr(
        workshop_module,
        "sample_together",
        lambda plans, *rest: walks.append(len(plans)) or sample(plans, *rest),
    )
    made(sweep_of(sweep={"scheduler.num_steps": [2, 3], "seed": [0, 1]}, scheduler={}))
    assert (len(loads), walks) == (1, [2, 2])
    (tmp_path / "many/num_steps-2_seed-1/manifest.json").unlink()  # killed before its end
    files = {path: path.read_bytes() for path in (tmp_path / "many").rglob("*.safetensors")}
    walks.clear()
    axes = {"scheduler.num_steps": [2, 3], "seed": [0, 1, 2]}
    _, failed = made(sweep_of(sweep=axes, scheduler={}))
    assert (failed, walks) == ([], [2, 1])
    for path, content in files.items():
        if "num_steps-2_seed-1" not in str(path):
            assert path.read_bytes() == content


def test_failed_run_is_told_at_the_end_and_the_others_stand(sweep_of, tmp_path, monkeypatch, capfd):
    path = sweep_of(sweep={"seed": [0, 1, 2]})
    real = workshop_module.write_run

    def failing(made, *rest):
        if made.plan.config.seed == 1:
            raise OSError(28, "No space left on device", "there")
        return real(made, *rest)

    monkeypatch.setattr(workshop_module, "write_run", failing)
    assert door.main([str(path), "--quiet"]) == 1
    said = capfd.readouterr().err
    assert "1 of 3 runs failed" in said
    assert "seed-1: there: No space left on device" in said
    assert (tmp_path / "many/seed-2/manifest.json").is_file()
    assert np.asarray(Image.open(tmp_path / "many/final.png")).shape[2] == 3
    monkeypatch.undo()
    assert door.main([str(path), "--quiet"]) == 0
    assert (tmp_path / "many/seed-1/manifest.json").is_file()


def test_run_of_another_config_is_left_alone(sweep_of):
    made(sweep_of(sweep={"seed": [0, 1]}))
    other = sweep_of(sweep={"seed": [0, 1]}, guidance_scale=2)
    with pytest.raises(UserError, match="holds a run of another config"):
        made(other)
    sweep, failed = made(other, overwrite=True)
    assert failed == []
    config = sweep.folder / sweep.runs[1].name / "config.yaml"
    assert "guidance_scale: 2" in config.read_text()


def test_overwriting_leaves_the_users_own_files(sweep_of, tmp_path):
    path = sweep_of(sweep={"seed": [0, 1]})
    own = tmp_path / "many/seed-1/trajectory.safetensors"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(UserError, match=r"holds trajectory\.safetensors, which no run wrote"):
        made(path, overwrite=True)
    assert own.read_text() == "mine"
    assert not (tmp_path / "many/seed-0").exists()


def test_run_that_cannot_be_is_named_before_any_is_begun(sweep_of, tmp_path, capsys):
    path = sweep_of(sweep={"height": [64, 65]})
    assert door.main([str(path)]) == 2
    assert "height-65: height = 65: allowed: multiples of 8" in capsys.readouterr().err
    assert not (tmp_path / "many").exists()


def test_dry_run_says_what_it_takes_and_makes_nothing(sweep_of, tmp_path, capsys):
    path = sweep_of(sweep={"seed": "0..29"})
    assert door.main([str(path), "--dry-run", "--batch", "6"]) == 0
    said = capsys.readouterr().out
    assert "30 runs, 0 of them finished" in said
    assert "seed-19" in said
    assert "and 10 more" in said
    assert "calls of the network: 15 in 5 batches of 6 runs" in said
    assert "ms a call of 6" in said
    assert "memory of the host: at most" in said
    assert not (tmp_path / "many").exists()


def test_size_on_disk_is_as_foretold(sweep_of, tmp_path):
    from sdloop.job.many.estimate import disk_bytes
    from sdloop.job.plan import settle

    path = sweep_of(sweep={"seed": [0]}, scheduler={"num_steps": 12})
    sweep, _ = made(path)
    foretold = disk_bytes(settle(prepare_all(sweep)[0]), sweep.keep)
    folder = sweep.folder / sweep.runs[0].name
    assert foretold == pytest.approx(sum(it.stat().st_size for it in folder.iterdir()), rel=0.2)


def test_what_a_run_warns_of_a_sweep_warns_of_once(sweep_of):
    path = sweep_of(
        prompt="abcde fghij klmno pq",
        negative_prompt="rain",
        guidance_scale=1,
        guidance_rescale=0.5,
        sweep={"seed": [1, 2]},
    )
    sweep, told = load_sweep(path), []
    Sweeper(told.append).run(sweep, prepare_all(sweep))
    assert [event.message for event in told if isinstance(event, Warned)] == [
        "negative_prompt: has no effect with guidance_scale 1",
        "guidance_rescale: has no effect with guidance_scale 1",
        "prompt: longer than the model's 16 tokens; left out: 'o pq'",
    ]


def test_no_numbers_of_another_config_are_left_when_runs_are_made_over(
    sweep_of, tmp_path, monkeypatch
):
    path = sweep_of(sweep={"seed": [1, 2]})
    made(path)
    summaries = [tmp_path / "many" / f"seed-{seed}" / "summary.safetensors" for seed in (1, 2)]
    assert all(each.is_file() for each in summaries)

    def failing(*rest):
        raise OSError(28, "No space left on device", "there")

    monkeypatch.setattr("sdloop.job.many.workshop.write_run", failing)
    _, failed = made(sweep_of(sweep={"seed": [1, 2]}, prompt="a dog"), overwrite=True)
    assert len(failed) == 2
    assert not any(each.exists() for each in summaries)
