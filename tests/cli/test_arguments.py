"""What a command line's words are taken for."""

import io
import sys
from pathlib import Path

import pytest

from sdloop.cli.arguments import split_arguments
from sdloop.cli.process import exit_code_of
from sdloop.run import main


def test_paths_may_hold_equals_signs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cfg=3.yaml").touch()
    Path("seed=3").mkdir()
    texts = ["cfg=3.yaml", "seed=3", "runs/a=b", "./a=b", "seed=4", "a.b = c/d", "x" * 5000 + "=1"]
    paths, overrides = split_arguments(texts)
    assert paths == [Path("cfg=3.yaml"), Path("seed=3"), Path("runs/a=b"), Path("./a=b")]
    assert overrides == texts[4:]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "3"], "without dashes: seed=3"),
        (["--seed=3"], "without dashes: seed=3"),
        (["--scheduler.num-steps=3"], "without dashes: scheduler.num_steps=3"),
    ],
)
def test_key_given_as_an_option_is_told_how_it_is_given(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(["configs/astronaut.yaml", *words])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_other_options_are_refused_as_ever(capsys):
    with pytest.raises(SystemExit):
        main(["configs/astronaut.yaml", "--overwite"])
    assert capsys.readouterr().err.endswith("unrecognized arguments: --overwite\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_the_terminal_cannot_show_is_spelled_out(monkeypatch, encoding):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert exit_code_of(lambda: print("runs/猫 \udcff")) == 0
    stream.flush()
    assert written.getvalue() == b"runs/\\u732b \\udcff\n"
    assert stream.errors == "strict"  # as it was


def test_home_folders_are_found(tmp_path, monkeypatch, tiny_config):
    from sdloop.job.config_file import load_config
    from sdloop.job.plan import prepare

    monkeypatch.setenv("HOME", str(tmp_path))
    assert prepare(load_config(tiny_config, ["output=~/a"])).folder == tmp_path / "a"


def test_two_spellings_of_one_folder_are_a_clash(tiny_config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    texts = [tiny_config.read_text() + f"negative_prompt: n{number}\n" for number in range(3)]
    outputs = ["runs/a", "runs/b", f"{tmp_path}/runs/../runs/b"]
    for number, (text, output) in enumerate(zip(texts, outputs, strict=True)):
        lines = [line for line in text.splitlines() if not line.startswith("output")]
        Path(f"{number}.yaml").write_text("\n".join([*lines, f"output: {output}"]))
    assert main(["0.yaml", "1.yaml", "2.yaml", "--overwrite"]) == 2
    assert "1.yaml and 2.yaml would write to the same folder" in capsys.readouterr().err
