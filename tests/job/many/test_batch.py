"""Runs side by side: each is itself, to the tolerance that its manifest states."""

import pytest
import torch

from sdloop.job import sample as sample_module
from sdloop.job.config import RunConfig
from sdloop.job.engine import Engine
from sdloop.job.many import batch as batch_module
from sdloop.job.many.batch import Texts, calls_alike, largest_together, sample_together
from sdloop.job.many.planning import batches_of
from sdloop.job.plan import prepare, settle
from sdloop.job.tolerance import AMONG_OTHER_SEEDS
from sdloop.machine.errors import UserError

TOLERANCE = AMONG_OTHER_SEEDS["cpu", "float32"]
PROMPTS = ("a cat", "a dog on a hill", "a cat")


def plans_of(model, **values):
    """Settle one run for each prompt, with a seed and a guidance scale of its own."""
    return [
        settle(
            prepare(
                RunConfig(
                    prompt=prompt,
                    model=str(model),
                    device="cpu",
                    seed=number,
                    guidance_scale=(1.5, 3.3, 9.1)[number],
                    **{"scheduler": {"type": "pndm", "num_steps": 4}} | values,
                )
            )
        )
        for number, prompt in enumerate(PROMPTS)
    ]


@pytest.fixture(scope="module")
def engine(model_folder):
    return Engine.start(plans_of(model_folder)[0])


def sampled(plans, engine):
    return sample_together(plans, engine, Texts(engine), lambda runs: None)


@pytest.mark.parametrize("kind", ["pndm", "euler_a"])
def test_run_beside_others_is_the_run_alone(model_folder, engine, kind):
    plans = plans_of(model_folder, scheduler={"type": kind, "num_steps": 4})
    for plan, beside in zip(plans, sampled(plans, engine), strict=True):
        [alone] = sampled([plan], engine)
        assert beside.together == 3
        for name in ("latents", "z0_hat", "guidance"):
            theirs, ours = (getattr(it.trajectory, name) for it in (alone, beside))
            assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max(), name
        assert beside.trajectory.config == plan.config.model_dump(mode="json")
    others = [it.trajectory.latents[-1] for it in sampled(plans, engine)]
    assert (others[0] - others[2]).abs().max() > 10 * TOLERANCE  # one prompt, another seed


def test_equal_prompts_are_encoded_once(model_folder, engine, monkeypatch):
    encoded, real = [], type(engine.family).encode_text

    def counting(self, models, prompts, negatives):
        encoded.extend(prompts)
        return real(self, models, prompts, negatives)

    monkeypatch.setattr(type(engine.family), "encode_text", counting)
    texts = Texts(engine)
    for _ in range(2):
        sample_together(plans_of(model_folder), engine, texts, lambda runs: None)
    assert encoded == ["a cat", "a dog on a hill"]


def test_runs_share_calls_only_where_model_shape_table_and_guidedness_are_equal(model_folder):
    base = plans_of(model_folder)[1]
    for change in (
        {"height": 32},
        {"guidance_scale": 1.0},
        {"scheduler": base.config.scheduler.model_copy(update={"num_steps": 5})},
    ):
        other = settle(prepare(base.config.model_copy(update=change)))
        assert calls_alike(other) != calls_alike(base)
    same = {"seed": 9, "prompt": "x", "negative_prompt": "y", "guidance_scale": 2.0}
    assert calls_alike(settle(prepare(base.config.model_copy(update=same)))) == calls_alike(base)


def test_batches_are_few_and_evenly_filled(model_folder):
    plans = plans_of(model_folder) * 3
    assert [len(batch) for batch in batches_of(plans, 8)] == [5, 4]
    assert [len(batch) for batch in batches_of(plans, 2)] == [2, 2, 2, 2, 1]


def test_batch_fits_the_memory(model_folder, monkeypatch):
    plan = plans_of(model_folder)[0]
    assert largest_together(plan) == 8
    needed = batch_module.estimate(plan, 8)[0].peak_bytes / batch_module.SHARE_OF_FREE
    monkeypatch.setattr(batch_module, "host_room_bytes", lambda: int(needed) + 1)
    assert largest_together(plan) == 8
    assert 1 <= largest_together(plan, beside=4) < 8  # four workers share it
    monkeypatch.setattr(batch_module, "host_room_bytes", lambda: 1_000_000)
    assert largest_together(plan) == 1


def test_batch_that_does_not_fit_is_halved(model_folder, engine, monkeypatch):
    walk, sizes = Engine.walk, []

    def narrow(self, table, z, *rest, **options):
        sizes.append(len(z))
        if len(z) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return walk(self, table, z, *rest, **options)

    monkeypatch.setattr(Engine, "walk", narrow)
    made = sampled(plans_of(model_folder), engine)
    assert sizes == [3, 2, 1, 1, 1]
    assert all(one.trajectory is not None for one in made)


def test_run_that_is_not_finite_leaves_the_others(model_folder, engine, monkeypatch):
    draw = sample_module.initial_noise

    def poisoned(seeds, *shape):
        noise = draw(seeds, *shape)
        noise[[seed == 1 for seed in seeds]] = torch.inf
        return noise

    monkeypatch.setattr(sample_module, "initial_noise", poisoned)
    made = sampled(plans_of(model_folder), engine)
    assert isinstance(made[1].error, UserError)
    assert "row 0" in str(made[1].error)
    assert [one.error for one in (made[0], made[2])] == [None, None]


@pytest.mark.slow
def test_bundled_run_beside_others_is_the_run_alone():
    plans = plans_of("bundled", scheduler={"type": "pndm", "num_steps": 50})
    engine = Engine.start(plans[0])
    for plan, beside in zip(plans, sampled(plans, engine), strict=True):
        [alone] = sampled([plan], engine)
        theirs, ours = alone.trajectory.latents, beside.trajectory.latents
        worst = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        print(f"guidance {plan.config.guidance_scale}: {worst:.1e}")
        assert worst <= TOLERANCE
