"""`dtype: auto` on a CPU with fast bfloat16, from the config to the run's folder."""

import json

import pytest
import torch

from sdloop import run as run_module
from sdloop.job import engine as engine_module
from sdloop.job.config_file import load_config
from sdloop.job.forecast import estimate
from sdloop.job.plan import prepare, settle
from sdloop.machine import dtype as dtype_module
from sdloop.sampler.trajectory import Trajectory


@pytest.fixture
def fast(monkeypatch):
    """Make this CPU multiply bfloat16 fast, and the tiny model a large one."""
    monkeypatch.setattr(dtype_module, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(dtype_module, "LARGE_MODEL", 1000)


def test_auto_counts_the_weights_of_all_networks(tiny_config, models):
    networks = (models.text_encoder, models.unet, models.vae)
    expected = sum(weight.numel() for network in networks for weight in network.parameters())
    assert prepare(load_config(tiny_config)).source.count_weights() == expected


@pytest.mark.usefixtures("fast")
def test_large_model_runs_in_bfloat16_and_the_folder_says_so(tiny_config, tmp_path, monkeypatch):
    loaded = []

    def load(*arguments):
        loaded.append(real(*arguments))
        return loaded[-1]

    real = engine_module.load
    monkeypatch.setattr(engine_module, "load", load)
    assert run_module.main([str(tiny_config), "--quiet"]) == 0
    (networks,) = loaded
    for network in (networks.text_encoder, networks.unet, networks.vae):
        assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}
    kernel = networks.unet.conv_out.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["dtype"] == "bfloat16"
    assert manifest["dtype_why"].startswith("what auto takes: a CPU with fast bfloat16")
    assert manifest["difference_maps"]["decoded_in"] == "float32"
    assert load_config(tmp_path / "run/config.yaml").dtype == "bfloat16"
    trajectory = Trajectory.load(tmp_path / "run/trajectory.safetensors")
    assert trajectory.latents.dtype == trajectory.z0_hat.dtype == torch.float32


@pytest.mark.usefixtures("fast")
def test_auto_is_near_float32(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "--quiet"]) == 0
    elsewhere = [str(tiny_config), "--quiet", "dtype=float32", f"output={tmp_path}/exact"]
    assert run_module.main(elsewhere) == 0
    half, exact = (
        Trajectory.load(tmp_path / folder / "trajectory.safetensors").latents
        for folder in ("run", "exact")
    )
    assert torch.equal(half[0], exact[0])
    assert not torch.equal(half, exact)
    torch.testing.assert_close(half, exact, rtol=0, atol=0.05 * exact.abs().max().item())


def test_finished_run_of_another_dtype_is_left_alone_and_the_dtypes_named(
    tiny_config, monkeypatch, capsys
):
    monkeypatch.setattr(dtype_module, "multiplies_bfloat16", lambda: False)
    assert run_module.main([str(tiny_config), "--quiet"]) == 0
    monkeypatch.setattr(dtype_module, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(dtype_module, "LARGE_MODEL", 1000)
    assert run_module.main([str(tiny_config), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert "made with device=cpu dtype=float32; this one has device=cpu dtype=bfloat16" in told
    assert run_module.main([str(tiny_config), "--quiet", "dtype=float32"]) == 0


@pytest.mark.usefixtures("fast")
def test_forecast_and_dry_run_are_those_of_bfloat16(tiny_config, capsys):
    auto, asked = (
        estimate(settle(prepare(load_config(tiny_config, [f"dtype={name}"]))))
        for name in ("auto", "bfloat16")
    )
    assert auto == asked
    assert run_module.main([str(tiny_config), "--dry-run"]) == 0
    assert (
        "# device cpu, dtype bfloat16 (what auto takes: a CPU with fast bfloat16"
        in capsys.readouterr().out
    )
