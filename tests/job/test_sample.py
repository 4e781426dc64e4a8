"""Runs whose rows add fresh noise, against diffusers' pipeline with the same seed."""

import diffusers
import numpy as np
import pytest
import torch

from sdloop.job.config_file import load_config
from sdloop.job.engine import Engine
from sdloop.job.events import Stages
from sdloop.job.plan import prepare, settle
from sdloop.job.sample import open_progress, sample
from sdloop.show.changes import Changes
from sdloop.show.measure.whole_run import measure_run

STEPS, SEED, GUIDANCE = 5, 3, 4.0


@pytest.mark.parametrize(
    ("name", "scheduler", "options"),
    [
        ("euler_a", "EulerAncestralDiscreteScheduler", {}),
        (
            "dpm++_2m_sde_karras",
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
        ),
        ("lcm", "LCMScheduler", {"skip_prk_steps": False}),
    ],
)
def test_a_run_with_fresh_noise_equals_the_pipeline_of_its_seed(
    tiny_config, name, scheduler, options
):
    overrides = [f"scheduler.type={name}", f"guidance_scale={GUIDANCE}", "export.stages=null"]
    plan = settle(prepare(load_config(tiny_config, overrides)))
    engine, told = Engine.start(plan), []
    plan.folder.mkdir()
    with open_progress(plan, engine) as progress:
        trajectory = sample(plan, engine, progress, Stages(told.append))

    models = engine.models
    oracle = getattr(diffusers, scheduler).from_config(plan.source.scheduler, **options)
    pipeline = diffusers.StableDiffusionPipeline(
        models.vae, models.text_encoder, models.tokenizer, models.unet, oracle, None, None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.scheduler = oracle
    pipeline.set_progress_bar_config(disable=True)
    seen = []

    def keep(pipe, step, timestep, values):
        seen.append(values["latents"][0].clone())
        return {}

    pipeline(
        plan.config.prompt, guidance_scale=GUIDANCE, num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(SEED), output_type="latent",
        callback_on_step_end=keep,
    )  # fmt: skip
    in_sigma = plan.table.signal_to if name.startswith("euler") else np.ones(STEPS)
    for frame, theirs, signal in zip(trajectory.latents[1:], seen, in_sigma, strict=True):
        top = float(theirs.abs().max()) * signal
        torch.testing.assert_close(frame, signal * theirs, rtol=0, atol=1e-4 * top)

    images = torch.zeros(len(trajectory.latents), 8, 8, 3, dtype=torch.uint8)
    columns = measure_run(trajectory, plan.table, GUIDANCE, Changes.of(images)).columns()
    generator = torch.Generator().manual_seed(SEED)
    drawn = [torch.randn(1, 4, 8, 8, generator=generator) for _ in range(STEPS + 1)][1:]
    added = plan.table.c * [float(each.square().mean().sqrt()) for each in drawn]
    np.testing.assert_allclose(columns["noise_part_rms"], added, rtol=1e-6)
