"""Walks that start in the middle of another one's table, against the whole walk."""

import math

import pytest
import torch

from sdloop.machine.errors import UserError
from sdloop.sampler.answer import Replay
from sdloop.sampler.earlier import Earlier
from sdloop.sampler.loop import collect, fresh_noise, initial_noise, walk
from sdloop.sampler.methods import METHODS, make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.sampler.trajectory import Trajectory

SHAPE = (2, 4, 4)
SCALE = 3.0
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
MIXING = torch.randn(32, 32, generator=torch.Generator().manual_seed(0)).double() / 32**0.5
CASES = [
    (kind, prediction)
    for kind in METHODS
    for prediction in ("epsilon", "v_prediction", "sample", "flow_prediction")
    if prediction in METHODS[kind].predictions
]


def network_of(table):
    """Stand for a guided network: two functions of z and time that are not linear in z."""

    def predict(z, row):
        flat = z.reshape(1, -1).double()
        seen = torch.tanh(flat @ MIXING) * math.cos(float(table.timesteps[row]) / 300)
        halves = torch.cat([seen + 0.3 * flat, 1.2 * seen + 0.3 * flat])
        return halves.float().reshape(2, *SHAPE)

    return predict


def whole_walk(kind, prediction, num_steps=9, **options):
    """Return a table, its noise, the walk with guidance, and its trajectory."""
    settings = read_settings({**SD, "prediction_type": prediction, **options}, kind)
    table = make_table(settings, num_steps)
    noise = fresh_noise([7], table, *SHAPE) if table.noisy else None
    z = table.init * initial_noise([7], *SHAPE)
    steps = list(walk(network_of(table), table, z, SCALE, noise, 0.5))
    walked = collect(steps, z, len(table))
    times = torch.from_numpy(table.timesteps)
    return table, noise, steps, Trajectory.of_sample(walked, times, {"guidance_scale": SCALE})


def assert_tails_equal(kind, prediction, **options):
    table, noise, steps, trajectory = whole_walk(kind, prediction, **options)
    for row in {1, 2, 3, len(table) // 2, len(table) - 1}:
        earlier = Earlier.recall(trajectory, table, row, torch.device("cpu"))
        z = trajectory.latents[row][None]
        tail = list(walk(network_of(table), table, z, SCALE, noise, 0.5, earlier))
        assert [step.row for step in tail] == list(range(row, len(table)))
        for mine, theirs in zip(tail, steps[row:], strict=True):
            for name in ("z", "z0_hat", "guidance", "guidance_factor"):
                value, other = getattr(mine, name), getattr(theirs, name)
                top = max(float(getattr(step, name).abs().max()) for step in steps)
                torch.testing.assert_close(value, other, rtol=0, atol=1e-5 * top)


@pytest.mark.parametrize(("kind", "prediction"), CASES)
def test_a_tail_of_every_method_equals_the_whole_walk(kind, prediction):
    flow = prediction == "flow_prediction" and kind != "flow_euler"
    assert_tails_equal(kind, prediction, **({"use_flow_sigmas": True} if flow else {}))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_tail_of_the_runge_kutta_warm_up_equals_the_whole_walk(prediction):
    assert_tails_equal("pndm", prediction, skip_prk_steps=False)


@pytest.mark.parametrize("kind", ["ddim", "euler", "dpm++_2m", "unipc"])
def test_a_tail_after_a_frame_without_signal_equals_the_whole_walk(kind):
    zero_snr = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    assert_tails_equal(kind, "v_prediction", **zero_snr)


def test_only_what_later_rows_use_is_recalled():
    table, _, _, trajectory = whole_walk("pndm", "epsilon", skip_prk_steps=True)
    recalled = {row: Earlier.recall(trajectory, table, row, torch.device("cpu")) for row in (1, 6)}
    assert list(recalled[1].frames) == [0]  # row 1 takes the first step again
    assert list(recalled[1].kept) == [0]
    assert list(recalled[6].frames) == []
    assert list(recalled[6].kept) == [3, 4, 5]


def test_a_tail_with_other_noise_parts_only_where_noise_is_added():
    table, noise, steps, trajectory = whole_walk("euler_ancestral", "epsilon")
    earlier = Earlier.recall(trajectory, table, 4, torch.device("cpu"))
    other = fresh_noise([8], table, *SHAPE)
    z = trajectory.latents[4][None]
    tail = walk(network_of(table), table, z, SCALE, other, 0.5, earlier)
    expected = steps[4].z + table.c[4] * (other[4] - noise[4])
    torch.testing.assert_close(next(tail).z, expected.float(), rtol=0, atol=1e-5)


def test_rows_that_a_tail_computed_before_are_not_asked_about_again():
    table, noise, steps, trajectory = whole_walk("dpm++_2m", "epsilon")
    asked = []

    def predict(z, row):
        asked.append(row)
        return network_of(table)(z, row)

    earlier = Earlier.recall(trajectory, table, 3, torch.device("cpu"))
    known = [step.answer for step in steps[3:6]]
    replay = Replay(predict, known, torch.device("cpu"), first_row=3)
    z = trajectory.latents[3][None]
    tail = list(walk(replay, table, z, SCALE, noise, 0.5, earlier))
    assert asked == [6, 7, 8]
    top = float(steps[-1].z.abs().max())
    torch.testing.assert_close(tail[-1].z, steps[-1].z, rtol=0, atol=1e-5 * top)


def test_an_output_that_no_z0_hat_tells_is_refused_only_where_it_is_needed():
    table, _, _, trajectory = whole_walk("dpm++_2m", "epsilon")
    table.z0_from_output[2] = 0
    with pytest.raises(UserError, match=r"frame 3: no run .* in row 2"):
        Earlier.recall(trajectory, table, 3, torch.device("cpu"))
    assert list(Earlier.recall(trajectory, table, 4, torch.device("cpu")).kept) == [3]


def test_collect_copies_the_rows_that_were_left_out():
    table, _, steps, trajectory = whole_walk("lms", "epsilon")
    z = trajectory.latents[0][None]
    whole = collect(steps, z, len(table))
    before = collect(steps[:4], z, 4)
    joined = collect(steps[4:], steps[3].z, len(table), before)
    for name in ("latents", "z0_hat", "guidance", "guidance_factor"):
        assert torch.equal(getattr(joined, name), getattr(whole, name))
