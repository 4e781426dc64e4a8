"""Runs that were cut off, and the same command again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scripts.faults.kills import contents
from sdloop import render as render_module
from sdloop import run as run_module
from sdloop.machine.files import check_writable, replacing
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.sampler.answer import Replay
from sdloop.sampler.loop import initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from tests.oracles import config_of, make_oracle

CARRIES_ON = "interrupted; run the same command again to carry on\n"


@pytest.fixture
def calls(monkeypatch):
    """Count the UNet's calls; where `end_at` is set, that call ends the process's run."""

    class Calls:
        count, end_at, number = 0, None, signal.SIGTERM

    seen, real = Calls(), UNetPredictor.__call__

    def predict(*arguments):
        seen.count += 1
        if seen.count == seen.end_at:
            os.kill(os.getpid(), seen.number)
        return real(*arguments)

    monkeypatch.setattr(UNetPredictor, "__call__", predict)
    return seen


@pytest.fixture
def finished(tiny_config, tmp_path):
    """Return a function that makes the same run elsewhere, uninterrupted, and its files."""

    def make(*overrides):
        folder = tmp_path / "run"
        assert run_module.main([str(tiny_config), *overrides]) == 0
        files = contents(folder)
        shutil.rmtree(folder)
        return files

    return make


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["scheduler.type=euler_a", "export.stages=[0, 4]", "guidance_rescale=0.7"],  # fresh noise
        ["scheduler.skip_prk_steps=false"],
        ["scheduler.type=heun", "capture=attention"],
        pytest.param(["guidance_scale=1"], marks=pytest.mark.slow),
        pytest.param(["dtype=bfloat16"], marks=pytest.mark.slow),
    ],
)
def test_run_carries_on_behind_its_last_row(tiny_config, tmp_path, capsys, calls, finished, overrides):  # fmt: skip  # noqa: E501
    expected = finished(*overrides)
    rows, calls.count, calls.end_at = calls.count, 0, 4
    assert run_module.main([str(tiny_config), *overrides]) == 143
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".progress"]
    assert capsys.readouterr().err == CARRIES_ON
    calls.count, calls.end_at = 0, None
    assert run_module.main([str(tiny_config), *overrides]) == 0
    assert calls.count == rows - 3
    assert capsys.readouterr().err == f"{tmp_path / 'run'}: carries on at row 3\n"
    assert contents(tmp_path / "run") == expected


def test_run_killed_again_and_again_makes_every_row_once(tiny_config, tmp_path, calls, finished):
    expected = finished()
    calls.end_at = 2
    for _ in range(5):
        calls.count = 0
        assert run_module.main([str(tiny_config)]) == 143
    calls.count = 0
    assert run_module.main([str(tiny_config)]) == 0
    assert calls.count == 1
    assert contents(tmp_path / "run") == expected


@pytest.mark.parametrize(
    "stage",
    ["model.vae.decode_batches", "show.figure.strip.write_strip", "job.manifest.write_manifest"],
)
def test_run_cut_off_after_the_loop_calls_the_unet_no_more(
    tiny_config, tmp_path, monkeypatch, calls, finished, stage
):
    expected = finished()
    with monkeypatch.context() as patch:
        patch.setattr(f"sdloop.{stage}", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        assert run_module.main([str(tiny_config)]) == 130
    assert (tmp_path / "run/trajectory.safetensors").exists()
    assert not (tmp_path / "run/manifest.json").exists()
    calls.count = 0
    assert run_module.main([str(tiny_config)]) == 0
    assert calls.count == 0
    assert contents(tmp_path / "run") == expected


def test_killed_process_leaves_what_the_same_command_needs(tiny_config, tmp_path, finished, calls):
    expected = finished()
    rows = calls.count
    code = (
        "import os, sys, time\nfrom sdloop import run\n"
        "from sdloop.model.predictor import UNetPredictor\n"
        "real, left = UNetPredictor.__call__, [3]\n"
        "def rows_on_disk():\n"
        "    _, _, rows = open(sys.argv[2], 'rb').read().partition(b'\\n')\n"
        "    return len(rows) // int(sys.argv[3])\n"
        "def predict(*arguments):\n"
        "    if not left[0]:\n"
        "        while rows_on_disk() < 2:  # a thread writes them\n            time.sleep(0.01)\n"
        "        os.kill(os.getpid(), 9)\n"
        "    left[0] -= 1\n    return real(*arguments)\n"
        "UNetPredictor.__call__ = predict\nrun.main(sys.argv[1:2])"
    )
    row_bytes = 4 + 4 * 2 * 4 * 8 * 8  # a checksum; float32, both halves
    ended = subprocess.run(
        [sys.executable, "-c", code, tiny_config, tmp_path / "run/.progress", str(row_bytes)],
        capture_output=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock", ".progress"}
    calls.count = 0
    assert run_module.main([str(tiny_config)]) == 0
    assert 0 < rows - 3 <= calls.count <= rows - 2  # the last row may not have got to the disk
    assert contents(tmp_path / "run") == expected


def test_finished_run_is_not_made_again(tiny_config, tmp_path, capsys, calls):
    assert run_module.main([str(tiny_config)]) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    (tmp_path / "run/.progress").write_bytes(b"left by a kill before it was removed\n")
    calls.count = 0
    assert run_module.main([str(tiny_config)]) == 0
    assert calls.count == 0
    assert "is finished; --overwrite makes it again" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before
    assert run_module.main([str(tiny_config), "--overwrite"]) == 0
    assert calls.count == 6


@pytest.mark.parametrize("name", ["frames.gif", "guidance.png"])
def test_run_that_lost_a_file_is_made_again(tiny_config, tmp_path, finished, name):
    expected = finished()
    assert run_module.main([str(tiny_config)]) == 0
    (tmp_path / "run" / name).unlink()
    assert run_module.main([str(tiny_config)]) == 0
    assert contents(tmp_path / "run") == expected


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"versions": {"torch": "1.0"}}, "made with torch 1.0, which is now"),
        ({"device_name": "abacus"}, "made with device_name abacus, which is now"),
        ({"weights_sha256": {}}, "made with text_encoder/model.safetensors None, which is now"),
    ],
)
def test_run_made_with_something_else_is_not_taken_for_this_one(
    tiny_config, tmp_path, capsys, changed, said
):
    assert run_module.main([str(tiny_config)]) == 0
    path = tmp_path / "run/manifest.json"
    manifest = json.loads(path.read_text())
    for key, value in changed.items():
        manifest[key] = manifest[key] | value if value and isinstance(value, dict) else value
    path.write_text(json.dumps(manifest))
    assert run_module.main([str(tiny_config)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"versions": 3}', "[" * 100_000])
def test_damaged_manifest_is_named(tiny_config, tmp_path, capsys, content):
    assert run_module.main([str(tiny_config)]) == 0
    (tmp_path / "run/manifest.json").write_text(content)
    assert run_module.main([str(tiny_config)]) == 2
    assert "manifest.json is damaged" in capsys.readouterr().err


def test_rows_of_changed_weights_are_not_taken(tiny_config, model_folder, tmp_path, calls):
    model = shutil.copytree(model_folder, tmp_path / "model")
    arguments = [str(tiny_config), f"model={model}"]
    calls.end_at = 3
    assert run_module.main(arguments) == 143
    os.utime(model / "unet/diffusion_pytorch_model.safetensors")
    calls.count, calls.end_at = 0, None
    assert run_module.main(arguments) == 0
    assert calls.count == 6


def test_unfinished_run_of_another_config_is_not_given_up(tiny_config, tmp_path, capsys, calls):
    calls.end_at = 3
    assert run_module.main([str(tiny_config)]) == 143
    before = (tmp_path / "run/.progress").read_bytes()
    assert run_module.main([str(tiny_config), "seed=8"]) == 2
    assert "holds an unfinished run of another config" in capsys.readouterr().err
    assert (tmp_path / "run/.progress").read_bytes() == before
    assert run_module.main([str(tiny_config), "seed=8", "--overwrite"]) == 0
    assert not (tmp_path / "run/.progress").exists()


def test_what_is_drawn_may_change_on_the_way(tiny_config, tmp_path, calls, finished):
    expected = finished("difference.reduce=max")
    calls.count, calls.end_at = 0, 5
    assert run_module.main([str(tiny_config)]) == 143
    calls.count = 0
    assert run_module.main([str(tiny_config), "difference.reduce=max"]) == 0
    assert calls.count == 2
    assert contents(tmp_path / "run") == expected


def test_overwriting_keeps_the_old_run_until_the_new_one_is_sampled(tiny_config, tmp_path, calls):
    assert run_module.main([str(tiny_config)]) == 0
    before = contents(tmp_path / "run")
    arguments = [str(tiny_config), "seed=8", "--overwrite"]
    calls.count, calls.end_at = 0, 5
    assert run_module.main(arguments) == 143
    after = contents(tmp_path / "run")
    assert after.pop(".progress")
    assert after == before
    calls.count = 0
    assert run_module.main(arguments) == 0
    assert calls.count == 2


def test_second_process_says_so_and_stops(tiny_config, tmp_path, capsys):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom sdloop.job.occupancy import occupy\n"
        "with occupy(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    assert run_module.main([str(tiny_config)]) == 0
    before = contents(tmp_path / "run")
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "run"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == b"held\n"
        for main, arguments in (
            (run_module.main, [str(tiny_config)]),
            (run_module.main, [str(tiny_config), "seed=9", "--overwrite"]),
            (render_module.main, [str(tmp_path / "run"), "difference.scale=global"]),
        ):
            assert main(arguments) == 2
            error = capsys.readouterr().err
            assert "another process is working there" in error
            assert error.count("\n") == 1
    finally:
        holder.kill()  # a killed process holds nothing
        holder.wait()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {*before, ".lock"}
    assert render_module.main([str(tmp_path / "run")]) == 0
    assert contents(tmp_path / "run") == before


def test_what_a_killed_process_was_writing_is_removed(tiny_config, tmp_path, finished):
    expected = finished()
    folder = tmp_path / "run"
    with replacing(folder / "frames.gif") as temporary:
        temporary.write_bytes(b"half")
        half = temporary.with_name(temporary.name.replace("frames", "strip"))
        half.write_bytes(b"half a strip")
    (folder / "frames.gif").unlink()
    assert run_module.main([str(tiny_config)]) == 0
    assert contents(folder) == expected


def test_replacing_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_links_in_a_strangers_folder_are_not_followed(tiny_config, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "000.png").write_bytes(b"mine")
    (tmp_path / "note.txt").write_bytes(b"mine too")
    folder, arguments = tmp_path / "run", [str(tiny_config), "export.png_frames=true"]
    assert run_module.main(arguments) == 0
    shutil.rmtree(folder / "frames")
    (folder / "frames").symlink_to(outside)
    (folder / "strip.png").unlink()
    (folder / "strip.png").symlink_to(tmp_path / "note.txt")
    assert run_module.main([*arguments, "--overwrite"]) == 0
    assert (outside / "000.png").read_bytes() == b"mine"
    assert (tmp_path / "note.txt").read_bytes() == b"mine too"
    assert len(list((folder / "frames").iterdir())) == 7


@pytest.mark.parametrize("sampler", ["ddim", "plms", "prk"])
def test_rows_that_are_known_are_not_asked_about_again(models, sampler):
    oracle = make_oracle(sampler, "epsilon", "leading", 1, False)
    table = make_table(read_settings(config_of(oracle)), 4)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a b"], [""])
    z = initial_noise([3], 4, 8, 8)
    predict = UNetPredictor(models.unet, embeddings, table.timesteps, guided=True)
    whole = list(walk(predict, table, z, 4.0))
    known = [step.answer for step in whole]
    for count in range(len(table) + 1):
        asked = []

        def ask(z, row, asked=asked):
            asked.append(row)
            return predict(z, row)

        resumed = walk(Replay(ask, known[:count], z.device), table, z, 4.0)
        for step, expected in zip(resumed, whole, strict=True):
            for name in ("z", "z0_hat", "guidance", "returned"):
                assert torch.equal(getattr(step, name), getattr(expected, name))
        assert asked == list(range(count, len(table)))


def test_unwritable_folders_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    from sdloop.machine.errors import UserError

    with pytest.raises(UserError, match="is not a folder"):
        check_writable(Path(tmp_path / "file/run"))
