"""Animations, opened again and compared."""

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image, ImageSequence

from sdloop.show.difference import difference_maps
from sdloop.show.film.animation import write_animations
from sdloop.show.film.film import write_apng, write_mp4, write_webp

DELAYS_MS = [50, 60, 70, 80, 90, 2000]


@pytest.fixture
def images():
    """Return six frames of a slope that gets bluer; two of them are the same."""
    y, x = np.mgrid[0:24, 0:33]
    frames = [np.stack([x * 7, y * 10, 0 * x + 40 * k], axis=-1) for k in range(6)]
    frames[3] = frames[2]
    return np.array(frames).astype(np.uint8)


def read(path):
    """Return every entry's pixels and delay, and whether it loops for ever."""
    with Image.open(path) as animation:
        entries = [
            (np.asarray(entry.convert("RGB")), entry.info["duration"])
            for entry in ImageSequence.Iterator(animation)
        ]
        return [pixels for pixels, _ in entries], [ms for _, ms in entries], animation.info["loop"]


def test_apng_is_exact_and_equal_frames_keep_an_entry_each(tmp_path, images):
    write_apng(tmp_path / "a.apng", images, DELAYS_MS, scale=2)
    pixels, delays_ms, loop = read(tmp_path / "a.apng")
    np.testing.assert_array_equal(pixels, images.repeat(2, axis=1).repeat(2, axis=2))
    assert (delays_ms, loop) == (DELAYS_MS, 0)


def test_apng_shows_its_first_frame_where_only_png_is_known(tmp_path, images):
    write_apng(tmp_path / "a.png", images, DELAYS_MS)
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.png", index=0), images[0])


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_keeps_every_entry(tmp_path, images, lossless):
    write_webp(tmp_path / "a.webp", images, DELAYS_MS, scale=2, lossless=lossless)
    pixels, delays_ms, loop = read(tmp_path / "a.webp")
    error = np.abs(np.array(pixels, dtype=int) - images.repeat(2, axis=1).repeat(2, axis=2))
    assert error.max() == 0 if lossless else error.mean() < 4
    assert (delays_ms, loop) == (DELAYS_MS, 0)


def test_mp4_is_h264_for_browsers_and_holds_the_last_frame(tmp_path, images):
    av = pytest.importorskip("av", reason="PyAV is an extra: sdloop[mp4]")
    images[4] = (200, 30, 60)
    write_mp4(tmp_path / "a.mp4", images, [100] * 5 + [1000], scale=3)
    with av.open(str(tmp_path / "a.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (
            1,
            1,
        )  # BT.709
        assert (stream.width, stream.height) == (100, 72)  # 99 is odd
        assert stream.average_rate == 10
        assert float(stream.duration * stream.time_base) == pytest.approx(1.5)
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 5 + 10
    np.testing.assert_allclose(frames[4][30, 30].astype(int), (200, 30, 60), atol=4)
    np.testing.assert_allclose(frames[14].astype(int), frames[5].astype(int), atol=8)
    head = (tmp_path / "a.mp4").read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # it plays before it is there as a whole


@pytest.mark.parametrize("write", [write_webp, write_apng, write_mp4])
def test_frames_and_delays_must_be_as_many(tmp_path, images, write):
    with pytest.raises(ValueError, match="zip"):
        write(tmp_path / "x", images, [100])
    assert list(tmp_path.iterdir()) == []


def test_difference_animations_are_exact(tmp_path, images):
    maps = difference_maps(images)
    write_animations(tmp_path, images, maps, ("gif", "webp", "apng"), 100, 500, scale=2)
    for suffix in ("gif", "webp", "apng"):
        pixels, delays_ms, _ = read(tmp_path / f"difference.{suffix}")
        np.testing.assert_array_equal(pixels, maps.rgb.repeat(2, axis=1).repeat(2, axis=2))
        assert delays_ms == [100] * 4 + [500]
        assert np.array(read(tmp_path / f"evolution.{suffix}")[0]).shape == (5, 48, 132, 3)
