"""Measures and differences on a stand-in for Apple's GPUs, which have no float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import SchedulerSettings
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.changes import Changes
from sdloop.show.difference import difference_maps
from sdloop.show.measure.first_look import first_look
from sdloop.show.measure.layout import coarse, local_detail, object_mask
from sdloop.show.measure.whole_run import measure_run
from tests.mps import MPS, Mps, OnMps

ROWS = 5


@pytest.fixture(autouse=True)
def stand_in():
    with Mps():
        yield


def test_the_stand_in_refuses_what_mps_refuses():
    tensor = torch.ones(5, 7).to(MPS)
    assert isinstance(tensor + 1, OnMps)
    assert isinstance(torch.zeros(2, device=tensor.device), OnMps)
    assert torch.equal(tensor.cpu().double(), torch.ones(5, 7, dtype=torch.float64))
    for refused in (
        lambda: tensor.double(),
        lambda: tensor.to(torch.float64),
        lambda: tensor.to("cpu", torch.float64),
        lambda: torch.ones(2, dtype=torch.float64).to(MPS),
        lambda: torch.zeros(2, device=MPS, dtype=torch.float64),
        lambda: tensor * torch.tensor([1.0] * 7).double().to(MPS),
        lambda: tensor.numpy(),
    ):
        with pytest.raises(TypeError):
            refused()
    with pytest.raises(RuntimeError, match="same device"):
        tensor + torch.ones(7)
    with pytest.raises(RuntimeError, match="divisible"):
        F.adaptive_avg_pool2d(tensor[None, None], (2, 2))


def pictures(height, width):
    """Return ROWS + 1 pictures in which a square becomes clear."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (ROWS + 1, height, width, 3), generator=generator)
    final = torch.zeros(height, width, 3)
    final[height // 4 : -height // 4, width // 4 : -width // 4] = torch.tensor([180.0, 40, 90])
    weights = torch.linspace(0, 1, ROWS + 1).reshape(-1, 1, 1, 1)
    return (images * (1 - weights) + final * weights).to(torch.uint8)


@pytest.mark.parametrize("size", [(64, 64), (72, 104)])  # 104 px are no multiple of their 23 cells
@pytest.mark.parametrize("masked", [False, True])
def test_every_measure_of_a_run_is_that_of_the_cpu(size, masked):
    images = pictures(*size)
    table = make_table(SchedulerSettings("ddim"), ROWS)
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(3 * ROWS + 1, 4, 8, 8, generator=generator)
    trajectory = Trajectory(
        latents[: ROWS + 1], latents[-ROWS:], torch.from_numpy(table.timesteps),
        latents[ROWS : 2 * ROWS], {},
    )  # fmt: skip
    mask = np.indices(size).sum(axis=0) < 80 if masked else None
    expected, ours = (
        measure_run(trajectory, table, 3.0, Changes.of(frames), mask)
        for frames in (images, images.to(MPS))
    )
    assert ours.facts() == expected.facts()
    np.testing.assert_array_equal(ours.commitment.settled_frame, expected.commitment.settled_frame)
    columns = ours.columns()
    for name, column in expected.columns().items():
        np.testing.assert_array_equal(columns[name], column, err_msg=name)


def test_first_look_is_that_of_the_cpu():
    images = pictures(64, 64)
    layouts = torch.stack([local_detail(image) for image in images])
    differences = layouts.flip(0) + layouts
    on_mps = [local_detail(image.to(MPS)) for image in images]
    expected, ours = (
        first_look(differences, layouts),
        first_look(differences.to(MPS), torch.stack(on_mps)),
    )
    for name, column in vars(expected).items():
        np.testing.assert_array_equal(getattr(ours, name), column, err_msg=name)


@pytest.mark.parametrize(
    "measure", [object_mask, local_detail, lambda image: coarse(image[..., 0].float())]
)
def test_what_is_measured_of_a_picture_stays_on_its_device(measure):
    picture = pictures(72, 104)[-1]
    ours = measure(picture.to(MPS))
    assert isinstance(ours, OnMps)
    assert torch.equal(ours.cpu(), measure(picture))


@pytest.mark.parametrize("reduce", ["mean", "max", "rms"])
@pytest.mark.parametrize("scale", ["image", "global"])
def test_maps_are_those_of_the_cpu(reduce, scale):
    images = pictures(32, 40)
    maps = difference_maps(images.to(MPS), reduce, scale)
    assert isinstance(maps.values, OnMps)
    for name, array in vars(difference_maps(images.numpy(), reduce, scale)).items():
        np.testing.assert_array_equal(getattr(maps.to_numpy(), name), array, err_msg=name)
