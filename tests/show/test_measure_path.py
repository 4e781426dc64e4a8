"""The latents' path in the plane of its two ends."""

import numpy as np
import pytest
import torch

from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import SchedulerSettings
from sdloop.show.measure.path import measure_path


def frames_of(table, rest=0.0):
    """Frames of a run whose model foretells one picture all along, and a rest beside it."""
    generator = torch.Generator().manual_seed(0)
    picture, noise, other = torch.linalg.qr(torch.randn(64, 3, generator=generator)).Q.T
    signal = np.append(table.signal_from[:1], table.signal_to)
    level = np.append(table.noise_from[:1], table.noise_to)
    frames = [8 * (s * picture + n * noise) for s, n in zip(signal, level, strict=True)]
    for frame in frames[1:-1]:
        frame += 8 * rest * other
    return torch.stack(frames).float().reshape(-1, 4, 4, 4)


@pytest.mark.parametrize("name", ["ddim", "pndm", "euler"])
def test_path_of_a_constant_prediction_is_straight(name):
    table = make_table(SchedulerSettings(name), 8)
    path = measure_path(frames_of(table), table)
    np.testing.assert_allclose(path.noise, path.straight_noise, atol=1e-5)
    np.testing.assert_allclose(path.picture, path.straight_picture, atol=1e-5)
    np.testing.assert_allclose(path.off_rms, 0, atol=1e-5)
    assert path.in_plane == pytest.approx(1)
    assert (path.noise[0], path.picture[-1]) == (pytest.approx(1), pytest.approx(1))
    assert (path.noise[-1], path.picture[0]) == (pytest.approx(0), pytest.approx(0))


def test_what_is_at_right_angles_to_both_ends_is_off_the_plane():
    table = make_table(SchedulerSettings("ddim"), 8)
    path = measure_path(frames_of(table, rest=0.5), table)
    np.testing.assert_allclose(path.off_rms, [0, *[0.5] * 7, 0], atol=1e-5)
    np.testing.assert_allclose(path.noise, path.straight_noise, atol=1e-5)
    assert path.in_plane == pytest.approx(1 - 7 * 0.25 / (9 + 7 * 0.25), abs=1e-4)
    assert path.sentence() == (
        "83.7% of the latents' squared length lies in this plane; the path leaves it by 0.5 at most"
    )


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_path_that_goes_nowhere_is_finite(value):
    table = make_table(SchedulerSettings("ddim"), 3)
    path = measure_path(torch.full((4, 4, 2, 2), value), table)
    assert all(np.isfinite(each).all() for each in (path.noise, path.picture, path.off_rms))
    assert path.in_plane == 1
