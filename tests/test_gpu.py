"""What only a CUDA device can show."""

import numpy as np
import pytest
import torch

from sdloop import run as run_module
from sdloop.decode import decode
from sdloop.loop import denoise, initial_noise
from sdloop.model_source import find
from sdloop.models import load
from sdloop.schedule import make_schedule
from sdloop.scheduler_config import read_settings
from sdloop.text import encode_prompts
from sdloop.trajectory import Trajectory

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = torch.device("cuda")


def walk(models, steps=20, guidance=5.0):
    """Sample on the bundled model; return frames and pictures."""
    schedule = make_schedule(read_settings(models.source.scheduler), steps)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    z = initial_noise([0], 4, 16, 16).to(models.device)
    denoised = denoise(models.unet, schedule, z, embeddings, guidance)
    return denoised, decode(models.vae, denoised.latents[:, 0]).cpu().numpy()


def test_float32_on_cuda_equals_the_cpu():
    torch.backends.cudnn.allow_tf32 = False
    source = find("bundled")
    expected, _ = walk(load(source, torch.device("cpu"), torch.float32))
    ours, _ = walk(load(source, CUDA, torch.float32))
    scale = float(expected.latents.abs().max())
    torch.testing.assert_close(ours.latents.cpu(), expected.latents, rtol=0, atol=1e-3 * scale)


def test_half_precision_frames_are_within_forty_decibels():
    source = find("bundled")
    _, expected = walk(load(source, torch.device("cpu"), torch.float32))
    denoised, images = walk(load(source, CUDA, torch.float16))
    assert denoised.latents.dtype == torch.float32
    error = np.square(images.astype(float) - expected).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / error) >= 40).all()


def test_the_loop_never_waits_for_the_device():
    models = load(find("bundled"), CUDA, torch.float16)
    schedule = make_schedule(read_settings(models.source.scheduler), 5)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    z = initial_noise([0], 4, 16, 16).to(CUDA)

    def forbid(row):
        torch.cuda.set_sync_debug_mode("error")

    try:
        denoise(models.unet, schedule, z, embeddings, 5.0, on_row=forbid)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_run_takes_cuda_in_half_precision_by_itself(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config)]) == 0
    text = (tmp_path / "run/config.yaml").read_text()
    assert "device: cuda" in text
    assert "dtype: float16" in text
    assert Trajectory.load(tmp_path / "run/trajectory.safetensors").latents.dtype == torch.float32


def test_out_of_memory_halves_the_batch():
    models = load(find("bundled"), CUDA, torch.float16)
    latents = torch.randn(64, 4, 64, 64)
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(2**30 / total)
    try:
        images = decode(models.vae, latents, batch_size=64)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert images.shape == (64, 512, 512, 3)
