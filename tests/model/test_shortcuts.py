"""What is computed once a run changes no output."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from sdloop.model.predictor import UNetPredictor
from sdloop.model.shortcuts import OnOneHalf, Swaps, fix_prompt, share_halves, tabulate_times
from sdloop.model.text import encode_prompts
from sdloop.sampler.loop import collect, initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings


def call(models, z, timestep, embeddings):
    """Ask the UNet about [z, z]."""
    with torch.no_grad():
        doubled = torch.cat([z, z])
        return models.unet(doubled, timestep, encoder_hidden_states=embeddings).sample


def shortcuts_of(models, embeddings):
    swaps = Swaps()
    with torch.no_grad():
        fix_prompt(models.unet, embeddings, swaps)
    share_halves(models.unet, swaps)
    return swaps


@pytest.mark.parametrize("name", ["models", "v_models", "bundled"])
def test_unet_with_its_shortcuts_gives_the_same(name, request):
    models = request.getfixturevalue(name)
    z = initial_noise([1], 4, *models.source.sample_size)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], ["rain"])
    expected = call(models, z, 501, embeddings)
    with shortcuts_of(models, embeddings):
        shared = [module for module in models.unet.modules() if isinstance(module, OnOneHalf)]
        ours = call(models, z, 501, embeddings)
    assert len(shared) >= 6
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_unet_is_as_before_afterwards(models):
    names = [name for name, _ in models.unet.named_modules()]
    processors = models.unet.attn_processors
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a"], [""])
    with pytest.raises(KeyboardInterrupt), shortcuts_of(models, embeddings):
        raise KeyboardInterrupt
    assert [name for name, _ in models.unet.named_modules()] == names
    assert models.unet.attn_processors == processors


def test_times_from_the_table_are_those_of_the_row(models):
    timesteps = torch.tensor([981.0, 961, 961, 1])
    row = torch.zeros(1, dtype=torch.int64)
    z = initial_noise([1], 4, 8, 8)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a"], ["b"])
    expected = [call(models, z, timestep, embeddings) for timestep in timesteps]
    swaps = Swaps()
    with torch.no_grad():
        tabulate_times(models.unet, timesteps, row, swaps)
    with swaps:
        for theirs in expected:
            torch.testing.assert_close(call(models, z, row, embeddings), theirs)
            row.add_(1)
    torch.testing.assert_close(call(models, z, 981, embeddings), expected[0], rtol=0, atol=0)


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_a_whole_walk_with_shortcuts_is_the_same(models, guidance_scale):
    table, guided = make_table(read_settings(models.source.scheduler), 6), guidance_scale != 1
    negative = [""] if guided else None
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], negative)
    z = initial_noise([3], 4, 8, 8)
    expected, ours = (
        collect(
            walk(
                UNetPredictor(models.unet, embeddings, table.timesteps, guided, None, shortcuts),
                table, z, guidance_scale,
            ),
            z, len(table),
        )
        for shortcuts in (False, True)
    )  # fmt: skip
    torch.testing.assert_close(ours.latents, expected.latents, rtol=0, atol=1e-4)


def test_network_with_added_conditioning_is_refused():
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), cross_attention_dim=16, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), layers_per_block=1,
        addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64,
    )  # fmt: skip
    with pytest.raises(ValueError, match="addition_embed_type = 'text_time'"):
        share_halves(unet, Swaps())
    with pytest.raises(ValueError, match="addition_embed_type = 'text_time'"):
        tabulate_times(unet, torch.tensor([1.0]), torch.zeros(1, dtype=torch.int64), Swaps())
