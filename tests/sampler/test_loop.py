"""The hand-written loop against diffusers' StableDiffusionPipeline."""

import itertools

import pytest
import torch
from diffusers import StableDiffusionPipeline

from sdloop.job.sample import denoise
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.sampler.loop import first_bad_row, fresh_noise, initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import alphas_cumprod, read_settings
from sdloop.sampler.trajectory import Trajectory
from tests.oracles import combinations_in, config_of, covering, make_oracle

PROMPT, NEGATIVE = "a panda", "rain"
SPACINGS = ("leading", "linspace", "trailing")
STEPS = (1, 2, 3, 7, 20, 50)
FULL = [
    (sampler, spacing, steps, offset, to_one, guidance, negative)
    for sampler, spacing, steps, offset, to_one, guidance, negative in itertools.product(
        ("ddim", "plms", "prk"), SPACINGS, STEPS, (0, 1), (False, True), (1.0, 7.5), ("", NEGATIVE)
    )
    if (sampler != "prk" or steps >= 4) and not (guidance == 1 and negative)
]
PAIRS = covering(FULL, 2)
TRIPLES = covering(FULL, 3)
BUNDLED = covering(  # of what its scheduler config says
    [case for case in FULL if case[1] == "leading" and case[3] == 1 and case[4] is False], 2
)


@pytest.mark.parametrize(("chosen", "strength"), [(PAIRS, 2), (TRIPLES, 3)])
def test_chosen_cases_hold_every_combination(chosen, strength):
    assert combinations_in(chosen, strength) == combinations_in(FULL, strength)


def assert_parity(models, prediction, case, rescale=0.0):
    """Compare every frame with what the pipeline's callback sees."""
    sampler, spacing, steps, offset, to_one, guidance, negative = case
    oracle = make_oracle(sampler, prediction, spacing, offset, to_one)
    z = initial_noise([11], 4, *models.source.sample_size)
    pipeline = StableDiffusionPipeline(
        models.vae, models.text_encoder, models.tokenizer, models.unet, oracle, None, None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.scheduler = oracle  # its constructor sets steps_offset to 1
    pipeline.set_progress_bar_config(disable=True)
    seen = [z]

    def keep(pipe, step, timestep, values):
        seen.append(values["latents"].clone())
        return {}

    last = pipeline(
        PROMPT, negative_prompt=negative or None, guidance_scale=guidance, latents=z.clone(),
        num_inference_steps=steps, output_type="latent", callback_on_step_end=keep,
        guidance_rescale=rescale,
    ).images  # fmt: skip

    schedule = make_table(read_settings(config_of(oracle)), steps)
    embeddings = encode_prompts(
        models.tokenizer, models.text_encoder, [PROMPT], [negative] if guidance != 1 else None
    )
    ours = denoise(models.unet, schedule, z, embeddings, guidance, guidance_rescale=rescale)
    assert (ours.guidance_factor is None) == (rescale == 0)
    assert len(seen) == len(ours.latents)
    for frame, theirs in zip(ours.latents, seen, strict=True):
        torch.testing.assert_close(frame, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))
    torch.testing.assert_close(ours.latents[-1], last, rtol=0, atol=1e-4 * float(last.abs().max()))


@pytest.mark.parametrize("case", PAIRS, ids=str)
def test_latents_equal_the_pipeline_epsilon(models, case):
    assert_parity(models, "epsilon", case)


@pytest.mark.parametrize("case", PAIRS, ids=str)
def test_latents_equal_the_pipeline_v_prediction(v_models, case):
    assert_parity(v_models, "v_prediction", case)


