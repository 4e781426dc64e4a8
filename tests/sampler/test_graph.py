"""The walk on a device with everything but the graph: its row is called, not replayed."""

import pytest
import torch

from sdloop.job.sample import denoise
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.sampler.graph import GraphWalker
from sdloop.sampler.loop import collect, initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from tests.oracles import config_of, make_oracle


@pytest.fixture
def recorded():
    """Return the rows that were recorded so far."""
    return []


@pytest.fixture
def walker(recorded):
    """Return a walker whose graph is the row itself, called with the network as it was captured."""

    def record(row, prepared, device):
        def replay():
            with prepared:
                row()

        recorded.append(row)
        replay()
        return replay

    return GraphWalker(record)


def encode(models, prompt, guided=True):
    return encode_prompts(models.tokenizer, models.text_encoder, [prompt], [""] if guided else None)


def predictor_of(models, table, prompt, guided=True):
    return UNetPredictor(models.unet, encode(models, prompt, guided), table.timesteps, guided)


def assert_walks_equal(ours, expected):
    for mine, theirs in zip(ours, expected, strict=True):
        for name in ("z", "z0_hat", "guidance"):
            value, other = getattr(mine, name), getattr(theirs, name)
            assert (value is None) == (other is None)
            if other is not None:
                scale = float(other.abs().max())
                torch.testing.assert_close(value, other, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("guidance_scale", [1.0, 6.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["ddim", "plms", "prk"])
def test_rows_equal_the_loop(models, v_models, walker, sampler, prediction, guidance_scale):
    networks = models if prediction == "epsilon" else v_models
    guided = guidance_scale != 1
    table = make_table(
        read_settings(config_of(make_oracle(sampler, prediction, "leading", 1, False))), 7
    )
    z = initial_noise([1], 4, 8, 8)
    predict = predictor_of(networks, table, "a panda", guided)
    expected = list(walk(predict, table, z, guidance_scale))
    again = predictor_of(networks, table, "a panda", guided)
    assert_walks_equal(walker.walk(again, table, z, guidance_scale), expected)


def test_the_next_walk_takes_its_own_noise_prompt_and_guidance(models, walker, recorded):
    table = make_table(read_settings(models.source.scheduler), 5)
    for seed, prompt, scale in ((1, "a panda", 3.0), (2, "two cats", 8.0), (1, "a panda", 3.0)):
        z = initial_noise([seed], 4, 8, 8)
        expected = denoise(models.unet, table, z, encode(models, prompt), scale)
        steps = walker.walk(predictor_of(models, table, prompt), table, z, scale)
        ours = collect(steps, z, len(table))
        top = float(expected.latents.abs().max())
        torch.testing.assert_close(ours.latents, expected.latents, rtol=0, atol=1e-4 * top)
    assert len(recorded) == 1


def test_another_kind_of_walk_is_recorded_anew(models, walker, recorded):
    settings = read_settings(models.source.scheduler)
    table, longer = make_table(settings, 5), make_table(settings, 6)
    small, wide = initial_noise([1], 4, 8, 8), initial_noise([1], 4, 8, 16)

    def take(table, z, guided=True):
        list(walker.walk(predictor_of(models, table, "a panda", guided), table, z, 3.0))
        return len(recorded)

    assert take(table, small) == take(table, small) == 1
    assert take(longer, small) == 2
    assert take(longer, wide) == 3
    assert take(longer, wide, guided=False) == 4


def test_rows_that_are_known_are_not_asked_about_again(models, walker):
    table = make_table(read_settings(models.source.scheduler), 5)
    z, predict = initial_noise([1], 4, 8, 8), predictor_of(models, table, "a panda")
    expected = list(walk(predict, table, z, 3.0))
    returned = [step.returned for step in expected[:3]]
    asked, call = [], UNetPredictor.call

    class Counted(UNetPredictor):
        def call(self, buffer, row):
            asked.append(int(row))
            return call(self, buffer, row)

    counted = Counted(models.unet, encode(models, "a panda"), table.timesteps, True)
    assert_walks_equal(walker.walk(counted, table, z, 3.0, returned=returned), expected)
    assert asked == [3, 4, 5]
