"""What only a CUDA device can show."""

import numpy as np
import pytest
import torch

from sdloop import run as run_module
from sdloop.decode import decode_latents
from sdloop.difference import difference_maps
from sdloop.graph import GraphDenoiser
from sdloop.loop import denoise, initial_noise
from sdloop.measure.whole_run import measure_run
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.row_buffers import RowBuffers
from sdloop.row_update import update_row_in_torch
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
    return denoised, decode_latents(models.vae, denoised.latents[:, 0]).cpu().numpy()


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


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize("sampler", ["ddim", "pndm"])
def test_graph_equals_the_loop(sampler, guidance_scale):
    torch.backends.cudnn.allow_tf32 = False
    models = load(find("bundled"), CUDA, torch.float32)
    schedule = make_schedule(read_settings(models.source.scheduler, sampler), 20)
    graph = GraphDenoiser(models.unet)
    negative = None if guidance_scale == 1 else [""]
    for seed, prompt in enumerate(("a panda", "a cake", "a panda")):  # the graph is used again
        embeddings = encode_prompts(models.tokenizer, models.text_encoder, [prompt], negative)
        z = initial_noise([seed], 4, 16, 16).to(CUDA)
        expected = denoise(models.unet, schedule, z, embeddings, guidance_scale, ("eps_cond",))
        ours = graph.denoise(schedule, z, embeddings, guidance_scale, ("eps_cond",))
        for name in ("latents", "z0_hat", "guidance", "eps_cond"):
            theirs = getattr(expected, name)
            if theirs is not None:
                scale = float(theirs.abs().max())
                torch.testing.assert_close(getattr(ours, name), theirs, rtol=0, atol=1e-3 * scale)


def test_kernel_equals_torch_on_the_device():
    pytest.importorskip("triton")
    from sdloop.row_kernel import update_row_in_one_kernel

    schedule = make_schedule(read_settings(find("bundled").scheduler), 10)
    z = initial_noise([0, 1], 4, 16, 24).to(CUDA)
    walks = []
    for update in (update_row_in_torch, update_row_in_one_kernel):
        torch.manual_seed(0)
        buffers = RowBuffers.allocate(
            schedule, z.shape, True, ("eps_uncond", "eps_cond"), CUDA, torch.float16
        )
        buffers.start(z, 7.5)
        for _ in range(len(schedule)):
            output = torch.randn(4, 4, 16, 24, device=CUDA, dtype=torch.float16)
            update(buffers, output.contiguous(memory_format=torch.channels_last))
            buffers.row.add_(1)
        walks.append(buffers)
    for name in ("latents", "z0_hat", "guidance", "eps_uncond", "eps_cond"):
        torch.testing.assert_close(getattr(walks[1], name), getattr(walks[0], name))


def test_the_graph_never_waits_for_the_device_between_rows():
    models = load(find("bundled"), CUDA, torch.float16)
    schedule = make_schedule(read_settings(models.source.scheduler), 5)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    z = initial_noise([0], 4, 16, 16).to(CUDA)
    graph = GraphDenoiser(models.unet)
    graph.denoise(schedule, z, embeddings, 5.0)  # captures
    torch.cuda.set_sync_debug_mode("error")
    try:
        graph.denoise(schedule, z, embeddings, 5.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_maps_on_the_device_equal_those_on_the_cpu():
    images = torch.randint(0, 256, (6, 64, 48, 3), dtype=torch.uint8)
    for reduce in ("mean", "max"):
        expected = difference_maps(images.numpy(), reduce)
        ours = difference_maps(images.to(CUDA), reduce)
        assert ours.indices.is_cuda
        np.testing.assert_array_equal(ours.to_numpy().indices, expected.indices)


def test_the_loop_never_waits_for_the_device():
    models = load(find("bundled"), CUDA, torch.float16)
    schedule = make_schedule(read_settings(models.source.scheduler), 5)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    z = initial_noise([0], 4, 16, 16).to(CUDA)

    def forbid(row, returned):
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
        images = decode_latents(models.vae, latents, batch_size=64)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert images.shape == (64, 512, 512, 3)


def test_measures_on_cuda_equal_those_on_the_cpu():
    models = load(find("bundled"), CUDA, torch.float32)
    schedule = make_schedule(read_settings(models.source.scheduler), 20)
    denoised, pictures = walk(models)
    trajectory = Trajectory.of_sample(denoised, torch.from_numpy(schedule.timesteps), {})
    on_cpu = torch.from_numpy(pictures)
    expected, ours = (
        measure_run(trajectory, schedule, 5.0, images, difference_maps(images))
        for images in (on_cpu, on_cpu.to(CUDA))
    )
    np.testing.assert_array_equal(ours.commitment.settled_frame, expected.commitment.settled_frame)
    for name, column in expected.columns().items():
        np.testing.assert_allclose(ours.columns()[name], column, rtol=1e-3, atol=1e-5, err_msg=name)