def test_latents_equal_the_pipeline_with_guidance_rescaled(models, v_models):
    case = ("plms", "leading", 7, 1, False, 7.5, NEGATIVE)
    assert_parity(models, "epsilon", case, 0.7)
    assert_parity(v_models, "v_prediction", case, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("case", TRIPLES, ids=str)
def test_latents_equal_the_pipeline_in_every_triple(models, v_models, case):
    assert_parity(models, "epsilon", case)
    assert_parity(v_models, "v_prediction", case)


@pytest.mark.parametrize("sampler", ["ddim", "plms", "prk"])
def test_latents_equal_the_pipeline_bundled(bundled, sampler):
    assert_parity(bundled, "epsilon", (sampler, "leading", 20, 1, False, 7.5, NEGATIVE))


@pytest.mark.slow
@pytest.mark.parametrize("case", BUNDLED, ids=str)
def test_latents_equal_the_pipeline_bundled_settings(bundled, case):
    assert_parity(bundled, "epsilon", case)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["ddim", "plms", "prk"])
def test_z0_hat_is_the_definition_for_every_row(models, v_models, sampler, prediction):
    networks = models if prediction == "epsilon" else v_models
    settings = read_settings(config_of(make_oracle(sampler, prediction, "leading", 1, False)))
    schedule = make_table(settings, 7)
    embeddings = encode_prompts(networks.tokenizer, networks.text_encoder, [PROMPT], [""])
    ours = denoise(networks.unet, schedule, initial_noise([2], 4, 8, 8), embeddings, 3.0)
    alphas = alphas_cumprod(settings)
    for row, t in enumerate(schedule.timesteps):
        z = ours.latents[row]
        with torch.no_grad():
            both = networks.unet(torch.cat([z, z]), t, embeddings).sample
        uncond, cond = both.chunk(2)
        output = uncond + 3.0 * (cond - uncond)
        alpha = float(alphas[int(t)])
        if prediction == "epsilon":
            z0 = (z - (1 - alpha) ** 0.5 * output) / alpha**0.5
            guidance = cond - uncond
        else:
            z0 = alpha**0.5 * z - (1 - alpha) ** 0.5 * output
            guidance = alpha**0.5 * (cond - uncond)
        scale = float(z0.abs().max())
        torch.testing.assert_close(ours.z0_hat[row], z0, rtol=0, atol=1e-4 * scale)
        torch.testing.assert_close(ours.guidance[row], guidance)


@pytest.mark.parametrize("name", ["models", "v_models"])
@pytest.mark.parametrize("sampler", ["ddim", "plms", "prk"])
def test_both_eps_follow_from_what_a_trajectory_holds(name, sampler, request):
    networks = request.getfixturevalue(name)
    prediction = "epsilon" if name == "models" else "v_prediction"
    table = make_table(
        read_settings(config_of(make_oracle(sampler, prediction, "leading", 1, False))), 6
    )
    embeddings = encode_prompts(networks.tokenizer, networks.text_encoder, [PROMPT], [""])
    z = initial_noise([2], 4, 8, 8)
    rescale = 0.7 if sampler == "ddim" else 0.0
    ours = denoise(networks.unet, table, z, embeddings, 3.0, guidance_rescale=rescale)
    times = torch.from_numpy(table.timesteps).to(torch.int64)
    trajectory = Trajectory.of_sample(ours, times, {"guidance_scale": 3.0})
    uncond, cond = trajectory.eps(table)
    for row, t in enumerate(times):
        z = ours.latents[row]
        with torch.no_grad():
            halves = networks.unet(torch.cat([z, z]), t, embeddings).sample
        if prediction == "v_prediction":
            halves = table.noise[row] * z + table.signal[row] * halves
        for mine, theirs in zip((uncond, cond), halves, strict=True):
            scale = float(theirs.abs().max())
            torch.testing.assert_close(mine[row], theirs, rtol=0, atol=5e-5 * scale)


def test_eps_of_an_unguided_trajectory_is_one(models):
    table = make_table(read_settings(models.source.scheduler), 3)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, [PROMPT])
    ours = denoise(models.unet, table, initial_noise([2], 4, 8, 8), embeddings, 1.0)
    times = torch.from_numpy(table.timesteps).to(torch.int64)
    uncond, cond = Trajectory.of_sample(ours, times, {"guidance_scale": 1.0}).eps(table)
    assert uncond is None
    assert cond.shape == ours.z0_hat[:, 0].shape


