"""The two commands, as a user calls them."""

import gc
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import weakref
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from sdloop import render as render_module
from sdloop import run as run_module
from sdloop.job.config import RunConfig
from sdloop.job.config_file import load_config
from sdloop.job.events import Finished, FramesDecoded, StageBegan, StageEnded, StepMade
from sdloop.job.folder import RunFiles
from sdloop.job.plan import prepare
from sdloop.job.runner import Runner
from sdloop.model.predictor import UNetPredictor
from sdloop.model.vae import decode_batches, decode_latents
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.difference import difference_maps
from sdloop.show.file_names import ANIMATIONS
from sdloop.show.film.gif import enlarge

EXPORTS = [
    path.name for path in RunFiles.of_config(Path(), RunConfig(prompt="a cat"), rows=6).linked
]
EVERYTHING = {*EXPORTS, "config.yaml", "manifest.json", "trajectory.safetensors"}
CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def shell(*arguments, **options):
    """Run a command of the package in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True, text=True, timeout=600, **options,
    )  # fmt: skip


def contents(folder, names=EXPORTS):
    return {name: (folder / name).read_bytes() for name in names}


def test_run_leaves_the_folder_of_the_design(tiny_config, tmp_path, models):
    assert run_module.main([str(tiny_config), "decode.batch_size=1"]) == 0
    folder = tmp_path / "run"
    assert {entry.name for entry in folder.iterdir()} == EVERYTHING
    trajectory = Trajectory.load(folder / "trajectory.safetensors")
    assert trajectory.latents.shape == (7, 4, 8, 8)  # 5 PLMS steps: 6 rows
    for name, count in (("frames.gif", 7), ("difference.gif", 6), ("evolution.gif", 6)):
        with Image.open(folder / name) as animation:
            assert animation.n_frames == count
    maps = difference_maps(torch.cat(list(decode_batches(models.vae, trajectory.latents))))
    with Image.open(folder / "difference.gif") as animation:
        for row in range(6):
            animation.seek(row)
            pixels = np.asarray(animation.convert("RGB"))
            np.testing.assert_array_equal(pixels, enlarge(maps.rgb[row], 4))
    assert len((folder / "steps.csv").read_text().splitlines()) == 7
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["device"] == "cpu"
    assert manifest["dtype"] == "float32"
    assert manifest["rows"] == 6
    assert len(manifest["weights_sha256"]) == 3
    assert {"load", "denoise", "decode"} <= set(manifest["timings_ms"])
    assert manifest["versions"]["torch"] == torch.__version__


def test_run_returns_its_folder(tiny_config, tmp_path):
    result = Runner().run(prepare(load_config(tiny_config)))
    assert result.folder == tmp_path / "run"
    assert result.config.prompt == "a cat"
    assert result.trajectory.latents.shape == (7, 4, 8, 8)
    assert "srcdoc" in result._repr_html_()


def test_saved_config_gives_the_same_run_again(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config)]) == 0
    folder = tmp_path / "run"
    before = contents(folder, EVERYTHING - {"manifest.json"})
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["height"] == 64
    assert saved["scheduler"]["skip_prk_steps"] is True
    assert saved["device"] == "cpu"
    assert run_module.main([str(folder / "config.yaml"), "--overwrite"]) == 0
    assert contents(folder, EVERYTHING - {"manifest.json"}) == before


def test_render_again_is_identical_and_needs_no_unet(tiny_config, tmp_path, monkeypatch):
    assert run_module.main([str(tiny_config)]) == 0
    folder = tmp_path / "run"
    before = contents(folder)
    for name in EXPORTS:
        (folder / name).unlink()
    monkeypatch.setattr(UNetPredictor, "__call__", None)
    monkeypatch.setattr("sdloop.model.networks.load", None)
    assert render_module.main([str(folder)]) == 0
    assert contents(folder) == before


def test_render_with_another_scale_changes_the_maps_alone(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config)]) == 0
    folder = tmp_path / "run"
    before = contents(folder)
    assert render_module.main([str(folder), "difference.scale=global"]) == 0
    after = contents(folder)
    differing = {"difference.gif", "evolution.gif", "strip.png", "index.html"}
    for name in EXPORTS:  # every picture carries its settings, but these show others
        if name.endswith((".gif", ".png")):
            pictures = [iio.imread(each[name], extension=name[-4:]) for each in (before, after)]
            assert np.array_equal(*pictures) == (name not in differing), name
        else:
            assert (before[name] == after[name]) == (name not in differing), name
    assert yaml.safe_load((folder / "config.yaml").read_text())["difference"]["scale"] == "global"
    assert render_module.main([str(folder), "difference.scale=image"]) == 0
    assert contents(folder) == before


@pytest.mark.parametrize("override", ["prompt=x", "seed=3", "scheduler.num_steps=3"])
def test_render_refuses_what_would_change_the_sampling(tiny_config, tmp_path, capsys, override):
    assert run_module.main([str(tiny_config)]) == 0
    assert render_module.main([str(tmp_path / "run"), override]) == 2
    assert "render cannot change" in capsys.readouterr().err


def test_render_of_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert render_module.main([str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_render_refuses_a_trajectory_of_another_scheduler(tiny_config, tmp_path, capsys):
    assert run_module.main([str(tiny_config)]) == 0
    other = [f"output={tmp_path / 'other'}", "scheduler.timestep_spacing=trailing"]
    assert run_module.main([str(tiny_config), *other]) == 0
    file = "trajectory.safetensors"
    (tmp_path / "run" / file).write_bytes((tmp_path / "other" / file).read_bytes())
    before = contents(tmp_path / "run")
    assert render_module.main([str(tmp_path / "run")]) == 2
    assert "was not made with config.yaml's scheduler" in capsys.readouterr().err
    assert contents(tmp_path / "run") == before


def test_commands_without_a_config_or_folder_say_what_is_missing(capsys):
    assert run_module.main(["seed=3"]) == 2
    assert capsys.readouterr().err.startswith("error: no config given; for example: ")
    assert render_module.main(["export.scale=2"]) == 2
    assert capsys.readouterr().err.startswith("error: no run folder given; for example: ")


def test_png_frames_where_asked(tiny_config, tmp_path, models):
    options = ["export.png_frames=true", "decode.batch_size=1"]
    assert run_module.main([str(tiny_config), *options]) == 0
    folder = tmp_path / "run"
    assert len(list((folder / "frames").glob("*.png"))) == 7
    assert len(list((folder / "differences").glob("*.png"))) == 6
    latents = Trajectory.load(folder / "trajectory.safetensors").latents
    images = decode_latents(models.vae, latents, batch_size=1)
    np.testing.assert_array_equal(iio.imread(folder / "frames/006.png"), images[6])


def test_every_format_is_written_and_overwriting_removes_them_all(tiny_config, tmp_path):
    formats = ["gif", "webp", "apng", "mp4"]
    assert run_module.main([str(tiny_config), f"export.formats=[{', '.join(formats)}]"]) == 0
    folder = tmp_path / "run"
    expected = EVERYTHING | {f"{name}.{suffix}" for name in ANIMATIONS for suffix in formats}
    assert {entry.name for entry in folder.iterdir()} == expected
    for suffix in ("webp", "apng"):
        with Image.open(folder / f"evolution.{suffix}") as animation:
            assert animation.n_frames == 6
    assert run_module.main([str(tiny_config), "export.formats=[webp]", "--overwrite"]) == 0
    expected = EVERYTHING - set(EXPORTS) | {name.replace(".gif", ".webp") for name in EXPORTS}
    assert {entry.name for entry in folder.iterdir()} == expected


def test_film_without_its_library_is_refused_before_any_work(
    tiny_config, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sdloop.job.plan.find_spec", lambda name: None)
    assert run_module.main([str(tiny_config), "export.formats=[gif, mp4]"]) == 2
    assert "pip install 'sdloop[mp4]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_runs_are_shown_on_one_page_and_left_alone(tiny_config, tmp_path, capsys):
    for name in ("a", "b"):
        arguments = [str(tiny_config), f"output={tmp_path / name}", f"seed={len(name)}"]
        assert run_module.main(arguments) == 0
    before = contents(tmp_path / "a", EVERYTHING)
    folders = [str(tmp_path / name) for name in ("a", "b")]
    assert render_module.main(["--page", str(tmp_path / "compare.html"), *folders]) == 0
    assert contents(tmp_path / "a", EVERYTHING) == before
    assert "a, b · sdloop" in (tmp_path / "compare.html").read_text()
    assert render_module.main(["--page", str(tmp_path / "compare.gif"), *folders]) == 2
    assert "must end in .html" in capsys.readouterr().err
    assert render_module.main(["--page", str(tmp_path / "c.html"), str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_z0_hat_need_not_be_decoded(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "decode.z0_hat=off"]) == 0
    page = (tmp_path / "run/index.html").read_text()
    assert '"z0_hat":null' in page


def test_size_and_scale_are_honoured(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "height=96", "width=64", "export.scale=2"]) == 0
    with Image.open(tmp_path / "run/frames.gif") as animation:
        assert animation.size == (128, 192)


def test_small_pictures_are_enlarged_unless_told_otherwise(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config)]) == 0
    with Image.open(tmp_path / "run/frames.gif") as animation:
        assert animation.size == (256, 256)  # of 64
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["export"]["scale"] == 4


def test_negative_prompt_without_guidance_warns(tiny_config, capsys):
    assert run_module.main([str(tiny_config), "guidance_scale=1", "negative_prompt=rain"]) == 0
    assert "negative_prompt: has no effect" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["guidance.png", "frames/003.png", "differences/000.png"])
def test_finished_run_that_lost_any_file_is_made_again(tiny_config, tmp_path, lost):
    options = [str(tiny_config), "export.png_frames=true"]
    assert run_module.main(options) == 0
    whole = (tmp_path / "run" / lost).read_bytes()
    (tmp_path / "run" / lost).unlink()
    assert run_module.main(options) == 0
    assert (tmp_path / "run" / lost).read_bytes() == whole


def test_render_removes_what_the_config_no_longer_names(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "export.png_frames=true"]) == 0
    folder = tmp_path / "run"
    (folder / "frames/notes.png").write_bytes(b"mine")
    options = ["export.formats=[webp]", "difference.scale=global", "export.png_frames=false"]
    assert render_module.main([str(folder), *options]) == 0
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    webp = {name.replace(".gif", ".webp") for name in EVERYTHING}
    assert left == webp | {"frames/notes.png"}


def test_library_leaves_the_process_as_it_was(tiny_config, capsys):
    class Cycle:
        pass

    cycle = Cycle()
    cycle.itself, gone = cycle, weakref.ref(cycle)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    del cycle
    Runner().run(prepare(load_config(tiny_config)))
    gc.collect()
    assert gone() is None
    assert gc.get_freeze_count() == 0
    assert gc.isenabled()
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert capsys.readouterr() == ("", "")


def test_listener_is_told_of_every_stage_and_step(tiny_config, tmp_path):
    told = []
    Runner(told.append).run(prepare(load_config(tiny_config)))
    steps = [event.step.row for event in told if isinstance(event, StepMade)]
    assert steps == list(range(6))
    began = [event.name for event in told if isinstance(event, StageBegan)]
    ended = [event.name for event in told if isinstance(event, StageEnded)]
    assert began == ended
    assert {"import", "load", "text", "denoise", "decode", "measure", "page"} <= set(began)
    assert sum(event.count for event in told if isinstance(event, FramesDecoded)) == 7 + 6
    assert told[-1] == Finished(tmp_path / "run", told[-1].timings_ms)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_is_one_line(tiny_config, tmp_path, capsys, monkeypatch, number):
    monkeypatch.setattr(UNetPredictor, "__call__", lambda *_: os.kill(os.getpid(), number))
    assert run_module.main([str(tiny_config)]) == 128 + number
    assert capsys.readouterr().err == "interrupted; run the same command again to carry on\n"
    assert not (tmp_path / "run").exists()


def test_run_of_another_config_is_not_overwritten(tiny_config, tmp_path, capsys):
    assert run_module.main([str(tiny_config)]) == 0
    before = contents(tmp_path / "run", EVERYTHING)
    assert run_module.main([str(tiny_config), "seed=99"]) == 2
    assert "another config" in capsys.readouterr().err
    assert contents(tmp_path / "run", EVERYTHING) == before
    assert run_module.main([str(tiny_config), "seed=99", "--overwrite"]) == 0
    assert contents(tmp_path / "run")["frames.gif"] != before["frames.gif"]


def test_overwriting_leaves_nothing_of_the_earlier_run(tiny_config, tmp_path):
    options = ["export.png_frames=true", "decode.batch_size=1"]
    assert run_module.main([str(tiny_config), *options]) == 0
    assert run_module.main([str(tiny_config), "seed=99", "--overwrite"]) == 0
    assert not list((tmp_path / "run").rglob("0*.png"))


def test_folder_with_other_files_is_not_touched(tiny_config, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.tex").write_text("years of work")
    assert run_module.main([str(tiny_config)]) == 2
    assert "files that are no run" in capsys.readouterr().err
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_long_prompt_warns_with_the_text_that_was_cut(tiny_config, capsys):
    assert run_module.main([str(tiny_config), "prompt=abcde fghij klmno pq"]) == 0
    assert "left out: 'o pq'" in capsys.readouterr().err


def test_values_that_are_not_finite_are_named(tiny_config, tmp_path, capsys, monkeypatch):
    real = UNetPredictor.__call__

    def broken(predict, z, row):
        returned = real(predict, z, row)
        return torch.full_like(returned, torch.nan) if row >= 3 else returned

    monkeypatch.setattr(UNetPredictor, "__call__", broken)
    assert run_module.main([str(tiny_config)]) == 2
    # 5 steps, offset 1: 801, 601, 601, 401
    assert "row 3 (timestep 401) gave values that are not finite" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sede=1"], "did you mean seed"),
        (["guidance_scale=abc"], "guidance_scale = 'abc'"),
        (["model=/no/such/folder"], "model = /no/such/folder"),
        (["height=100"], "height = 100: allowed: multiples of 8"),
        (["export.stages=[0, 6]"], "stage 6 is beyond the last row; allowed: 0 to 5"),
        (["device=cuda:99"], "device = cuda:99: not available"),
        (["output=/dev/null/run"], "/dev/null is not a folder"),
        (["output=/proc/run"], "/proc cannot be written to"),
        (["scheduler.skip_prk_steps=false", "scheduler.num_steps=2"], "needs at least 4"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tiny_config, tmp_path, arguments, said):
    before = set(tmp_path.iterdir())
    result = shell("sdloop.run", tiny_config, *arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert set(tmp_path.iterdir()) == before


def test_several_configs_run_one_after_the_other(tiny_config, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "\n".join(
        line for line in tiny_config.read_text().splitlines() if not line.startswith("output")
    )
    for name in ("a", "b"):
        Path(f"{name}.yaml").write_text(text)
    assert run_module.main(["a.yaml", "b.yaml", "output=same"]) == 2
    assert "a.yaml and b.yaml would write to the same folder" in capsys.readouterr().err
    assert run_module.main(["a.yaml", "b.yaml"]) == 0
    named = {name for name in EXPORTS if name != "index.html"}  # which says where its run went
    assert contents(tmp_path / "runs/a", named) == contents(tmp_path / "runs/b", named)


def test_dry_run_prints_the_resolved_config_and_loads_no_weights(tiny_config, tmp_path):
    code = (
        "import sys; from sdloop.model import networks; networks.read_weights = None;"
        "from sdloop.run import main; sys.exit(main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tiny_config), "--dry-run", "seed=5"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    printed = yaml.safe_load(result.stdout)
    assert printed["seed"] == 5
    assert printed["height"] == 64
    assert printed["scheduler"]["type"] == "pndm"
    assert not (tmp_path / "run").exists()


def test_quiet_where_stdout_is_no_terminal(tiny_config):
    result = shell("sdloop.run", tiny_config)
    assert result.returncode == 0
    assert (result.stdout, result.stderr) == ("", "")


@pytest.mark.slow
def test_command_that_cannot_print_says_so(tiny_config):
    command = [sys.executable, "-m", "sdloop.run", tiny_config, "--dry-run"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    assert result.stderr == "error: No space left on device\n"


@pytest.mark.parametrize(
    "closed",
    [*(pytest.param(each, marks=pytest.mark.slow) for each in (">&-", "2>&-")), ">&- 2>&-"],
)
def test_command_runs_where_nobody_listens(tiny_config, tmp_path, closed):
    command = f"{sys.executable} -m sdloop.run {tiny_config} {closed}"
    result = subprocess.run(command, shell=True, capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert (tmp_path / "run/manifest.json").exists()


def test_command_ends_with_what_was_to_be_done_at_the_end(tiny_config):
    code = (
        "import atexit, sys; from sdloop.run import program;"
        "atexit.register(print, 'was done'); program()"
    )
    command = [sys.executable, "-c", code, tiny_config, "sede=1"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert (result.returncode, result.stdout) == (2, "was done\n")


AS_A_SCRIPT = ["-c", "import sys; from sdloop.run import main; sys.exit(main(sys.argv[1:]))"]


@pytest.mark.slow
@pytest.mark.parametrize("command", [["-m", "sdloop.run"], AS_A_SCRIPT])
def test_triton_takes_nothing_for_a_leak_at_the_end(tiny_config, command):
    pytest.importorskip("triton", reason="Triton comes with torch's CUDA builds")
    result = subprocess.run(
        [sys.executable, *command, tiny_config], capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("", "")


def read_terminal(*arguments):
    """Run a command on a pseudo-terminal; return what a user would see."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)], stdout=follower, stderr=follower
    ) as process:
        os.close(follower)
        seen = b""
        while True:
            try:
                chunk = os.read(leader, 4096)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            seen += chunk
    os.close(leader)
    assert process.returncode == 0
    return seen.decode()


