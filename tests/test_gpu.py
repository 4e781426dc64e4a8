"""What only a CUDA device can show."""

import numpy as np
import pytest
import torch

from sdloop import run as run_module
from sdloop.job.sample import denoise
from sdloop.machine.device import free_bytes
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.model.vae import decode_latents
from sdloop.sampler.graph import GraphWalker
from sdloop.sampler.loop import collect, initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.changes import Changes
from sdloop.show.difference import difference_maps
from sdloop.show.measure.whole_run import measure_run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = torch.device("cuda")


def sample(models, steps=20, guidance=5.0):
    """Sample on the bundled model; return frames and pictures."""
    schedule = make_table(read_settings(models.source.scheduler), steps)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    z = initial_noise([0], 4, 16, 16).to(models.device)
    denoised = denoise(models.unet, schedule, z, embeddings, guidance)
    return denoised, decode_latents(models.vae, denoised.latents[:, 0]).cpu().numpy()


def predictor_of(models, table, prompt, guided=True):
    negative = [""] if guided else None
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, [prompt], negative)
    return UNetPredictor(models.unet, embeddings, table.timesteps, guided)


def test_float32_on_cuda_equals_the_cpu():
    source = find("bundled")
    expected, _ = sample(load(source, torch.device("cpu"), torch.float32))
    ours, _ = sample(load(source, CUDA, torch.float32))
    scale = float(expected.latents.abs().max())
    torch.testing.assert_close(ours.latents.cpu(), expected.latents, rtol=0, atol=1e-3 * scale)


def test_half_precision_frames_are_within_forty_decibels():
    source = find("bundled")
    _, expected = sample(load(source, torch.device("cpu"), torch.float32))
    denoised, images = sample(load(source, CUDA, torch.float16))
    assert denoised.latents.dtype == torch.float32
    error = np.square(images.astype(float) - expected).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / error) >= 40).all()


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize("sampler", ["ddim", "pndm"])
def test_graph_equals_the_loop(sampler, guidance_scale):
    models = load(find("bundled"), CUDA, torch.float32)
    table = make_table(read_settings(models.source.scheduler, sampler), 20)
    walker, guided = GraphWalker(), guidance_scale != 1
    for seed, prompt in enumerate(("a panda", "a cake", "a panda")):  # the graph is used again
        predict = predictor_of(models, table, prompt, guided)
        z = initial_noise([seed], 4, 16, 16).to(CUDA)
        expected = collect(walk(predict, table, z, guidance_scale), z, len(table))
        ours = collect(walker.walk(predict, table, z, guidance_scale), z, len(table))
        for name in ("latents", "z0_hat", "guidance"):
            theirs = getattr(expected, name)
            if theirs is not None:
                scale = float(theirs.abs().max())
                torch.testing.assert_close(getattr(ours, name), theirs, rtol=0, atol=1e-3 * scale)


@pytest.mark.parametrize("samples", [1, 2])
def test_a_row_that_is_replayed_equals_one_that_is_run_to_the_bit(samples):
    models = load(find("bundled"), CUDA, torch.float16)
    table = make_table(read_settings(models.source.scheduler), 5)
    prompts = ["a panda"] * samples
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, prompts, [""] * samples)
    predict = UNetPredictor(models.unet, embeddings, table.timesteps, True)
    z = initial_noise(range(samples), 4, 16, 16).to(CUDA)
    walker = GraphWalker()
    first, second = (  # the first runs row 0, captures it, and replays the others
        collect(walker.walk(predict, table, z, 5.0), z, len(table)).latents for _ in range(2)
    )
    assert torch.equal(first, second)


def test_what_a_graph_keeps_is_not_free():
    models = load(find("bundled"), CUDA, torch.float16)
    table = make_table(read_settings(models.source.scheduler), 5)
    predict, z = predictor_of(models, table, "a panda"), initial_noise([0], 4, 64, 64).to(CUDA)
    walker = GraphWalker()
    list(walker.walk(predict, table, z, 5.0))
    free, _ = torch.cuda.mem_get_info()
    unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    assert free <= free_bytes(CUDA) < free + unused - 10**6


def test_the_graph_never_waits_for_the_device_between_rows():
    models = load(find("bundled"), CUDA, torch.float16)
    table = make_table(read_settings(models.source.scheduler), 5)
    predict, z = predictor_of(models, table, "a panda"), initial_noise([0], 4, 16, 16).to(CUDA)
    walker = GraphWalker()
    list(walker.walk(predict, table, z, 5.0))  # captures
    torch.cuda.set_sync_debug_mode("error")
    try:
        list(walker.walk(predict, table, z, 5.0))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_maps_on_the_device_equal_those_on_the_cpu():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 64, 48, 3), dtype=torch.uint8, generator=generator)
    for reduce in ("mean", "max"):
        expected = difference_maps(images.numpy(), reduce)
        ours = difference_maps(images.to(CUDA), reduce)
        assert ours.indices.is_cuda
        np.testing.assert_array_equal(ours.to_numpy().indices, expected.indices)


def test_the_loop_never_waits_for_the_device():
    models = load(find("bundled"), CUDA, torch.float16)
    table = make_table(read_settings(models.source.scheduler), 5)
    predict, z = predictor_of(models, table, "a panda"), initial_noise([0], 4, 16, 16).to(CUDA)
    steps = walk(predict, table, z, 5.0)
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        list(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_run_takes_cuda_in_half_precision_by_itself(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "device=auto"]) == 0
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
    schedule = make_table(read_settings(models.source.scheduler), 20)
    denoised, pictures = sample(models)
    trajectory = Trajectory.of_sample(denoised, torch.from_numpy(schedule.timesteps), {})
    on_cpu = torch.from_numpy(pictures)
    expected, ours = (
        measure_run(trajectory, schedule, 5.0, Changes.of(images))
        for images in (on_cpu, on_cpu.to(CUDA))
    )
    np.testing.assert_array_equal(ours.commitment.settled_frame, expected.commitment.settled_frame)
    for name, column in expected.columns().items():
        scale = np.abs(column[np.isfinite(column)]).max(initial=0)
        np.testing.assert_allclose(
            ours.columns()[name], column, rtol=0, atol=1e-3 * scale, err_msg=name
        )
