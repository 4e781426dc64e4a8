"""Palettes: close to the picture, exact where they can be, the same every time."""

import numpy as np
import pytest
from PIL import Image

from sdloop.show.difference import difference_maps, viridis
from sdloop.show.film.palette import IndexedFrame, beside, quantize

SIDE = 96
INVISIBLE_DB = 54  # the root mean square of the error is half a level


def psnr_db(ours, image):
    """Return the peak signal-to-noise ratio of an 8-bit picture."""
    return 10 * np.log10(255**2 / max(np.square(ours.astype(float) - image).mean(), 1e-10))


def painted(frame):
    """Return an indexed picture in colour."""
    return frame.palette[frame.indices]


def by_median_cut(image, colors=256):
    """Return a picture as Pillow's median cut shows it."""
    few = Image.fromarray(image).quantize(colors, dither=Image.Dither.NONE)
    return np.asarray(few.convert("RGB"))


def cube():
    """Return the 512 colours of one cell of eight levels a channel, over and over."""
    colors = np.stack(np.meshgrid(*[np.arange(8)] * 3), axis=-1).reshape(-1, 3) + 96
    return np.resize(colors, (SIDE, SIDE, 3))


def slope(span, noise):
    """Return a slope of `span` levels around grey, with noise of so many levels."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    smooth = np.stack([x, y, (x + y) / 2], axis=-1) * span + (255 - span) / 2
    return smooth + np.random.default_rng(0).normal(size=smooth.shape) * noise


def wave(span):
    """Return smooth stripes of all hues, `span` levels apart."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    channels = [np.sin(6 * x + 3 * y), np.cos(9 * y), np.sin(14 * x * y)]
    return np.stack(channels, axis=-1) * span / 2 + 127


def spotted(image):
    """Add a black and a white spot: the picture's range is full, its contrast as low as it was."""
    image = image.copy()
    image[:4, :4], image[-4:, -4:] = 0, 255
    return image


def half_flat(image):
    """Make one half of a picture flat."""
    image = image.copy()
    image[:, : SIDE // 2] = 128
    return image


KINDS = {
    "one cell": cube(),
    **{f"slope of {span}": slope(span, 0) for span in (16, 24, 64, 255)},
    **{f"noisy slope of {span}": slope(span, 2) for span in (8, 16, 32, 64, 255)},
    **{f"wave of {span}": wave(span) for span in (8, 16, 32, 64, 128, 255)},
    **{f"spotted wave of {span}": spotted(wave(span)) for span in (16, 32, 64)},
    **{f"noise of {noise}": slope(0, noise) for noise in (2, 4, 8, 16, 60)},
    **{f"half noise of {noise}": half_flat(slope(0, noise)) for noise in (2, 8, 60)},
    "flat": slope(0, 0),
}


@pytest.mark.parametrize("colors", [256, 192])
@pytest.mark.parametrize("kind", KINDS)
def test_palette_is_as_close_as_a_median_cut(kind, colors):
    image = KINDS[kind].clip(0, 255).round().astype(np.uint8)
    ours = psnr_db(painted(quantize(image, colors)), image)
    assert ours >= min(psnr_db(by_median_cut(image, colors), image), INVISIBLE_DB)


def test_colors_of_one_coarse_cell_keep_a_whole_palette():
    image = cube().astype(np.uint8)
    frame = quantize(image)
    assert len(np.unique(frame.palette, axis=0)) == 256
    # each of the 512 colours shares its entry with a neighbour, one level away: 55.9 dB
    assert psnr_db(painted(frame), image) >= psnr_db(by_median_cut(image), image) - 0.01


@pytest.mark.parametrize("colors", [2, 128, 256])
def test_palette_is_as_large_as_asked_and_the_same_every_time(images, colors):
    first, again = quantize(images[2], colors), quantize(images[2], colors)
    assert len(first.palette) == colors
    assert first.indices.max() < colors
    np.testing.assert_array_equal(first.indices, again.indices)
    np.testing.assert_array_equal(first.palette, again.palette)


@pytest.mark.parametrize("level", [0, 255])
def test_picture_of_one_color_has_one_entry(level):
    frame = quantize(np.full((8, 8, 3), level, dtype=np.uint8))
    np.testing.assert_array_equal(frame.palette, [[level] * 3])
    assert not frame.indices.any()


@pytest.mark.parametrize("step", [1, 16])
def test_picture_of_few_colors_is_exact_however_close_they_are(step):
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[..., 0] = np.arange(32) // 8 * step
    image[..., 1] = np.arange(32)[:, None] // 8 * step
    image[..., 2] = np.arange(1024).reshape(32, 32) % 4 * step
    frame = quantize(image, 64)
    assert len(frame.palette) == 64
    assert frame.palette.tolist() == sorted(frame.palette.tolist())  # the same bytes every time
    np.testing.assert_array_equal(painted(frame), image)


def test_picture_beside_its_map_shares_a_palette_with_it(images):
    maps = difference_maps(images)
    pixels = painted(beside(images[1], maps.indices[0], viridis()))
    assert pixels.shape == (48, 128, 3)
    assert np.abs(pixels[:, 64:].astype(int) - maps.rgb[0]).max() <= 8  # every fourth colour
    assert psnr_db(pixels[:, :64], images[1]) >= psnr_db(by_median_cut(images[1], 192), images[1])


@pytest.mark.parametrize(
    ("indices", "palette", "message"),
    [
        (np.zeros((2, 2), dtype=int), np.zeros((1, 3), dtype=np.uint8), "indices is int64"),
        (np.zeros((2, 2), dtype=np.uint8), np.zeros((1, 3)), "palette is float64"),
        (np.zeros((2, 2), dtype=np.uint8), np.zeros((257, 3), dtype=np.uint8), "not .1 to 256, 3."),
        (np.full((2, 2), 7, dtype=np.uint8), np.zeros((7, 3), dtype=np.uint8), "an index is 7"),
    ],
)
def test_indexed_frame_refuses_what_no_file_could_hold(indices, palette, message):
    with pytest.raises(ValueError, match=message):
        IndexedFrame(indices, palette)
