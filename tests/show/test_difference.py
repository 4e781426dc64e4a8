"""Differences and their colours."""

import numpy as np
import pytest
import torch

from sdloop.show.difference import absolute_difference, difference_maps, scale_to_indices, viridis


def pair(before, after):
    """Return two 2 x 2 pictures of one colour each."""
    colors = torch.tensor([before, after], dtype=torch.uint8)
    return colors[:, None, None].expand(2, 2, 2, 3)


def random_images(seed=0):
    """Return five pictures as a NumPy array; the last but one is repeated."""
    images = np.random.default_rng(seed).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
    images[3] = images[2]
    return images


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


def test_the_mean_is_a_third_of_the_sum_rounded_once():
    sums = np.arange(766)
    images = np.zeros((2, 1, 766, 3), dtype=np.uint8)
    for channel in range(3):
        images[1, 0, :, channel] = np.clip(sums - 255 * channel, 0, 255)
    values = absolute_difference(torch.from_numpy(images), "mean")
    # a product with the rounded 1/3 misses 254 of these
    np.testing.assert_array_equal(values[0, 0], (sums / 3).astype(np.float32))


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
    maps = difference_maps(np.full((3, 2, 2, 3), 9, dtype=np.uint8), scale=scale)
    assert not maps.indices.any()


def test_viridis_is_the_published_map():
    # first, middle and last rows of the table by Smith, van der Walt and Firing, times 255
    table = viridis()
    assert table.shape == (256, 3)
    np.testing.assert_array_equal(
        table[[0, 128, 255]], [[68, 1, 84], [33, 145, 140], [253, 231, 37]]
    )


@pytest.mark.parametrize("reduce", ["mean", "max", "rms"])
@pytest.mark.parametrize("scale", ["image", "global"])
def test_tensors_give_tensors_and_arrays_the_same_as_arrays(reduce, scale):
    images = random_images()
    arrays = difference_maps(images, reduce, scale)
    tensors = difference_maps(torch.from_numpy(images), reduce, scale)
    for name, dtype in (("indices", "uint8"), ("values", "float32"), ("full_scale", "float32")):
        tensor, array = getattr(tensors, name), getattr(arrays, name)
        assert isinstance(tensor, torch.Tensor)
        assert isinstance(array, np.ndarray)
        assert array.dtype == dtype
        np.testing.assert_array_equal(tensor.numpy(), array)
        np.testing.assert_array_equal(getattr(tensors.to_numpy(), name), array)
    np.testing.assert_array_equal(tensors.rgb, arrays.rgb)
    np.testing.assert_array_equal(np.stack(list(tensors.colored())), viridis()[arrays.indices])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["read-only", "reversed", "strided"])
def test_any_array_of_pictures_will_do_and_is_left_alone(kind):
    whole = random_images()
    images = {"read-only": whole, "reversed": whole[::-1], "strided": whole[:, ::2, ::3]}[kind]
    if kind == "read-only":
        images.setflags(write=False)
    expected = difference_maps(torch.tensor(images.copy())).to_numpy()
    before = images.copy()
    np.testing.assert_array_equal(difference_maps(images).values, expected.values)
    np.testing.assert_array_equal(images, before)


def test_indices_are_those_of_the_maps_whatever_their_kind():
    maps = difference_maps(torch.from_numpy(random_images()))
    assert torch.equal(scale_to_indices(maps.values, maps.full_scale), maps.indices)
    arrays = maps.to_numpy()
    indices = scale_to_indices(arrays.values, arrays.full_scale)
    assert isinstance(indices, np.ndarray)
    np.testing.assert_array_equal(indices, arrays.indices)
