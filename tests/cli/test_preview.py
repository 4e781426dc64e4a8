"""Previews of a run that is under way."""

import os
import pty
import subprocess
import sys
import termios

import numpy as np
import pytest

import sdloop
from sdloop.cli import preview as preview_module
from sdloop.cli.preview import Preview


class Shown:
    """A screen that keeps what it is shown."""

    def __init__(self):
        self.pictures, self.words, self.ended = [], [], 0

    def begin(self):
        self.pictures, self.words = [], []

    def show(self, picture, words):
        assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
        self.pictures.append(picture)
        self.words.append(words)

    def end(self):
        self.ended += 1


def run_with(screen, config):
    return sdloop.Runner(Preview(screen)).run(sdloop.prepare(sdloop.load_config(config)))


def test_every_step_is_drawn_where_there_is_time(tiny_config, monkeypatch):
    monkeypatch.setattr(preview_module, "LARGEST_SHARE", float("inf"))
    screen = Shown()
    run = run_with(screen, tiny_config)
    rows = len(run.trajectory.z0_hat)
    assert [words.split(":")[0] for words in screen.words] == [
        f"step {row} of 0 to {rows - 1}" for row in range(rows)
    ]
    assert screen.pictures[0].shape[:2] == (64, 64)
    assert screen.ended == 1


def test_first_and_last_step_are_drawn_where_there_is_none(tiny_config, monkeypatch):
    monkeypatch.setattr(preview_module, "LARGEST_SHARE", 0.0)
    screen = Shown()
    run = run_with(screen, tiny_config)
    last = len(run.trajectory.z0_hat) - 1
    assert [words.split(" of")[0] for words in screen.words] == ["step 0", f"step {last}"]


def output_of(command):
    """Run a command in a terminal of 80 x 40; return what it writes there."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 80))
    names = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs,
        env=os.environ | names,
    )  # fmt: skip
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # Linux's way to say that nobody writes any more
        pass
    assert process.wait() == 0, written
    os.close(ours)
    return written.decode()


@pytest.mark.slow
def test_terminal_shows_half_blocks_in_24_bit_colour_and_a_pipe_nothing(tiny_config):
    command = [sys.executable, "-m", "sdloop.run", str(tiny_config), "--preview", "--overwrite"]
    written = output_of(command)
    assert "▀" in written
    assert "\x1b[38;2;" in written
    assert "what the model believes in" in written
    piped = subprocess.run(command, capture_output=True, check=True, text=True)
    assert (piped.stdout, piped.stderr) == ("", "")


def test_a_screen_that_fails_does_not_end_the_run(tiny_config, capsys):
    class Broken(Shown):
        def show(self, picture, words):
            raise ZeroDivisionError("no columns")

    screen = Broken()
    run = run_with(screen, tiny_config)
    assert (run.folder / "index.html").exists()
    assert screen.ended == 1
    assert capsys.readouterr().err == "warning: no previews: no columns\n"


def test_missing_package_is_named(tiny_config, monkeypatch):
    monkeypatch.setattr(preview_module, "find_spec", lambda name: None)
    with pytest.raises(sdloop.UserError, match=r"--preview: .*pip install 'sdloop\[preview\]'"):
        preview_module.TerminalScreen()
    with pytest.raises(sdloop.UserError, match="needs a notebook"):
        sdloop.NotebookPreview()


def test_notebook_cell_shows_steps_and_then_nothing(tiny_config, monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    monkeypatch.setattr(preview_module, "LARGEST_SHARE", float("inf"))
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            runner = sdloop.Runner(sdloop.NotebookPreview())
            run = runner.run(sdloop.prepare(sdloop.load_config(tiny_config)))
    finally:
        InteractiveShell.clear_instance()
    *pictures, last = [output.data for output in captured.outputs]
    assert len(pictures) == len(run.trajectory.z0_hat)
    assert all(picture["image/png"] for picture in pictures)
    assert last["text/html"] == ""
