"""Files, opened again and compared."""

import csv

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image, ImageSequence

from sdloop.difference import difference_maps, viridis
from sdloop.export.gif import hold_last, write_gif
from sdloop.export.palette import IndexedFrame, beside, quantize
from sdloop.export.png import write_frames
from sdloop.export.strip import default_stages, write_strip
from sdloop.export.table import write_steps


@pytest.fixture
def images():
    """Return six frames of noise that settles on a smooth picture."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:48, 0:64]
    smooth = np.stack([x * 4, y * 5, 255 - x * 2], axis=-1)
    noise = rng.integers(0, 256, smooth.shape)
    mixed = [smooth * k / 5 + noise * (1 - k / 5) for k in range(6)]
    return np.array(mixed).round().astype(np.uint8)


def read_entries(path):
    """Return every entry's pixels and delay as a viewer shows them."""
    with Image.open(path) as animation:
        return [
            (np.asarray(entry.convert("RGB")), entry.info["duration"])
            for entry in ImageSequence.Iterator(animation)
        ]


def test_difference_gif_equals_the_maps(tmp_path, images):
    maps = difference_maps(images)
    path = tmp_path / "difference.gif"
    frames = [IndexedFrame(indices, viridis()) for indices in maps.indices]
    write_gif(path, frames, hold_last(5, 100, 2000), scale=2)
    entries = read_entries(path)
    assert len(entries) == 5
    for (pixels, _), expected in zip(entries, maps.rgb, strict=True):
        np.testing.assert_array_equal(pixels, expected.repeat(2, axis=0).repeat(2, axis=1))
    assert [delay for _, delay in entries] == [100, 100, 100, 100, 2000]


def test_equal_frames_keep_an_entry_each(tmp_path, images):
    path = tmp_path / "still.gif"
    write_gif(path, [quantize(images[5])] * 4, [50, 60, 70, 80])
    assert [delay for _, delay in read_entries(path)] == [50, 60, 70, 80]


def test_gif_loops_for_ever(tmp_path, images):
    path = tmp_path / "frames.gif"
    write_gif(path, map(quantize, images), hold_last(6, 100, 500))
    with Image.open(path) as animation:
        assert animation.info["loop"] == 0
        assert animation.n_frames == 6
    assert iio.immeta(path, plugin="pillow")["loop"] == 0


def test_frames_gif_is_close_and_each_frame_has_its_own_palette(tmp_path, images):
    path = tmp_path / "frames.gif"
    write_gif(path, map(quantize, images), hold_last(6, 100, 500))
    gains_db = []
    for (pixels, _), image in zip(read_entries(path), images, strict=True):
        median_cut = Image.fromarray(image).quantize(256, dither=Image.Dither.NONE)
        usual = np.asarray(median_cut.convert("RGB"))
        gains_db.append(psnr_db(pixels, image) - psnr_db(usual, image))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) <= 256
    assert min(gains_db) > 0
    assert np.mean(gains_db) > 1


def psnr_db(ours, image):
    """Return the peak signal-to-noise ratio of an 8-bit picture."""
    return 10 * np.log10(255**2 / np.square(ours.astype(float) - image).mean())


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


def test_picture_of_few_colors_is_kept_exactly(tmp_path):
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[:4, :, 0], image[:, :4, 1] = 200, 100
    path = tmp_path / "flat.gif"
    write_gif(path, [quantize(image)], [100])
    np.testing.assert_array_equal(read_entries(path)[0][0], image)


def test_evolution_pairs_a_frame_with_its_map(tmp_path, images):
    maps = difference_maps(images)
    path = tmp_path / "evolution.gif"
    write_gif(path, [beside(images[1], maps.indices[0], viridis())], [100])
    pixels = read_entries(path)[0][0]
    assert pixels.shape == (48, 128, 3)
    assert np.abs(pixels[:, 64:].astype(int) - maps.rgb[0]).max() <= 8  # every fourth colour
    assert np.abs(pixels[:, :64].astype(int) - images[1]).mean() < 20


def test_frames_and_delays_must_be_as_many(tmp_path, images):
    with pytest.raises(ValueError, match="shorter"):
        write_gif(tmp_path / "x.gif", map(quantize, images), [100])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("color_bar", [False, True])
def test_strip_shows_the_stages_over_their_maps(tmp_path, images, color_bar):
    images = images.repeat(3, axis=1).repeat(3, axis=2)
    maps = difference_maps(images, scale="global" if color_bar else "image")
    path = tmp_path / "strip.png"
    write_strip(path, images, maps, stages=[0, 4], color_bar=color_bar)
    strip = iio.imread(path)
    for stage, picture in ((0, images[1]), (4, images[5]), (0, maps.rgb[0]), (4, maps.rgb[4])):
        assert find_in(strip, picture), stage


def find_in(canvas, picture):
    """Tell whether a picture stands somewhere on a canvas, to the pixel."""
    height, width = picture.shape[:2]
    corner = (canvas == picture[0, 0]).all(axis=-1)
    return any(
        np.array_equal(canvas[y : y + height, x : x + width], picture)
        for y, x in zip(*np.nonzero(corner), strict=True)
    )


@pytest.mark.parametrize(("rows", "stages"), [(51, (0, 12, 25, 38, 50)), (2, (0, 1)), (1, (0,))])
def test_default_stages_reach_from_first_to_last(rows, stages):
    assert default_stages(rows) == stages


def test_steps_csv_reads_back(tmp_path):
    columns = {"row": np.array([0, 1]), "log_snr": np.array([0.5, np.nan])}
    write_steps(tmp_path / "steps.csv", columns)
    with (tmp_path / "steps.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert lines == [{"row": "0", "log_snr": "0.5"}, {"row": "1", "log_snr": ""}]


def test_steps_csv_takes_no_formula_for_a_name(tmp_path):
    with pytest.raises(ValueError, match="cannot be a column's name"):
        write_steps(tmp_path / "steps.csv", {"=1+1": np.array([0])})
    assert not (tmp_path / "steps.csv").exists()


def test_png_frames_are_exact_and_numbered(tmp_path, images):
    write_frames(tmp_path / "frames", images)
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"{number:03d}.png" for number in range(6)]
    np.testing.assert_array_equal(iio.imread(tmp_path / "frames/003.png"), images[3])
