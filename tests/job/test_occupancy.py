"""Whose files are in a folder: a run's, which may be replaced, or the user's."""

import pytest

from sdloop.run import main


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["index.html", "config.yaml", "frames/007.png", "strip.png"])
def test_overwriting_touches_no_file_of_the_users(tiny_config, tmp_path, capsys, name):
    mine = tmp_path / "run" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("prompt: mine")
    options = ["--overwrite", "export.png_frames=true", "scheduler.num_steps=9"]
    before = contents(tmp_path / "run")
    assert main([str(tiny_config), *options, "export.stages=null"]) == 2
    assert f"holds {name}, which no run wrote; use another folder" in capsys.readouterr().err
    assert contents(tmp_path / "run") == before


def test_run_beside_other_files_leaves_them(tiny_config, tmp_path):
    for name in ("frames/007.png", "differences/notes.txt", "thesis.tex"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("mine")
    before = contents(tmp_path / "run")
    assert main([str(tiny_config), "--overwrite"]) == 0
    assert main([str(tiny_config), "--overwrite", "seed=9"]) == 0
    after = contents(tmp_path / "run")
    assert {path: after[path] for path in before} == before


def test_config_of_the_users_is_no_run(tiny_config, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text(tiny_config.read_text())
    assert main([str(tiny_config)]) == 2
    assert "holds files that are no run" in capsys.readouterr().err


def test_moved_or_respelled_folder_is_the_same_run(tiny_config, tmp_path, capsys, monkeypatch):
    assert main([str(tiny_config)]) == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    for output in ("elsewhere", "./elsewhere", str(tmp_path / "elsewhere")):
        assert main([str(tiny_config), f"output={output}"]) == 0
        assert "is finished" in capsys.readouterr().err
