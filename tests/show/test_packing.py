"""The page's pictures and the fixed-point numbers of its differences."""

import io

import numpy as np
from PIL import Image

from sdloop.show.difference import scale_to_indices
from sdloop.show.page.packing import LOSSLESS, compress_exactly, pack, sixteenths_of


def read(file):
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))[..., 0].astype(int)


def test_a_difference_is_kept_to_a_8160th_of_the_largest():
    generator = np.random.default_rng(0)
    values = generator.gamma(1, 2, (3, 32, 40)).astype(np.float32)
    values[2] = 0  # a step that changes nothing
    peaks = values.max(axis=(1, 2))
    packed = pack([scale_to_indices(values, peaks)], 10**6)
    assert packed.quality is LOSSLESS
    sixteenths = compress_exactly(sixteenths_of(values, peaks))
    for value, peak, file, rest in zip(values, peaks, packed.stacks[0], sixteenths, strict=True):
        kept = (read(file) + (read(rest) - 8) / 16) / 255 * peak
        assert np.abs(kept - value).max() <= peak / 8160 * 1.001
        assert np.abs(read(file) / 255 * peak - value).max() >= peak / 1000  # without them
