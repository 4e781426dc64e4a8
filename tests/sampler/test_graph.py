"""The walk on a device with everything but the graph: its row is called, not replayed."""

import pytest
import torch

from sdloop.job.sample import denoise
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.sampler.earlier import Earlier
from sdloop.sampler.graph import GraphWalker
from sdloop.sampler.loop import collect, fresh_noise, initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.sampler.trajectory import Trajectory


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
        for name in ("z", "z0_hat", "guidance", "guidance_factor"):
            value, other = getattr(mine, name), getattr(theirs, name)
            assert (value is None) == (other is None)
            if other is not None:
                scale = float(other.abs().max())
                torch.testing.assert_close(value, other, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize(
    ("sampler", "prediction", "guidance_scale"),
    [
        ("ddim", "epsilon", 1.0),
        ("pndm", "epsilon", 6.0),
        ("pndm", "v_prediction", 1.0),  # with its Runge-Kutta warm-up
        ("heun", "v_prediction", 6.0),  # takes steps again
        ("unipc", "epsilon", 6.0),  # keeps z0, mixes three
        ("euler_a", "epsilon", 6.0),  # adds fresh noise
        ("dpm++_2m_sde", "v_prediction", 1.0),
    ],
)
def test_rows_equal_the_loop(models, v_models, walker, sampler, prediction, guidance_scale):
    networks = models if prediction == "epsilon" else v_models
    guided = guidance_scale != 1
    skips = prediction == "epsilon"
    settings = read_settings(networks.source.scheduler | {"skip_prk_steps": skips}, sampler)
    table = make_table(settings, 7)
    z = initial_noise([1], 4, 8, 8)
    for seed in (1, 2):  # the second time with other noise, in the buffers of the first
        noise = fresh_noise([seed], table, 4, 8, 8) if table.noisy else None
        predict = predictor_of(networks, table, "a panda", guided)
        rescale = 0.3 * seed if sampler in ("unipc", "dpm++_2m_sde") else 0.0
        expected = list(walk(predict, table, z, guidance_scale, noise, rescale))
        again = predictor_of(networks, table, "a panda", guided)
        ours = walker.walk(again, table, z, guidance_scale, noise, guidance_rescale=rescale)
        assert_walks_equal(ours, expected)


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

    def take(table, z, guided=True, rescale=0.0):
        predict = predictor_of(models, table, "a panda", guided)
        list(walker.walk(predict, table, z, 3.0, guidance_rescale=rescale))
        return len(recorded)

    assert take(table, small) == take(table, small) == 1
    assert take(longer, small) == 2
    assert take(longer, wide) == 3
    assert take(longer, wide, guided=False) == 4
    assert take(longer, wide, guided=False, rescale=0.5) == 4  # there is nothing to rescale
    assert take(longer, wide, rescale=0.5) == take(longer, wide, rescale=0.7) == 5


def test_rows_that_are_known_are_not_asked_about_again(models, walker):
    table = make_table(read_settings(models.source.scheduler), 5)
    z, predict = initial_noise([1], 4, 8, 8), predictor_of(models, table, "a panda")
    expected = list(walk(predict, table, z, 3.0))
    known = [step.answer for step in expected[:3]]
    asked, call = [], UNetPredictor.call

    class Counted(UNetPredictor):
        def call(self, buffer, row):
            asked.append(int(row))
            return call(self, buffer, row)

    counted = Counted(models.unet, encode(models, "a panda"), table.timesteps, True)
    assert_walks_equal(walker.walk(counted, table, z, 3.0, known=known), expected)
    assert asked == [3, 4, 5]


@pytest.mark.parametrize("sampler", ["pndm", "heun", "euler_a"])
def test_a_walk_from_a_later_row_equals_the_whole_one_in_the_same_buffers(
    models, walker, recorded, sampler
):
    table = make_table(read_settings(models.source.scheduler, sampler), 7)
    z, predict = initial_noise([1], 4, 8, 8), predictor_of(models, table, "a panda")
    noise = fresh_noise([1], table, 4, 8, 8) if table.noisy else None
    expected = list(walk(predict, table, z, 3.0, noise))
    times = torch.from_numpy(table.timesteps)
    whole = collect(expected, z, len(table))
    trajectory = Trajectory.of_sample(whole, times, {"guidance_scale": 3.0})
    for row in (5, 1):
        earlier = Earlier.recall(trajectory, table, row, z.device)
        start, known = whole.latents[row], [expected[row].answer]
        again = predictor_of(models, table, "a panda")
        tail = walker.walk(again, table, start, 3.0, noise, known, earlier=earlier)
        assert_walks_equal(tail, expected[row:])
    assert len(recorded) == 1
