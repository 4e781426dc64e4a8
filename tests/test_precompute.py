"""What is computed once a run changes no output."""

from contextlib import ExitStack

import pytest
import torch

from sdloop.loop import denoise, initial_noise
from sdloop.precompute import OnOneHalf, constants_of_run, tabulate_times
from sdloop.schedule import make_schedule
from sdloop.scheduler_config import read_settings
from sdloop.text import encode_prompts


def call(models, z, timestep, embeddings):
    """Ask the UNet about [z, z]."""
    with torch.no_grad():
        doubled = torch.cat([z, z])
        return models.unet(doubled, timestep, encoder_hidden_states=embeddings).sample


@pytest.mark.parametrize("name", ["models", "v_models", "bundled"])
def test_unet_with_its_constants_gives_the_same(name, request):
    models = request.getfixturevalue(name)
    z = initial_noise([1], 4, *models.source.sample_size)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], ["rain"])
    expected = call(models, z, 501, embeddings)
    with constants_of_run(models.unet, embeddings, guided=True):
        shared = [module for module in models.unet.modules() if isinstance(module, OnOneHalf)]
        ours = call(models, z, 501, embeddings)
    assert len(shared) >= 6
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_unet_is_as_before_afterwards(models):
    names = [name for name, _ in models.unet.named_modules()]
    processors = models.unet.attn_processors
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a"], [""])
    with pytest.raises(KeyboardInterrupt), constants_of_run(models.unet, embeddings, True):
        raise KeyboardInterrupt
    assert [name for name, _ in models.unet.named_modules()] == names
    assert models.unet.attn_processors == processors


def test_times_from_the_table_are_those_of_the_row(models):
    timesteps = torch.tensor([981, 961, 961, 1])
    row = torch.zeros(1, dtype=torch.int64)
    z = initial_noise([1], 4, 8, 8)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a"], ["b"])
    expected = [call(models, z, timestep, embeddings) for timestep in timesteps]
    with ExitStack() as undo, torch.no_grad():
        tabulate_times(models.unet, timesteps, row, undo)
        for theirs in expected:
            torch.testing.assert_close(call(models, z, row, embeddings), theirs)
            row.add_(1)
    torch.testing.assert_close(call(models, z, 981, embeddings), expected[0], rtol=0, atol=0)


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_a_whole_run_with_constants_is_the_same(models, guidance_scale):
    schedule = make_schedule(read_settings(models.source.scheduler), 6)
    negative = None if guidance_scale == 1 else [""]
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], negative)
    z = initial_noise([3], 4, 8, 8)
    expected = denoise(models.unet, schedule, z, embeddings, guidance_scale)
    with constants_of_run(models.unet, embeddings, guidance_scale != 1):
        ours = denoise(models.unet, schedule, z, embeddings, guidance_scale)
    torch.testing.assert_close(ours.latents, expected.latents, rtol=0, atol=1e-4)
