"""Differences and their colours."""

import numpy as np
import pytest
import torch

from sdloop.difference import absolute_difference, difference_maps, viridis


def pair(before, after):
    """Return two 2 x 2 pictures of one colour each."""
    return np.array([np.full((2, 2, 3), before), np.full((2, 2, 3), after)], dtype=np.uint8)


@pytest.mark.parametrize(
    ("reduce", "expected"), [("mean", 80 / 3), ("max", 50.0), ("rms", (3400 / 3) ** 0.5)]
)
def test_channels_are_reduced_as_named(reduce, expected):
    values = absolute_difference(pair((0, 100, 60), (50, 70, 60)), reduce)
    np.testing.assert_allclose(values, np.full((1, 2, 2), expected), rtol=1e-6)


@pytest.mark.parametrize("reduce", ["mean", "max", "rms"])
def test_differences_do_not_wrap_around(reduce):
    values = absolute_difference(pair((0, 0, 0), (255, 255, 255)), reduce)
    np.testing.assert_array_equal(values, 255)
    falling = absolute_difference(pair((255, 255, 255), (0, 0, 0)), reduce)
    np.testing.assert_array_equal(falling, 255)


@pytest.mark.parametrize("peak", [1, 2, 7, 254, 255])
def test_largest_value_of_each_image_is_yellow(peak):
    images = np.zeros((3, 4, 4, 3), dtype=np.uint8)
    images[1, 0, 0] = peak
    images[2, 0, 0] = peak
    images[2, 3, 3] = 1
    maps = difference_maps(images)
    assert maps.indices[0, 0, 0] == 255
    assert maps.indices[1, 3, 3] == 255
    np.testing.assert_array_equal(maps.rgb[0, 0, 0], viridis()[255])
    np.testing.assert_array_equal(maps.full_scale, [peak, 1])
    np.testing.assert_array_equal(maps.rgb[0, 3, 3], viridis()[0])


def test_global_scale_is_one_for_the_run():
    images = np.zeros((3, 2, 2, 3), dtype=np.uint8)
    images[1:, 0, 0] = 100
    images[2, 1, 1] = 50
    maps = difference_maps(images, scale="global")
    np.testing.assert_array_equal(maps.full_scale, [100, 100])
    assert maps.indices[0, 0, 0] == 255
    assert maps.indices[1, 1, 1] == 128  # 127.5 to even


@pytest.mark.parametrize("scale", ["image", "global"])
def test_no_difference_stays_dark(scale):
    with np.errstate(all="raise"):
        maps = difference_maps(np.full((3, 2, 2, 3), 9, dtype=np.uint8), scale=scale)
    assert not maps.indices.any()


def test_viridis_is_shared_and_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        viridis()[0] = 0


def test_viridis_is_the_published_map():
    # first, middle and last rows of the table by Smith, van der Walt and Firing, times 255
    table = viridis()
    assert table.shape == (256, 3)
    np.testing.assert_array_equal(
        table[[0, 128, 255]], [[68, 1, 84], [33, 145, 140], [253, 231, 37]]
    )


@pytest.mark.parametrize("reduce", ["mean", "max", "rms"])
@pytest.mark.parametrize("scale", ["image", "global"])
def test_tensors_and_arrays_give_the_same_maps(reduce, scale):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
    images[3] = images[2]  # a map without any difference
    arrays = difference_maps(images, reduce, scale)
    tensors = difference_maps(torch.from_numpy(images), reduce, scale)
    assert isinstance(tensors.indices, torch.Tensor)
    back = tensors.to_numpy()
    np.testing.assert_allclose(back.values, arrays.values, rtol=1e-6)  # one root may be rounded
    np.testing.assert_allclose(back.full_scale, arrays.full_scale, rtol=1e-6)
    if reduce != "rms":
        np.testing.assert_array_equal(tensors.rgb, arrays.rgb)
