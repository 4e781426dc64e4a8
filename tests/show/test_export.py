"""Strips, tables and PNG files, opened again and compared."""

import csv

import imageio.v3 as iio
import numpy as np
import pytest

from sdloop.show.difference import difference_maps
from sdloop.show.figure.png import write_frames
from sdloop.show.figure.strip import write_strip
from sdloop.show.figure.table import write_steps


@pytest.mark.parametrize("color_bar", [False, True])
def test_strip_shows_the_stages_over_their_maps(tmp_path, images, color_bar):
    images = images.repeat(3, axis=1).repeat(3, axis=2)
    maps = difference_maps(images, scale="global" if color_bar else "image")
    path = tmp_path / "strip.png"
    write_strip(path, images, maps, stages=[0, 4], color_bar=color_bar)
    strip = iio.imread(path)
    for stage, picture in ((0, images[1]), (4, images[5]), (0, maps.rgb[0]), (4, maps.rgb[4])):
        assert find_in(strip, picture), stage


def test_strip_tells_steps_that_try_apart(tmp_path, images):
    maps, path = difference_maps(images), tmp_path / "strip.png"
    drawn = []
    for marks in ((), ("tries", "", "", "", "again"), ("", "", "", "", "again")):
        write_strip(path, images, maps, stages=[0, 4], marks=marks)
        drawn.append(iio.imread(path).astype(int))
    plain, both, second = drawn
    middle, top = plain.shape[1] // 2, 30  # above the pictures
    assert (plain != both)[:top, :middle].any()
    assert not (plain != second)[:, :middle].any()
    assert (plain != second)[:top, middle:].any()
    assert not (plain != both)[top:].any()


@pytest.mark.parametrize("color_bar", [False, True])
def test_strip_writes_a_maps_error_under_it(tmp_path, images, color_bar):
    images = images.repeat(3, axis=1).repeat(3, axis=2)
    maps, path = (
        difference_maps(images, scale="global" if color_bar else "image"),
        tmp_path / "s.png",
    )
    drawn = []
    for errors in ((), (0,) * 5, (0, 0, 0, 0, 0.05)):
        write_strip(path, images, maps, [0, 4], color_bar=color_bar, errors=errors)
        drawn.append(iio.imread(path).astype(int))
    plain, exact, second = drawn
    np.testing.assert_array_equal(plain, exact)
    assert (len(second) > len(plain)) == color_bar  # a line of its own, where none stands yet
    foot = second[len(plain) :] if color_bar else (second - plain)[-30:]
    written = (foot != foot[0, 0]).any(axis=(0, 2))
    assert written.any()
    assert not written[: second.shape[1] // 3].any()  # the first map has none


def find_in(canvas, picture):
    """Tell whether a picture stands somewhere on a canvas, to the pixel."""
    height, width = picture.shape[:2]
    corner = (canvas == picture[0, 0]).all(axis=-1)
    return any(
        np.array_equal(canvas[y : y + height, x : x + width], picture)
        for y, x in zip(*np.nonzero(corner), strict=True)
    )


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
