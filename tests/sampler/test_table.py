"""The table against diffusers' schedulers, and against the definitions."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from sdloop.machine.errors import UserError
from sdloop.sampler.loop import walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import SchedulerSettings, alphas_cumprod, read_settings
from tests.oracles import BETAS, config_of, make_oracle

SAMPLERS = ("ddim", "plms", "prk")
STEPS = (1, 2, 3, 4, 5, 7, 20, 50)
GRID = [
    case
    for case in itertools.product(
        SAMPLERS,
        ("epsilon", "v_prediction"),
        ("leading", "linspace", "trailing"),
        (0, 1),
        (False, True),
        STEPS,
    )
    if case[0] != "prk" or case[-1] >= 4  # diffusers' Runge-Kutta warm-up needs four steps
]


@pytest.mark.parametrize(("sampler", "prediction", "spacing", "offset", "to_one", "steps"), GRID)
def test_every_frame_equals_diffusers(sampler, prediction, spacing, offset, to_one, steps):
    oracle = make_oracle(sampler, prediction, spacing, offset, to_one)
    table = make_table(read_settings(config_of(oracle)), steps)
    oracle.set_timesteps(steps)
    assert table.timesteps.tolist() == oracle.timesteps.tolist()

    def network(z, t):  # any function of both will do
        return torch.sin(z + t / 1000)

    z = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steps = walk(lambda z, row: network(z, oracle.timesteps[row]), table, z)
    for t, ours in zip(oracle.timesteps, steps, strict=True):
        z = oracle.step(network(z, t), t, z).prev_sample
        # diffusers' alphas are float32
        torch.testing.assert_close(ours.z, z, rtol=0, atol=5e-5 * float(z.abs().max()))


@pytest.mark.parametrize(
    ("sampler", "steps", "rows"), [("ddim", 50, 50), ("plms", 50, 51), ("prk", 50, 59)]
)
def test_rows_are_counted_from_the_table(sampler, steps, rows):
    oracle = make_oracle(sampler, "epsilon", "leading", 1, False)
    assert len(make_table(read_settings(config_of(oracle)), steps)) == rows


@pytest.mark.parametrize("sampler", ["ddim", "plms"])
def test_trailing_steps_that_go_on_below_zero_are_refused(sampler):
    oracle = make_oracle(sampler, "epsilon", "trailing", 0, False)
    oracle.set_timesteps(61)
    assert oracle.timesteps[-1] == -1  # of which diffusers takes the noisiest alpha
    with pytest.raises(UserError, match=r"num_steps = 61: .* goes on to timestep -1"):
        make_table(read_settings(config_of(oracle)), 61)
    assert len(make_table(read_settings(config_of(oracle)), 60)) >= 60


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_weights_are_at_most_four_and_sum_to_one_where_they_are_complete(sampler):
    oracle = make_oracle(sampler, "epsilon", "leading", 1, False)
    table = make_table(read_settings(config_of(oracle)), 20)
    assert ((table.w != 0).sum(axis=1) <= 4).all()
    np.testing.assert_allclose(table.w.sum(axis=1), 1, atol=1e-12)


def test_plms_second_row_corrects_the_first():
    oracle = make_oracle("plms", "epsilon", "leading", 1, False)
    table = make_table(read_settings(config_of(oracle)), 10)
    assert table.retakes.tolist() == [False, True] + [False] * 9
    assert table.base[1] == 0
    assert table.timesteps[1] == table.timesteps[2]
    assert table.signal_to[0] == table.signal_to[1]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_z0_hat_and_eps_recover_what_was_mixed(prediction):
    settings = SchedulerSettings("ddim", **BETAS, prediction_type=prediction)
    table = make_table(settings, 20)
    rng = np.random.default_rng(0)
    z0, eps = rng.standard_normal((2, 20))
    alpha = alphas_cumprod(settings)[table.timesteps.astype(int)]
    z = np.sqrt(alpha) * z0 + np.sqrt(1 - alpha) * eps
    v = np.sqrt(alpha) * eps - np.sqrt(1 - alpha) * z0
    output = eps if prediction == "epsilon" else v
    np.testing.assert_allclose(table.z0_from_z * z + table.z0_from_output * output, z0)
    np.testing.assert_allclose(table.eps_from_z * z + table.eps_from_output * output, eps)


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_alphas_equal_diffusers(beta_schedule):
    oracle = DDIMScheduler(beta_schedule=beta_schedule)
    ours = alphas_cumprod(SchedulerSettings("ddim", beta_schedule=beta_schedule))
    np.testing.assert_allclose(ours, oracle.alphas_cumprod.numpy(), rtol=2e-4)


def test_trained_betas_are_used():
    settings = SchedulerSettings("ddim", num_train_timesteps=2, trained_betas=(0.5, 0.5))
    np.testing.assert_array_equal(alphas_cumprod(settings), [0.5, 0.25])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prediction_type": "flow_prediction"}, "prediction_type = 'flow_prediction'"),
        ({"clip_sample": True}, "clip_sample = True"),
        ({"thresholding": True}, "thresholding = True"),
        ({"timestep_spacing": "uniform"}, "timestep_spacing = 'uniform'"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule = 'sigmoid'"),
        ({"_class_name": "VQDiffusionScheduler"}, "VQDiffusionScheduler"),
    ],
)
def test_unsupported_settings_are_refused_by_name(change, named):
    config = config_of(make_oracle("ddim", "epsilon", "leading", 0, True))
    with pytest.raises(UserError, match=named):
        read_settings({**config, **change})


def test_kind_can_be_chosen_over_an_unsupported_class():
    settings = read_settings({"_class_name": "EulerDiscreteScheduler", **BETAS}, "ddim")
    assert settings.kind == "ddim"
    assert settings.beta_end == BETAS["beta_end"]


@pytest.mark.parametrize(
    ("settings", "steps", "named"),
    [
        (SchedulerSettings("ddim"), 0, "1 to 1000"),
        (SchedulerSettings("ddim"), 1001, "1 to 1000"),
        (SchedulerSettings("ddim", steps_offset=1), 1000, "timestep 1000 is beyond"),
        (SchedulerSettings("pndm"), 3, "at least 4"),
    ],
)
def test_impossible_numbers_of_steps_are_refused(settings, steps, named):
    with pytest.raises(UserError, match=named):
        make_table(settings, steps)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SchedulerSettings("ddim").kind = "pndm"
