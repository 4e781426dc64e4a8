"""The device-side row against the readable loop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sdloop.loop import denoise, initial_noise
from sdloop.row_buffers import RowBuffers
from sdloop.row_update import update_row
from sdloop.schedule import make_schedule
from sdloop.scheduler_config import read_settings

from .test_schedule import config_of, make_oracle

CPU = torch.device("cpu")
CAPTURE = ("eps_uncond", "eps_cond")


class FakeUNet:
    """A UNet whose output is a fixed linear map of z, the timestep and the prompt."""

    device, dtype = CPU, torch.float32

    def __call__(self, z, timestep, encoder_hidden_states):
        shift = encoder_hidden_states.mean(dim=(1, 2)).reshape(-1, 1, 1, 1)
        sample = 0.3 * z.roll(1, dims=-1) - 0.2 * z.flip(1) + shift + timestep / 1000
        return type("Output", (), {"sample": sample.contiguous(memory_format=torch.channels_last)})


def walk(update, schedule, z, embeddings, guidance_scale, capture):
    """Sample with the buffers alone."""
    unet = FakeUNet()
    buffers = RowBuffers.allocate(
        schedule, z.shape, guidance_scale != 1, capture, CPU, torch.float32
    )
    buffers.start(z, guidance_scale)
    for timestep in schedule.timesteps:
        update(buffers, unet(buffers.unet_input, torch.tensor(timestep), embeddings).sample)
    return buffers


def assert_rows_equal_the_loop(update, sampler, prediction, guidance_scale, batch=2):
    settings = read_settings(config_of(make_oracle(sampler, prediction, "leading", 1, False)))
    schedule = make_schedule(settings, 7)
    z = initial_noise(range(batch), 4, 8, 6)
    capture = CAPTURE if guidance_scale != 1 else ("eps_cond",)
    generator = torch.Generator().manual_seed(0)
    texts = (2 if guidance_scale != 1 else 1) * batch
    embeddings = torch.randn(texts, 3, 5, generator=generator)
    expected = denoise(FakeUNet(), schedule, z, embeddings, guidance_scale, capture)
    ours = walk(update, schedule, z, embeddings, guidance_scale, capture)
    assert int(ours.row) == len(schedule)
    for name in ("latents", "z0_hat", "guidance", *CAPTURE):
        theirs = getattr(expected, name)
        if theirs is None:
            assert getattr(ours, name) is None
        else:
            torch.testing.assert_close(getattr(ours, name), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["ddim", "plms", "prk"])
def test_rows_on_the_device_equal_the_loop(sampler, prediction, guidance_scale):
    assert_rows_equal_the_loop(update_row, sampler, prediction, guidance_scale)


@pytest.mark.slow
def test_kernel_equals_the_loop_in_its_interpreter():
    pytest.importorskip("triton", reason="Triton comes with torch's CUDA builds; CI installs it")
    code = (
        "from tests.test_row_update import *\n"
        "from sdloop.row_kernel import update_row_in_one_kernel\n"
        "def update(buffers, output):\n"
        "    update_row_in_one_kernel(buffers, output)\n"
        "    buffers.row.add_(1)\n"
        "for sampler in ('ddim', 'plms', 'prk'):\n"
        "    for scale in (1.0, 7.5):\n"
        "        assert_rows_equal_the_loop(update, sampler, 'v_prediction', scale)\n"
    )
    root = Path(__file__).parents[1]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True, timeout=300, cwd=root, env=environment)
