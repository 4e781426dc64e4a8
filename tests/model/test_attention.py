"""Cross-attention that is kept, against diffusers' own processor."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from sdloop.model.attention import cross_attentions, names_of_layers
from sdloop.model.attention_names import attention_shapes
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.sampler.answer import Answer
from sdloop.sampler.graph import GraphWalker
from sdloop.sampler.loop import initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from tests.model.test_activations import UNET, UNETS, WIDTH

PROMPTS = ["a panda in the snow", "a red car"]


class Recording(AttnProcessor):
    """diffusers' plain attention, whose softmax is added up: of the conditional half, by size."""

    def __init__(self, name, samples, sums):
        self.name, self.samples, self.sums = name, samples, sums

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **options):
        real = attn.get_attention_scores

        def scores(query, key, mask=None):
            found = real(query, key, mask)
            by_head = found.unflatten(0, (-1, attn.heads)).sum(dim=1)[-self.samples :]
            self.sums[self.name] = self.sums.get(self.name, 0) + by_head.transpose(1, 2)
            return found

        attn.get_attention_scores = scores
        try:
            return super().__call__(attn, hidden_states, encoder_hidden_states, **options)
        finally:
            del attn.get_attention_scores


def reference(unet, z, timestep, embeddings, guided):
    """Sum up what diffusers attends to, float32: name -> (samples, tokens, pixels)."""
    sums, before = {}, unet.attn_processors
    of = dict(before)
    places = {id(layer): name for layer, name in names_of_layers(unet, *z.shape[2:])}
    for path, module in unet.named_modules():
        if id(module) in places:
            of[f"{path}.processor"] = Recording(places[id(module)], len(z), sums)
    unet.set_attn_processor(of)
    try:
        with torch.no_grad():
            doubled = torch.cat([z, z]) if guided else z
            unet(doubled, timestep, encoder_hidden_states=embeddings)
    finally:
        unet.set_attn_processor(before)
    return sums


def encode(models, guided, prompts=PROMPTS):
    negative = ["rain"] * len(prompts) if guided else None
    return encode_prompts(models.tokenizer, models.text_encoder, prompts, negative)


@pytest.mark.parametrize("shortcuts", [True, False])
@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize(("name", "size"), [("bundled", (13, 22)), ("v_models", (8, 12))])
def test_sums_are_those_of_diffusers_processor(name, size, guided, shortcuts, request):
    models = request.getfixturevalue(name)
    embeddings, z = encode(models, guided), initial_noise([1, 2], 4, *size)
    expected = reference(models.unet, z, 501.0, embeddings, guided)
    ask = UNetPredictor(models.unet, embeddings, [9.0, 501.0], guided, None, shortcuts, True)
    ask(z, 0)
    ask(z, 1)  # nothing of the call before is left
    shapes = attention_shapes(models.source.unet, models.source.tokens, *size)
    assert list(expected) != []
    assert set(shapes) == set(expected)
    exact = ask._sums.sums  # before rounding
    for name, kept in ask.captured().items():
        assert kept.dtype == torch.float16
        assert kept.shape == (2, *shapes[name])
        theirs = expected[name].unflatten(2, shapes[name][1:])
        torch.testing.assert_close(exact[name], theirs, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(kept.float(), theirs, rtol=2**-10, atol=1e-6)
        per_pixel = kept.float().sum(dim=1)
        torch.testing.assert_close(per_pixel, per_pixel.round(), rtol=2e-3, atol=0)  # heads, layers


def test_output_is_the_same_to_the_bit(bundled):
    embeddings, z = encode(bundled, True), initial_noise([1, 2], 4, 16, 16)
    plain, keeping = (
        UNetPredictor(bundled.unet, embeddings, [501.0], True, None, True, keeps)
        for keeps in (False, True)
    )
    assert torch.equal(plain(z, 0), keeping(z, 0))
    assert plain.captured() == {}


def test_what_a_call_left_behind_stays(bundled):
    embeddings = encode(bundled, True, PROMPTS[:1])
    ask = UNetPredictor(bundled.unet, embeddings, [901.0, 1.0], True, None, True, True)
    z = initial_noise([1], 4, 16, 16)
    ask(z, 0)
    first = ask.captured()
    copies = {name: each.clone() for name, each in first.items()}
    ask(z, 1)
    assert all(torch.equal(each, copies[name]) for name, each in first.items())
    assert not any(torch.equal(each, first[name]) for name, each in ask.captured().items())
    wide = initial_noise([1], 4, 16, 24)  # another size, by the same predictor
    ask(wide, 0)
    assert {each.shape[2:] for each in ask.captured().values()} == {(8, 12), (4, 6)}


def moved(answer):
    """Copy an answer, as a file of finished rows does."""
    return Answer(
        answer.returned.clone(), {name: it.clone() for name, it in answer.captured.items()}
    )


def test_a_graphs_rows_keep_what_the_loops_do(models):
    def record(row, prepared, device):
        def replay():
            with prepared:
                row()

        replay()
        return replay

    table = make_table(read_settings(models.source.scheduler, "heun"), 3)
    z, times, walker = initial_noise([1], 4, 8, 8), table.timesteps.tolist(), GraphWalker(record)

    def ask(prompt, keeps=True):
        return UNetPredictor(models.unet, encode(models, True, [prompt]), times, True, None, True, keeps)  # fmt: skip  # noqa: E501

    for prompt in PROMPTS:  # the second time in the buffers of the first
        keeping = ask(prompt)
        expected = list(walk(lambda z, row, of=keeping: Answer(of(z, row), of.captured()), table, z, 3))  # fmt: skip  # noqa: E501
        ours = [moved(step.answer) for step in walker.walk(ask(prompt), table, z, 3.0)]
        again = walker.walk(ask(prompt), table, z, 3.0, known=ours[:2])
        for step, kept, theirs in zip(again, ours, expected, strict=True):
            assert set(step.captured) == set(kept.captured) == set(theirs.captured)
            for name, value in theirs.captured.items():
                torch.testing.assert_close(kept.captured[name].float(), value.float(), rtol=2e-3, atol=1e-5)  # fmt: skip  # noqa: E501
                assert torch.equal(step.captured[name], kept.captured[name])
    assert next(walker.walk(ask("a", keeps=False), table, z, 3.0)).captured == {}


@pytest.mark.parametrize("extra", [{}, {"downsample_padding": 0}])
@pytest.mark.parametrize("name", [name for name in UNETS if "conditioned" not in name])
def test_sizes_of_layers_follow_from_the_config(name, extra):
    config = UNET | UNETS[name] | extra
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    shapes, sizes = attention_shapes(unet.config, 7, 39, 50), {}

    def see(attention, inputs, output):
        sizes[id(attention)] = inputs[0].shape[1]

    layers = names_of_layers(unet, 39, 50)
    for layer, _ in layers:
        layer.register_forward_hook(see)
    unet(torch.zeros(1, 4, 39, 50, device="meta"), 1, torch.zeros(1, 7, WIDTH, device="meta"))
    assert {name for _, name in layers} <= set(shapes)
    for layer, found in layers:
        tokens, high, wide = shapes[found]
        assert (tokens, high * wide) == (7, sizes[id(layer)])
    assert len(layers) == len(list(cross_attentions(unet)))
