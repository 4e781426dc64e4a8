"""Per-step numbers on trajectories whose answer is known."""

import dataclasses

import numpy as np
import pytest
import torch

from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import SchedulerSettings
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.difference import absolute_difference
from sdloop.show.measure.steps import measure_steps


def test_numbers_of_a_known_walk():
    table = make_table(SchedulerSettings("ddim"), 3)
    steps = torch.zeros(3, 4, 2, 2)
    steps[0, 0], steps[1, 0], steps[2, 1] = 3.0, -1.0, 2.0  # back, then at a right angle
    latents = torch.cat([torch.zeros(1, 4, 2, 2), steps.cumsum(dim=0)])
    eps = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1, 1).expand(3, 4, 2, 2)
    signal, noise = (
        torch.from_numpy(level).float().reshape(3, 1, 1, 1) for level in (table.signal, table.noise)
    )
    z0_hat = (latents[:-1] - noise * eps) / signal
    guidance = torch.full((3, 4, 2, 2), -0.25)
    trajectory = Trajectory(latents, z0_hat, torch.from_numpy(table.timesteps), guidance, {})
    images = torch.zeros(4, 2, 2, 3, dtype=torch.uint8)
    images[1:] = 30
    images[2:, 0, 0] = 70
    measures = measure_steps(trajectory, table, absolute_difference(images, "mean"))
    np.testing.assert_allclose(measures.step_rms, [1.5, 0.5, 1.0])
    np.testing.assert_allclose(measures.z_rms, [1.5, 1.0, 2**0.5])
    np.testing.assert_allclose(measures.step_cosine, [np.nan, -1, 0], atol=1e-12)
    np.testing.assert_allclose(measures.eps_rms, [1, 2, 3], rtol=2e-4)  # from float32 z0_hat
    np.testing.assert_allclose(measures.guidance_rms, 0.25)
    np.testing.assert_allclose(measures.difference_mean, [30, 10, 0])
    np.testing.assert_allclose(measures.difference_max, [30, 40, 0])
    np.testing.assert_allclose(np.exp(measures.log_snr), table.signal**2 / table.noise**2)
    np.testing.assert_array_equal(measures.row, [0, 1, 2])
    kinds = {name: column.dtype.name for name, column in vars(measures).items()}
    assert kinds == {name: "int64" if name in ("row", "timestep") else "float64" for name in kinds}


def test_numbers_are_computed_in_float64():
    table = make_table(SchedulerSettings("ddim"), 1)
    latents = torch.full((2, 4, 64, 64), 1.0)
    latents[1] += 2**-20  # whose square float32 cannot add to 1
    trajectory = Trajectory(latents, latents[1:], torch.from_numpy(table.timesteps), None, {})
    still = torch.zeros(1, 2, 2)
    measures = measure_steps(trajectory, table, still)
    assert measures.z_rms[0] == pytest.approx(1 + 2**-20, rel=1e-14)
    assert measures.step_rms[0] == pytest.approx(2**-20, rel=1e-14)


def test_a_step_of_nothing_has_no_direction():
    table = make_table(SchedulerSettings("ddim"), 2)
    trajectory = Trajectory(
        torch.zeros(3, 4, 2, 2), torch.zeros(2, 4, 2, 2), torch.from_numpy(table.timesteps),
        None, {},
    )  # fmt: skip
    still = torch.zeros(2, 2, 2)
    measures = measure_steps(trajectory, table, still)
    assert np.isnan(measures.step_cosine).all()
    assert np.isnan(measures.guidance_rms).all()  # there was none


def test_times_between_the_trained_ones_stay_fractions():
    table = make_table(SchedulerSettings("ddim"), 2)
    between = dataclasses.replace(table, timesteps=table.timesteps + 0.5)
    trajectory = Trajectory(
        torch.ones(3, 4, 2, 2), torch.ones(2, 4, 2, 2), torch.from_numpy(table.timesteps), None, {}
    )
    still = torch.zeros(2, 2, 2)
    whole = measure_steps(trajectory, table, still).timestep
    assert whole.dtype == np.int64
    np.testing.assert_array_equal(whole, table.timesteps)
    fractions = measure_steps(trajectory, between, still).timestep
    np.testing.assert_array_equal(fractions, table.timesteps + 0.5)
