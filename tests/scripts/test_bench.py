"""The benchmarks time what they say."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

BENCH = Path(__file__).parents[2] / "scripts/bench"
CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")
VAE = {
    "block_out_channels": (8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "latent_channels": 4,
}


@pytest.fixture(autouse=True)
def bench_on_the_path(monkeypatch):
    """Find the scripts' parts as they do when they are called."""
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCH)):
            del sys.modules[name]


@pytest.fixture
def waited(monkeypatch):
    """Return the devices that were waited for."""
    devices = []
    monkeypatch.setattr(torch.cuda, "synchronize", devices.append)
    return devices


def test_a_stage_ends_once_its_own_device_is_done(waited):
    from clock import Clock

    with Clock(CPU).stage("steps"):
        pass
    assert waited == []
    clock = Clock(CUDA)
    with clock.stage("steps"):
        assert waited == [CUDA]  # what was asked for before is not its work
    assert waited == [CUDA, CUDA]
    assert list(clock.seconds) == ["steps"]


def test_time_of_an_inner_stage_is_not_its_outer_ones(monkeypatch):
    import clock

    ticks = iter([0.0, 1.0, 4.0, 6.0])
    monkeypatch.setattr(clock, "now", lambda device: next(ticks))
    timed = clock.Clock(CPU)
    with timed.stage("steps"), timed.stage("decode"):
        pass
    assert timed.seconds == {"decode": 3.0, "steps": 3.0}


def test_decoding_is_timed_in_the_batch_that_it_was_warmed_up_with(monkeypatch):
    import measures

    decoded = []

    def decode(vae, latents):
        decoded.append(len(latents))

    monkeypatch.setattr(measures, "decode_latents", decode)
    monkeypatch.setattr(measures, "measure_run", lambda *_: SimpleNamespace(
        columns=dict, drive=SimpleNamespace(guidance_maps=list)
    ))  # fmt: skip
    taken = measures.time_case(SimpleNamespace(device=CPU), 2, rounds=1, decoded=13)
    assert decoded == [13, 13]
    assert taken["decode_s"] > 0


def test_random_vae_is_laid_out_as_a_loaded_one():
    from measures import random_vae

    vae = random_vae(VAE, CPU, torch.bfloat16)
    layers = [layer for layer in vae.modules() if isinstance(layer, torch.nn.Conv2d)]
    wide = [layer.weight for layer in layers if 1 not in layer.weight.shape[1:]]
    assert len(wide) > 4
    for weight in wide:
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert not weight.is_contiguous()
    assert vae.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("device", "options"), [(CPU, {}), (CUDA, {"mode": "max-autotune", "fullgraph": True})]
)
def test_tuned_pipeline_is_compiled_for_speed_on_cuda(monkeypatch, device, options):
    import tuned

    compiled = []

    class Network(torch.nn.Conv2d):
        def compile(self, **given):
            compiled.append(given)

    def load(task):
        vae = torch.nn.Module()
        vae.decoder = Network(4, 4, 3)
        return SimpleNamespace(unet=Network(4, 4, 3), vae=vae)

    monkeypatch.setattr(tuned.usual, "load", load)
    pipeline = tuned.load(SimpleNamespace(device=device))
    assert compiled == [options, options]
    for network in (pipeline.unet, pipeline.vae.decoder):
        assert network.weight.is_contiguous(memory_format=torch.channels_last)
