"""A run's pictures made small."""

import numpy as np
import pytest

from sdloop.show.page.small import Small, atlas_of, pictures_of


@pytest.mark.parametrize("count", [1, 2, 7, 9])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_atlas_gives_its_pictures_back(count, channels):
    rng = np.random.default_rng(count)
    pictures = rng.integers(0, 256, (count, 4, 6, *channels), dtype=np.uint8)
    np.testing.assert_array_equal(pictures_of(atlas_of(pictures), count), pictures)


def test_small_pictures_are_means_and_differences_keep_their_values():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 256, 200, 3), dtype=np.uint8)
    values = rng.random((2, 256, 200), dtype=np.float32) * [[[3]], [[40]]]
    values = values.astype(np.float32)
    small = Small.of(images, values, None)
    assert small.frames.shape == (3, 128, 100, 3)
    mean = images[1, 2:4, 6:8].reshape(4, 3).mean(axis=0)
    assert np.abs(small.frames[1, 1, 3] - mean).max() <= 0.5
    blocks = values.reshape(2, 128, 2, 100, 2).mean(axis=(2, 4))
    got = small.differences / np.float32(255) * small.peaks[:, None, None]
    assert np.abs(got - blocks).max() <= blocks.max() / 255
    smaller = small.smaller(4)
    assert smaller.frames.shape == (3, 32, 25, 3)
    np.testing.assert_allclose(
        smaller.peaks, blocks.reshape(2, 32, 4, 25, 4).mean(axis=(2, 4)).max(axis=(1, 2)), rtol=0.01
    )
    assert smaller.z0_hat is None
