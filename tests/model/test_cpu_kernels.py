"""Kernels of our own in bfloat16 on a CPU: as exact as torch's, and only where they belong."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sdloop.model import cpu_kernels
from sdloop.model.cpu_kernels import Gate, SelfAttention, attend, use_cpu_kernels
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.model.predictor import UNetPredictor
from sdloop.model.shortcuts import Swaps
from sdloop.model.text import encode_prompts
from sdloop.sampler.loop import initial_noise

CPU = torch.device("cpu")
SHAPES = [  # batch, heads, rows, keys, width
    pytest.param((2, 8, 256, 256, 40), id="several heads at once"),
    pytest.param((1, 2, 1500, 1500, 8), id="pieces that do not divide the rows"),
    pytest.param((1, 1, 3, 5, 4), id="fewer keys than are sampled"),
]


def inputs(shape, gain):
    batch, heads, rows, keys, width = shape
    draw = torch.Generator().manual_seed(1)
    query, key, value = (
        torch.randn(batch, count, heads, width, generator=draw).transpose(1, 2)
        for count in (rows, keys, keys)
    )
    return [each.to(torch.bfloat16) for each in (gain * query, key, value)]


def relative_error(ours, exact):
    return ((ours.double() - exact).square().mean() / exact.square().mean()).sqrt().item()


@pytest.mark.parametrize("gain", [1, 3, 10])
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_in_pieces_is_exact_to_bfloat16(shape, gain, monkeypatch):
    monkeypatch.setattr(cpu_kernels, "SCORES", 2**17)
    query, key, value = inputs(shape, gain)
    exact = scaled_dot_product_attention(query.double(), key.double(), value.double())
    ours = attend(query, key, value)
    assert ours.dtype == torch.bfloat16
    assert relative_error(ours, exact) < 0.008  # two units in the last place


def test_scores_that_were_not_lowered_would_be_too_coarse():
    query, key, value = inputs((2, 8, 256, 256, 40), 3)
    exact = scaled_dot_product_attention(query.double(), key.double(), value.double())
    plain = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2)).softmax(-1) @ value
    assert relative_error(attend(query, key, value), exact) < 0.7 * relative_error(plain, exact)


@pytest.fixture(scope="module")
def half():
    return load(find("bundled"), CPU, torch.bfloat16)


def test_step_is_as_near_to_float32_as_diffusers_is(half, bundled):
    z = initial_noise([1, 2], 4, *half.source.sample_size)
    texts = ["a panda", "a fox"], ["rain", ""]
    exact = encode_prompts(bundled.tokenizer, bundled.text_encoder, *texts)
    asked = (
        (each, exact.to(each.dtype), on)
        for each, on in ((half.unet, True), (half.unet, False), (bundled.unet, False))
    )
    ours, theirs, exact_output = (
        UNetPredictor(unet, embeddings, [501.0], True, shortcuts=on)(z, 0).double()
        for unet, embeddings, on in asked
    )
    assert relative_error(ours, exact_output) < 1.1 * relative_error(theirs, exact_output)
    assert not torch.equal(ours, theirs)  # other kernels ran


def test_samples_side_by_side_are_those_of_one_alone(half):
    z = initial_noise([1, 2], 4, *half.source.sample_size)
    swaps = Swaps()
    use_cpu_kernels(half.unet, swaps)
    embeddings = encode_prompts(half.tokenizer, half.text_encoder, ["a", "b"])
    timestep = torch.tensor(501)

    def call(z, embeddings):
        return half.unet(z.to(half.dtype), timestep, encoder_hidden_states=embeddings).sample

    with torch.no_grad(), swaps:
        together = call(z, embeddings)
        alone = torch.cat([call(z[at : at + 1], embeddings[at : at + 1]) for at in (0, 1)])
    assert relative_error(together, alone.double()) < 0.02


def test_kernels_stand_for_all_self_attention_and_gates_while_a_call_lasts(half):
    names = dict(half.unet.named_modules())
    layers = [name for name in names if name.endswith("attn1")]
    swaps = Swaps()
    use_cpu_kernels(half.unet, swaps)
    with swaps:
        kinds = [type(each) for each in half.unet.modules()]
        assert kinds.count(Gate) == len(layers)
        processors = [names[name].processor for name in layers]
        assert all(isinstance(each, SelfAttention) for each in processors)
    assert list(dict(half.unet.named_modules())) == list(names)
    assert not any(isinstance(names[name].processor, SelfAttention) for name in layers)


def test_float32_is_left_alone(bundled):
    swaps = Swaps()
    use_cpu_kernels(bundled.unet, swaps)
    with swaps:
        assert Gate not in [type(each) for each in bundled.unet.modules()]
