"""The row that the CUDA graph repeats, called as it is: everything but the graph."""

from contextlib import ExitStack

import pytest
import torch

from sdloop.graph import _Walk
from sdloop.loop import denoise, initial_noise
from sdloop.schedule import make_schedule
from sdloop.scheduler_config import read_settings
from sdloop.text import encode_prompts


class Repeated:
    """Stands for a graph: replays the row under the UNet that was prepared for it."""

    def __init__(self, walk):
        self.walk = walk

    def replay(self):
        self.walk._step()


@pytest.fixture
def walk_of(models):
    """Return a function that makes a walk whose UNet stays prepared until the test ends."""
    with ExitStack() as undo, torch.no_grad():

        def make(schedule, z, embeddings, guided, capture=()):
            walk = _Walk(models.unet, schedule, z, embeddings, guided, capture)
            walk._prepare_unet(undo)
            walk._graph = Repeated(walk)
            return walk

        yield make


def encode(models, prompt, guided=True):
    return encode_prompts(models.tokenizer, models.text_encoder, [prompt], [""] if guided else None)


@pytest.mark.parametrize("guidance_scale", [1.0, 6.0])
@pytest.mark.parametrize("sampler", ["ddim", "pndm"])
def test_rows_equal_the_loop(models, walk_of, sampler, guidance_scale):
    guided = guidance_scale != 1
    schedule = make_schedule(read_settings(models.source.scheduler, sampler), 6)
    z, embeddings = initial_noise([1], 4, 8, 8), encode(models, "a panda", guided)
    expected = denoise(models.unet, schedule, z, embeddings, guidance_scale, ("eps_cond",))
    seen = []
    walk = walk_of(schedule, z, embeddings, guided, ("eps_cond",))
    ours = walk.run(z, embeddings, guidance_scale, lambda row, returned: seen.append(row))
    assert seen == list(range(len(schedule)))
    for name in ("latents", "z0_hat", "guidance", "eps_cond"):
        theirs = getattr(expected, name)
        if theirs is not None:
            scale = float(theirs.abs().max())
            torch.testing.assert_close(getattr(ours, name), theirs, rtol=0, atol=1e-4 * scale)


def test_the_next_run_takes_its_own_noise_prompt_and_guidance(models, walk_of):
    schedule = make_schedule(read_settings(models.source.scheduler), 5)
    first = (initial_noise([1], 4, 8, 8), encode(models, "a panda"), 3.0)
    second = (initial_noise([2], 4, 8, 8), encode(models, "two cats"), 8.0)
    expected = [denoise(models.unet, schedule, *run) for run in (first, second)]
    walk = walk_of(schedule, *first[:2], guided=True)
    ours = [walk.run(*run, None) for run in (first, second)]
    for mine, theirs in zip(ours, expected, strict=True):
        scale = float(theirs.latents.abs().max())
        torch.testing.assert_close(mine.latents, theirs.latents, rtol=0, atol=1e-4 * scale)


def test_a_walk_serves_only_its_own_kind(models):
    settings = read_settings(models.source.scheduler)
    schedule, again, longer = (make_schedule(settings, steps) for steps in (5, 5, 6))
    z, embeddings = initial_noise([1], 4, 8, 8), encode(models, "a panda")
    walk = _Walk(models.unet, schedule, z, embeddings, True, ())
    assert walk.serves(again, z, embeddings, True, ())
    assert not walk.serves(longer, z, embeddings, True, ())
    assert not walk.serves(again, initial_noise([1], 4, 8, 16), embeddings, True, ())
    assert not walk.serves(again, z, encode(models, "a panda", guided=False), False, ())
    assert not walk.serves(again, z, embeddings, True, ("eps_cond",))
