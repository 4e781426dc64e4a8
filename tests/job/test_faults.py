"""Disks that are full, limited or read-only: real ones, small."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile

import pytest

from scripts.faults.kills import contents
from sdloop import render as render_module
from sdloop import run as run_module
from sdloop.model.predictor import UNetPredictor


@pytest.fixture
def disk(tmp_path):
    """Return a function that mounts a small disk or changes the one that is mounted."""
    place = tmp_path / "disk"
    place.mkdir(exist_ok=True)

    def mount(options):
        again = ["-o", f"remount,{options}"] if place.is_mount() else ["-o", options]
        command = ["mount", "-t", "tmpfs", *again, "tmpfs", place]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode != 0:
            pytest.skip(f"a disk of its own cannot be mounted here: {made.stderr.strip()}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def arguments(tiny_config, tmp_path):
    """Return the command line of a run on the small disk."""
    return [str(tiny_config), f"output={tmp_path / 'disk/run'}", "export.png_frames=true"]


@pytest.fixture
def expected(arguments, tmp_path):
    """Return the files of a run that had room enough."""
    assert run_module.main(arguments) == 0
    files = contents(tmp_path / "disk/run")
    shutil.rmtree(tmp_path / "disk/run")
    return files


def assert_only_whole_files(folder, expected):
    """Hold what is under final names against a run that had room; nothing else may be left."""
    for name, content in contents(folder).items():
        assert name == ".progress" or content == expected[name], f"{name} is not whole"


def test_full_disk_is_named_and_loses_nothing_that_was_finished(
    arguments, tmp_path, expected, disk, capsys
):
    needed = sum(-(-len(content) // 4096) * 4096 for content in expected.values())
    failures = 0
    for size in (8192, *range(20_480, needed + 65_536, needed // 9 // 4096 * 4096)):
        folder = disk(f"size={size}") / "run"
        before = set(contents(folder)) - {".progress"}
        code, error = run_module.main(arguments), capsys.readouterr().err.splitlines()
        if code == 0:
            break
        assert code == 1
        assert error[-1].startswith(f"error: {folder}")
        assert error[-1].endswith(": No space left on device")
        assert [line for line in error[:-1] if "carries on at row" not in line] == []
        assert_only_whole_files(folder, expected)
        assert before <= set(contents(folder))
        failures += 1
    assert failures >= 6
    disk("size=16m")
    assert run_module.main(arguments) == 0
    assert contents(folder) == expected


def test_full_disk_leaves_the_exports_as_they_were_before(
    arguments, tmp_path, expected, disk, capsys
):
    folder = disk("size=16m") / "run"
    assert run_module.main(arguments) == 0
    used = sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))
    disk(f"size={used + 8192}")
    capsys.readouterr()
    assert render_module.main([str(folder), "export.scale=8", "export.png_frames=false"]) == 1
    assert capsys.readouterr().err == f"error: {folder / 'frames.gif'}: No space left on device\n"
    assert contents(folder) == expected


def test_full_temporary_folder_is_named(arguments, tmp_path, disk, capsys, monkeypatch):
    full = disk("size=4096")
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    arguments[1] = f"output={tmp_path / 'run'}"
    assert run_module.main(arguments) == 1
    assert capsys.readouterr().err == f"error: {full}: No space left on device\n"
    assert not (tmp_path / "run/frames.gif").exists()


def test_read_only_disk_is_named_before_any_work(arguments, disk, capsys, monkeypatch):
    folder = disk("size=1m,ro")
    monkeypatch.setattr("sdloop.job.engine.load", None)
    assert run_module.main(arguments) == 2
    error = capsys.readouterr().err
    assert f"{folder} cannot be written to: Read-only file system" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "limit", [5000, *(pytest.param(limit, marks=pytest.mark.slow) for limit in (40_000, 90_000))]
)
def test_limit_on_a_files_size_is_named(arguments, tmp_path, expected, limit):
    folder = tmp_path / "disk/run"

    def set_limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "sdloop.run", *arguments]
    # a measurement of coverage would meet the limit with a file of its own
    unmeasured = {key: it for key, it in os.environ.items() if key != "COVERAGE_PROCESS_START"}
    ended = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=set_limit, env=unmeasured
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {folder}{os.sep}")
    assert ended.stderr.endswith(": File too large\n")
    assert ended.stderr.count("\n") == 1
    assert_only_whole_files(folder, expected)
    assert run_module.main(arguments) == 0
    assert contents(folder) == expected


def test_folder_that_vanishes_under_a_run_is_made_again(arguments, tmp_path, expected, monkeypatch):
    folder, real, left = tmp_path / "disk/run", UNetPredictor.__call__, [3]

    def predict(*inputs):
        left[0] -= 1
        if not left[0]:
            shutil.rmtree(folder)
        return real(*inputs)

    monkeypatch.setattr(UNetPredictor, "__call__", predict)
    assert run_module.main(arguments) == 0
    assert contents(folder) == expected


@pytest.mark.parametrize(
    "refusal",
    [
        NotImplementedError("FileSystem does not appear to support flock"),
        OSError(errno.ENOSYS, "Function not implemented"),
        OSError(errno.ENOLCK, "No locks available"),
    ],
)
def test_file_system_without_locks_is_one_line(tiny_config, monkeypatch, capsys, refusal, tmp_path):
    def refuse(lock, **options):
        raise refusal

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert run_module.main([str(tiny_config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "its file system has no locks (flock)" in line
    assert not (tmp_path / "run").exists()


def test_compiling_without_a_compiler_is_one_line(tiny_config, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert run_module.main([str(tiny_config), "compile=true"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: compile = true: needs a C++ compiler, and there is no g++")
