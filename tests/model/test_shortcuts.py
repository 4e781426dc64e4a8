"""What is computed once a run changes no output."""

from collections import Counter

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.utils._python_dispatch import TorchDispatchMode

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


class Counting(TorchDispatchMode):
    """Counts the operations in a block, by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("name", ["models", "bundled"])
def test_a_call_looks_its_row_up_once_and_activates_no_time(name, request):
    models = request.getfixturevalue(name)
    blocks = [module for module in models.unet.modules() if getattr(module, "time_emb_proj", None)]
    timesteps, row = torch.tensor([981.0, 1.0]), torch.ones(1, dtype=torch.int64)
    z = initial_noise([1], 4, *models.source.sample_size)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a"], ["b"])
    with torch.no_grad():
        embedded = models.unet.time_embedding(models.unet.time_proj(timesteps))
        added = [block.time_emb_proj(block.nonlinearity(embedded)) for block in blocks]
    with Counting() as plain:
        call(models, z, timesteps[1], embeddings)
    swaps = Swaps()
    with torch.no_grad():
        tabulate_times(models.unet, timesteps, row, swaps)
    given = {}
    with swaps, Counting() as tabulated:
        for block in blocks:
            block.time_emb_proj.register_forward_hook(
                lambda module, inputs, output, block=block: given.update({block: output})
            )
        call(models, z, row, embeddings)
    assert len(blocks) == len(given) >= 8
    for block, theirs in zip(blocks, added, strict=True):  # to the bit, in every sample
        assert torch.equal(given[block], theirs[1:].expand(2, -1))
    assert tabulated.counts["index_select"] == 1
    assert plain.counts["silu"] - tabulated.counts["silu"] == len(blocks) + 1  # the embedding's
    assert plain.counts["addmm"] - tabulated.counts["addmm"] == len(blocks) + 2


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