def test_terminal_shows_bars_and_a_closing_line(tiny_config, tmp_path):
    seen = read_terminal("sdloop.run", tiny_config)
    assert "denoise" in seen
    assert "6/6" in seen
    assert "13/13" in seen  # frames and z0_hat
    closing = seen.strip().splitlines()[-1]
    assert str(tmp_path / "run") in closing
    assert "decode" in closing


@pytest.mark.slow
def test_terminal_stays_empty_with_quiet(tiny_config):
    assert read_terminal("sdloop.run", tiny_config, "--quiet") == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["sede=1"],
        ["model=/no/such/folder"],
        ["device=cuda:99"],
        ["height=100"],
        ["export.stages=[99]"],
        ["scheduler.num_steps=2000"],
    ],
)
def test_help_and_errors_import_nothing_heavy(tiny_config, arguments):
    code = (
        "import sys; from sdloop.run import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as stop: code = 2 if stop.code else 0\n"
        "heavy = {'torch', 'transformers', 'diffusers', 'imageio', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tiny_config), *arguments], capture_output=True, text=True
    )
    assert result.returncode == (0 if arguments == ["--help"] else 2), result.stderr


def test_importing_the_package_imports_no_torch():
    code = "import sys, sdloop; assert 'torch' not in sys.modules; assert 'denoise' in dir(sdloop)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_can_be_had():
    import sdloop

    for name in sdloop.__all__:
        assert getattr(sdloop, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        _ = sdloop.nothing


@pytest.mark.parametrize(
    "path",
    [path for path in CONFIGS if not path.stem.startswith("sweep")],
    ids=lambda path: path.stem,
)
def test_shipped_configs_resolve(path, capsys):
    assert run_module.main([str(path), "--dry-run"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["height"] in (128, 256)


@pytest.mark.parametrize(
    "path",
    [path for path in CONFIGS if path.stem.startswith("sweep")],
    ids=lambda path: path.stem,
)
def test_shipped_sweeps_resolve(path):
    from sdloop.job.many.sweep import load_sweep
    from sdloop.job.many.sweeper import prepare_all

    sweep = load_sweep(path, [])
    assert len(prepare_all(sweep)) == len(sweep.runs) > 4


@pytest.mark.parametrize(
    "path", sorted((CONFIGS[0].parent / "sd15").glob("*.yaml")), ids=lambda path: path.stem
)
def test_stable_diffusion_configs_are_valid(path, model_folder, capsys):
    assert run_module.main([str(path), f"model={model_folder}", "--dry-run"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["scheduler"]["num_steps"] == 50


def test_folder_of_an_older_run_is_rendered_and_found_finished(tiny_config, tmp_path, capsys):
    assert run_module.main([str(tiny_config)]) == 0
    path = tmp_path / "run/config.yaml"
    path.write_text(path.read_text().replace("capture: []\n", "capture: [eps_cond]\n"))
    before = contents(tmp_path / "run") | {"config.yaml": None}
    assert run_module.main([str(tiny_config)]) == 0
    assert "is finished" in capsys.readouterr().err
    assert render_module.main([str(tmp_path / "run")]) == 0
    assert contents(tmp_path / "run") | {"config.yaml": None} == before
    path.write_text(path.read_text().replace("capture: []\n", "capture: [words]\n"))
    assert render_module.main([str(tmp_path / "run")]) == 2
    assert "capture.0 = 'words': must be 'attention'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("block", [0, 1])
def test_readmes_python_runs_as_written(block, tmp_path):
    root = CONFIGS[0].parents[1]
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    few = f'seed=3", "output={tmp_path}/run", "scheduler.num_steps=2", "export.stages=null'
    code = blocks[0].replace("seed=3", few)
    later = blocks[1].replace("num_steps=50", "num_steps=2") if block else ""
    done = subprocess.run(
        [sys.executable, "-c", code if not block else f"import sdloop\n{later}"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
