"""The exercises for a class: their commands are those that the README of configs/class gives."""

import re
import shlex
from pathlib import Path

import pytest

from sdloop.job.config_file import load_config

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "configs/class"


def commands():
    """Return the commands of the exercises' README as lists of words."""
    blocks = re.findall(r"```sh\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_commands_name_every_config_and_only_folders_that_runs_leave():
    named = {word for words in commands() for word in words if word.endswith(".yaml")}
    assert named == {str(path.relative_to(ROOT)) for path in FOLDER.glob("*.yaml")}
    left = {load_config(ROOT / name).output for name in named}
    taken = {word for words in commands() for word in words if word.startswith("runs/")}
    assert taken - left == {"runs/class/prompts.html", "runs/class/samplers.html"}


@pytest.mark.slow
def test_exercises_run_as_written(monkeypatch, tmp_path):
    from sdloop.render import main as render
    from sdloop.run import main as run

    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    fewer = ["scheduler.num_steps=4"]  # for the sake of time
    for _, _, module, *words in commands():
        forks = "--from" in words
        if forks:
            words[words.index("--at") + 1] = "2"
        main = {"sdloop.run": run, "sdloop.render": render}[module]
        assert main([*words, *(fewer if module == "sdloop.run" else [])]) == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} >= {"class", "word-at-2"}
    assert (tmp_path / "runs/class/samplers.html").exists()
