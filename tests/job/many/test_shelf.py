"""A sweep whose output is a URL: what is put there, what counts as finished, what is left alone."""

import fsspec
import pytest
import yaml

from sdloop import run as run_door
from sdloop import sweep as door
from sdloop.job.many.summary import Summary

URL = "memory://shelf/mine"


@pytest.fixture
def memory():
    """Return an empty file system in memory."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


@pytest.fixture
def sweep_of(tmp_path, model_folder, memory):
    """Return a function that writes the config of a small sweep that goes to the URL."""

    def write(**values):
        base = {
            "prompt": "a cat",
            "model": str(model_folder),
            "device": "cpu",
            "scheduler": {"type": "ddim", "num_steps": 1},
            "output": URL,
            "keep": ["trajectory"],
            "sweep": {"seed": [0, 1]},
        }
        path = tmp_path / "many.yaml"
        path.write_text(yaml.safe_dump(base | values, sort_keys=False))
        return str(path)

    return write


def files_at(memory):
    return {path.removeprefix("/shelf/mine/") for path in memory.find("/shelf/mine")}


def test_runs_sheets_and_table_go_to_the_url(sweep_of, memory, tmp_path):
    assert door.main([sweep_of(), "--quiet"]) == 0
    runs = {
        f"seed-{seed}/{name}"
        for seed in (0, 1)
        for name in ("config.yaml", "manifest.json", "summary.safetensors")
    }
    files = files_at(memory)
    assert runs | {
        "sweep.yaml",
        "final.png",
        "commitment.png",
        "seed-1/trajectory.safetensors",
    } <= (files)
    config = yaml.safe_load(memory.cat("/shelf/mine/seed-1/config.yaml"))
    assert config["output"] == f"{URL}/seed-1"
    assert [path.name for path in tmp_path.iterdir()] == ["many.yaml"]
    memory.get("/shelf/mine/seed-1/summary.safetensors", str(tmp_path / "summary"))
    assert Summary.load(tmp_path / "summary").final.shape[2] == 3


@pytest.mark.slow
def test_whole_runs_are_left_and_a_half_one_is_made_again(sweep_of, memory, capsys):
    path = sweep_of()
    assert door.main([path, "--quiet"]) == 0
    kept = memory.modified("/shelf/mine/seed-0/manifest.json")
    memory.rm_file("/shelf/mine/seed-1/manifest.json")  # the last file did not get there
    assert door.main([path, "--dry-run"]) == 0
    assert f"{URL}: 2 runs, 1 of them finished" in capsys.readouterr().out
    assert door.main([path]) == 0
    assert "1 of 2 runs are finished" in capsys.readouterr().err
    assert memory.modified("/shelf/mine/seed-0/manifest.json") == kept
    assert memory.exists("/shelf/mine/seed-1/manifest.json")


@pytest.mark.slow
def test_upload_that_ends_early_leaves_no_manifest(sweep_of, memory, monkeypatch, capsys):
    real = type(memory).put_file

    def failing(self, local, there, *rest, **options):
        if there.endswith("seed-1/trajectory.safetensors"):
            raise OSError(5, "connection lost")
        return real(self, local, there, *rest, **options)

    monkeypatch.setattr(type(memory), "put_file", failing)
    assert door.main([sweep_of(), "--quiet"]) == 1
    assert f"{URL}/seed-1: connection lost" in capsys.readouterr().err
    files = files_at(memory)
    assert "seed-0/manifest.json" in files
    assert "seed-1/config.yaml" in files
    assert "seed-1/manifest.json" not in files
    monkeypatch.undo()
    assert door.main([sweep_of(), "--quiet"]) == 0


@pytest.mark.slow
def test_other_runs_at_the_url_are_left_alone_unless_given_up(sweep_of, memory, capsys):
    assert door.main([sweep_of(keep=["trajectory", "strip"]), "--quiet"]) == 0
    memory.pipe_file("/shelf/mine/seed-1/notes.txt", b"mine")
    other = sweep_of(guidance_scale=2)
    assert door.main([other, "--quiet"]) == 2
    assert f"output = {URL}/seed-0: holds a run of another config" in capsys.readouterr().err
    assert door.main([other, "--quiet", "--overwrite"]) == 0
    assert b"guidance_scale: 2" in memory.cat("/shelf/mine/seed-1/config.yaml")
    files = files_at(memory)
    assert "seed-1/strip.png" not in files
    assert memory.cat("/shelf/mine/seed-1/notes.txt") == b"mine"


def test_name_that_leads_out_of_the_mirror_is_not_followed(sweep_of, memory, tmp_path):
    memory.pipe_file("/shelf/mine/seed-1/../../../../planted", b"x")
    assert door.main([sweep_of(), "--quiet"]) == 0
    assert not list(tmp_path.parent.glob("planted"))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("nowhere://x/y", "Protocol not known: nowhere"),
        ("file:///tmp/x", "is on this machine; give the folder without file"),
    ],
)
def test_url_that_cannot_be_opened_is_named(sweep_of, capsys, output, said):
    assert door.main([sweep_of(), f"output={output}"]) == 2
    assert said in capsys.readouterr().err


def test_single_run_goes_to_a_folder_alone(tiny_config, capsys):
    assert run_door.main([str(tiny_config), f"output={URL}"]) == 2
    assert "only a sweep's runs go to a URL" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--workers", "2"], ["--address", "auto"]])
def test_options_of_ray_are_refused_without_it(sweep_of, capsys, options):
    assert door.main([sweep_of(), *options]) == 2
    assert "only with --engine ray" in capsys.readouterr().err
