"""The same config gives the same bytes: run twice, in other batches, again from its own folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sdloop import render as render_module
from sdloop import run as run_module
from sdloop.job.sample import denoise
from sdloop.job.tolerance import AMONG_OTHER_SEEDS, SameAgain
from sdloop.model import vae as vae_module
from sdloop.model.text import encode_prompts
from sdloop.model.vae import decode_latents
from sdloop.sampler.loop import initial_noise
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings

TIMES = "timings_ms"
ASTRONAUT = Path(__file__).parents[2] / "configs/astronaut.yaml"


def files_of(folder):
    """Return every file of a run by name; the manifest without its times."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    manifest = json.loads(files["manifest.json"])
    assert manifest.pop(TIMES)
    return files | {"manifest.json": manifest}


def run_in(folder, config, *options, threads=1):
    """Run a config from a working folder, in a process of its own; return the run's files."""
    folder.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "sdloop.run", str(config), "output=out", *options],
        cwd=folder, check=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONHASHSEED": "random"},
    )  # fmt: skip
    return files_of(folder / "out")


@pytest.fixture(params=[1, 2])
def threads(request):
    """Let torch use this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def latents():
    """Return ten frames as wide as the random model's."""
    return torch.randn(10, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tiny_config, tmp_path):
    formats = "export.formats=[gif, webp, apng, mp4]"
    one, two = (run_in(tmp_path / name, tiny_config, formats) for name in ("one", "two"))
    assert one == two
    assert {"trajectory.safetensors", "index.html", "steps.csv"} < set(one)
    assert {"frames.gif", "frames.webp", "frames.apng", "frames.mp4"} < set(one)


def test_decode_batch_changes_no_byte(models, latents, threads):
    alone = [decode_latents(models.vae, z[None]) for z in latents]
    assert torch.equal(decode_latents(models.vae, latents, batch_size=3), torch.cat(alone))


def test_decode_batch_on_a_cpu_changes_no_file_and_says_so(tiny_config, tmp_path, capsys):
    runs = []
    for batch_size in (1, 4):
        options = [f"decode.batch_size={batch_size}", "--overwrite"]
        assert run_module.main([str(tiny_config), *options]) == 0
        runs.append(files_of(tmp_path / "run"))
    differing = {name for name in runs[0] if runs[0][name] != runs[1][name]}
    # these say which batch was asked for
    assert differing == {"config.yaml", "trajectory.safetensors", "index.html"}
    again = runs[1]["manifest.json"]["same_again"]
    assert again["decode_batches"] == [1]
    assert again["levels_in_other_batches"] == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: decode.batch_size: has no effect on a CPU")


def test_manifest_knows_a_batch_that_was_halved(tiny_config, tmp_path, monkeypatch):
    from diffusers import AutoencoderKL

    real = AutoencoderKL.decode

    def limited(vae, z):
        if len(z) > 4:
            raise torch.OutOfMemoryError("CPU out of memory")
        return real(vae, z)

    monkeypatch.setattr(AutoencoderKL, "decode", limited)
    monkeypatch.setattr(vae_module, "ignores_batch", lambda device_type: False)
    assert run_module.main([str(tiny_config), "decode.batch_size=8"]) == 0
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["same_again"]["decode_batches"] == [3, 1]  # 7 frames at once do not fit


def test_what_was_never_measured_is_not_promised():
    on_cuda = {"device": "cuda", "dtype": "float16"}
    again = SameAgain.of_run(torch.device("cuda"), [4, 4, 2], on_cuda)
    assert again == SameAgain((4, 2), None, None)
    assert SameAgain.of_run(torch.device("cpu"), [7], {}) == SameAgain((7,), 0, None)


def test_saved_config_gives_the_run_in_another_folder(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config)]) == 0
    before = files_of(tmp_path / "run")
    saved, moved = tmp_path / "run/config.yaml", tmp_path / "moved"
    assert run_module.main([str(saved), f"output={moved}"]) == 0
    after = files_of(moved)
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {"config.yaml", "trajectory.safetensors", "index.html"}  # name `output`
    back = [str(moved / "config.yaml"), f"output={tmp_path / 'run'}"]
    assert run_module.main([*back, "--overwrite"]) == 0  # or it would find the run finished
    assert files_of(tmp_path / "run") == before


def test_render_writes_the_run_again_byte_for_byte(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config)]) == 0
    before = files_of(tmp_path / "run")
    for name in set(before) - {"config.yaml", "manifest.json", "trajectory.safetensors"}:
        (tmp_path / "run" / name).unlink()
    assert render_module.main([str(tmp_path / "run")]) == 0
    assert files_of(tmp_path / "run") == before


def among_seeds_and_alone(models, seeds, num_steps, prompt):
    """Sample several seeds at once and each alone; yield the largest difference of each.

    As a share of the largest latent.
    """
    schedule = make_table(read_settings(models.source.scheduler), num_steps)
    size = models.unet.config.sample_size
    z = initial_noise(seeds, 4, size, size)
    count = len(seeds)
    together = encode_prompts(models.tokenizer, models.text_encoder, [prompt] * count, [""] * count)
    alone = encode_prompts(models.tokenizer, models.text_encoder, [prompt], [""])
    batch = denoise(models.unet, schedule, z, together).latents
    for sample in range(count):
        single = denoise(models.unet, schedule, z[sample : sample + 1], alone).latents[:, 0]
        yield float((batch[:, sample] - single).abs().max() / single.abs().max())


def test_a_seed_in_a_batch_is_the_seed_alone(models, threads):
    differences = list(among_seeds_and_alone(models, range(8), 5, "a cat"))
    assert max(differences) <= AMONG_OTHER_SEEDS["cpu", "float32"]


@pytest.mark.slow
def test_a_seed_in_a_batch_is_the_seed_alone_on_the_bundled_model(bundled):
    prompt = "an astronaut relaxing on a tropical island"
    differences = list(among_seeds_and_alone(bundled, range(6), 4, prompt))
    assert max(differences) <= AMONG_OTHER_SEEDS["cpu", "float32"]


@pytest.mark.slow
def test_two_processes_of_the_bundled_model_write_the_same_bytes(tmp_path):
    steps = ["device=cpu", "scheduler.num_steps=3", "export.stages=null"]
    one, two = (run_in(tmp_path / name, ASTRONAUT, *steps, threads=2) for name in ("one", "two"))
    assert one == two
    assert one["manifest.json"]["threads"] == 2
    saved = tmp_path / "one/out/config.yaml"
    assert run_in(tmp_path / "three", saved, threads=2) == one