def test_a_walk_computes_nothing_before_a_step_is_asked_for(models):
    table = make_table(read_settings(models.source.scheduler), 5)
    asked = []

    def predict(z, row):
        asked.append(row)
        return torch.zeros_like(z)

    steps = walk(predict, table, initial_noise([0], 4, 8, 8))
    assert asked == []
    assert next(steps).row == 0
    assert asked == [0]
    assert [step.row for step in steps] == [1, 2, 3, 4, 5]


def test_two_walks_of_one_network_may_go_in_step(models):
    table = make_table(read_settings(models.source.scheduler), 4)
    z = initial_noise([0], 4, 8, 8)

    def steps_of(prompt):
        embeddings = encode_prompts(models.tokenizer, models.text_encoder, [prompt], [""])
        predict = UNetPredictor(
            models.unet, embeddings, table.timesteps, True, models.lock, shortcuts=True
        )
        return walk(predict, table, z, 5.0)

    alone = [[step.z for step in steps_of(prompt)] for prompt in ("a cat", "two dogs")]
    for row, pair in enumerate(zip(steps_of("a cat"), steps_of("two dogs"), strict=True)):
        for step, expected in zip(pair, alone, strict=True):
            assert torch.equal(step.z, expected[row])


@pytest.mark.parametrize("sampler", ["pndm", "euler_a"])  # euler_a adds fresh noise
def test_a_batch_of_samples_equals_each_alone(models, sampler):
    table = make_table(read_settings(models.source.scheduler, sampler), 5)
    prompts, seeds = ["a cat", "a dog"], [4, 5]

    def denoised(prompts, seeds):
        texts = [""] * len(prompts)
        embeddings = encode_prompts(models.tokenizer, models.text_encoder, prompts, texts)
        noise = fresh_noise(seeds, table, 4, 8, 8) if table.noisy else None
        z = initial_noise(seeds, 4, 8, 8)
        return denoise(models.unet, table, z, embeddings, 5.0, noise).latents

    batch = denoised(prompts, seeds)
    for sample in range(2):
        alone = denoised(prompts[sample : sample + 1], seeds[sample : sample + 1])
        top = float(alone.abs().max())
        torch.testing.assert_close(batch[:, sample], alone[:, 0], rtol=0, atol=1e-4 * top)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_unguided_calls_the_unet_on_half_the_batch(models, guidance):
    sizes = []
    hook = models.unet.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    schedule = make_table(read_settings(models.source.scheduler), 3)
    negative = None if guidance == 1 else [""]
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, [PROMPT], negative)
    ours = denoise(models.unet, schedule, initial_noise([0], 4, 8, 8), embeddings, guidance)
    hook.remove()
    assert sizes == [1 if guidance == 1 else 2] * 4
    assert (ours.guidance is None) == (guidance == 1)


def test_embeddings_of_the_wrong_batch_are_refused(models):
    schedule = make_table(read_settings(models.source.scheduler), 3)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, [PROMPT])
    with pytest.raises(ValueError, match="1 embeddings for 1 samples, guided: True"):
        denoise(models.unet, schedule, initial_noise([0], 4, 8, 8), embeddings, 7.5)


def test_noise_of_a_seed_does_not_depend_on_its_batch():
    torch.testing.assert_close(initial_noise([3, 9], 4, 8, 8)[1:], initial_noise([9], 4, 8, 8))


def test_first_bad_row_names_the_row(models):
    schedule = make_table(read_settings(models.source.scheduler), 3)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, [PROMPT])
    ours = denoise(models.unet, schedule, initial_noise([0], 4, 8, 8), embeddings, 1.0)
    assert first_bad_row(ours) is None
    ours.latents[3, 0, 0, 0, 0] = float("nan")
    assert first_bad_row(ours) == 2
