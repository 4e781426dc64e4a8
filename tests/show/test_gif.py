"""GIFs, written by imageio through the plugin, opened again by other readers and compared."""

import io
import zipfile
from pathlib import Path

import imageio.v2
import imageio.v3 as iio
import numpy as np
import pytest
from imageio.config import known_plugins
from PIL import Image, ImageSequence

from sdloop.machine.threads import AHEAD, usable_cores
from sdloop.show.difference import difference_maps, viridis
from sdloop.show.film.gif import THREADS_PER_CORE, GifPlugin, hold_last, write_gif
from sdloop.show.film.palette import IndexedFrame, quantize

CONTROL = b"\x21\xf9\x04"  # begins each entry


def read_entries(file):
    """Return every entry's pixels and delay as Pillow shows them."""
    with Image.open(file) as animation:
        return [
            (np.asarray(entry.convert("RGB")), entry.info["duration"])
            for entry in ImageSequence.Iterator(animation)
        ]


def few_colors(frames=6):
    """Return frames that a palette holds exactly, (frames, 16, 20, 3); two of them are equal."""
    y, x = np.mgrid[0:16, 0:20]
    stack = [np.stack([x * 9, y // 4 * 60, 0 * x + 40 * k], axis=-1) for k in range(frames)]
    stack[3] = stack[2]
    return np.array(stack).astype(np.uint8)


def translucent():
    """Return a picture that is opaque but for one pixel."""
    picture = np.full((4, 4, 4), 255, dtype=np.uint8)
    picture[2, 2, 3] = 254
    return picture


@pytest.fixture
def path(tmp_path):
    """Return where a GIF may be written."""
    return tmp_path / "x.gif"


def test_imageio_knows_the_plugin_by_name(path):
    frames = few_colors()
    iio.imwrite(path, frames, plugin="sdloop", duration=150)
    pixels, delays_ms = zip(*read_entries(path), strict=True)
    np.testing.assert_array_equal(pixels, frames)
    assert delays_ms == (150,) * 6
    assert known_plugins["sdloop"].plugin_class is GifPlugin


def test_imageio_v2_knows_the_plugin_as_a_format(path):
    imageio.v2.mimsave(path, list(few_colors()), format="sdloop", duration=50)
    assert [delay_ms for _, delay_ms in read_entries(path)] == [50] * 6


def test_another_decoder_shows_the_same(path):
    av = pytest.importorskip("av", reason="PyAV is an extra: sdloop[mp4]")
    frames = few_colors()
    iio.imwrite(path, frames, plugin="sdloop", duration=[100, 200, 300, 100, 100, 100])
    with av.open(str(path)) as animation:
        shown = list(animation.decode(video=0))
        times_ms = [round(1000 * frame.time) for frame in shown]
    pixels = [frame.to_ndarray(format="rgb24") for frame in shown]
    np.testing.assert_array_equal(pixels, frames)
    assert times_ms == [0, 100, 300, 600, 700, 800]


def test_frames_written_one_by_one_may_reuse_their_array(path):
    frames, canvas = few_colors(40), np.zeros((16, 20, 3), dtype=np.uint8)
    with iio.imopen(path, "w", plugin="sdloop") as gif:
        for number, frame in enumerate(frames):
            canvas[:] = frame
            assert gif.write(canvas, duration=10 * number) is None
    pixels, delays_ms = zip(*read_entries(path), strict=True)
    np.testing.assert_array_equal(pixels, frames)
    assert delays_ms == tuple(range(0, 400, 10))


def test_frames_are_written_while_others_are_still_to_come():
    file = io.BytesIO()

    def frames():
        for number in range(50):
            waiting = number - file.getvalue().count(CONTROL)
            assert waiting <= AHEAD * THREADS_PER_CORE * usable_cores()
            yield few_colors()[number % 6]

    iio.imwrite(file, frames(), plugin="sdloop")
    assert file.getvalue().count(CONTROL) == len(read_entries(file)) == 50


def test_bytes_files_and_archives_hold_the_same(tmp_path, path):
    frames = few_colors()
    iio.imwrite(path, frames, plugin="sdloop")
    expected = path.read_bytes()
    assert iio.imwrite("<bytes>", frames, plugin="sdloop") == expected
    file = io.BytesIO()
    iio.imwrite(file, frames, plugin="sdloop")
    assert file.getvalue() == expected
    iio.imwrite(tmp_path / "some.zip/x.gif", frames, plugin="sdloop")
    with zipfile.ZipFile(tmp_path / "some.zip") as archive:
        assert archive.read("x.gif") == expected


def test_bytes_are_a_whole_file_after_each_frame():
    with iio.imopen("<bytes>", "w", plugin="sdloop") as gif:
        for count, frame in enumerate(few_colors(), start=1):
            assert len(read_entries(io.BytesIO(gif.write(frame)))) == count


@pytest.mark.parametrize(
    ("ndimage", "shown"),
    [
        (few_colors()[0], few_colors()[:1]),
        (few_colors()[..., 0], few_colors()[..., :1].repeat(3, axis=3)),
        (few_colors()[0, ..., :1], few_colors()[:1, ..., :1].repeat(3, axis=3)),
        (np.dstack([few_colors()[0], np.full((16, 20), 255, dtype=np.uint8)]), few_colors()[:1]),
        (list(few_colors()), few_colors()),
        (quantize(few_colors()[1]), few_colors()[1:2]),
        ([quantize(few_colors()[1]), few_colors()[2]], few_colors()[1:3]),
    ],
    ids=["rgb", "greys", "grey channel", "opaque", "list", "indexed", "mixed"],
)
def test_every_kind_of_picture_is_kept(path, ndimage, shown):
    iio.imwrite(path, ndimage, plugin="sdloop")
    np.testing.assert_array_equal([pixels for pixels, _ in read_entries(path)], shown)


def test_narrow_greys_are_told_from_colors_by_is_batch(path):
    greys = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
    iio.imwrite(path, greys, plugin="sdloop", is_batch=True)
    np.testing.assert_array_equal([pixels[..., 0] for pixels, _ in read_entries(path)], greys)


def test_grey_levels_are_exact(path):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    iio.imwrite(path, levels, plugin="sdloop")
    np.testing.assert_array_equal(read_entries(path)[0][0], levels[..., None].repeat(3, axis=2))


@pytest.mark.parametrize(("loop", "said"), [(0, 0), (3, 3), (None, None)])
def test_loops_are_told(path, loop, said):
    iio.imwrite(path, few_colors(), plugin="sdloop", loop=loop)
    with Image.open(path) as animation:
        assert animation.info.get("loop") == said
    assert iio.immeta(path, plugin="pillow").get("loop") == said


def test_times_are_rounded_to_hundredths_but_not_to_none(path):
    iio.imwrite(
        path, few_colors(), plugin="sdloop", duration=[0, 2, 1000 / 30, 35, 1234.5, 655_350]
    )
    assert [ms for _, ms in read_entries(path)] == [0, 10, 30, 40, 1230, 655_350]


def test_scale_repeats_pixels(path):
    iio.imwrite(path, few_colors(), plugin="sdloop", scale=3)
    expected = few_colors().repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal([pixels for pixels, _ in read_entries(path)], expected)


@pytest.mark.parametrize(
    ("ndimage", "keys", "message"),
    [
        (few_colors() / 255, {}, "a frame is float64"),
        (few_colors().astype(np.uint16), {}, "a frame is uint16"),
        (few_colors()[..., :2], {}, r"shape \(16, 20, 2\)"),
        (few_colors()[0, 0, 0], {}, r"shape \(3,\)"),
        (np.zeros((2, 0, 5, 3), dtype=np.uint8), {}, "5 x 0 px"),
        (np.zeros((2, 1, 65_536, 3), dtype=np.uint8), {}, "65536 x 1 px"),
        (translucent(), {}, "transparent"),
        ([few_colors()[0], few_colors()[1, :8]], {}, "20 x 8 px, but the first is 20 x 16 px"),
        ([], {}, "no frames"),
        (few_colors(), {"duration": -1}, "duration -1"),
        (few_colors(), {"duration": 655_361}, "duration 655361"),
        (few_colors(), {"duration": float("nan")}, "duration nan"),
        (few_colors(), {"duration": [100, 200]}, "6 frames, but 2 durations"),
        (iter(few_colors()), {"duration": [100, 200]}, "shorter"),
        (few_colors(), {"loop": -1}, "loop -1"),
        (few_colors(), {"loop": 65_536}, "loop 65536"),
        (few_colors(), {"scale": 0}, "scale 0"),
        (few_colors(), {"scale": 4000}, "scale 4000"),
    ],
)
def test_what_a_gif_cannot_hold_is_refused_by_name(path, ndimage, keys, message):
    with pytest.raises(ValueError, match=message):
        iio.imwrite(path, ndimage, plugin="sdloop", **keys)


def test_refused_frame_spoils_none_of_the_others(path):
    frames = few_colors()
    with iio.imopen(path, "w", plugin="sdloop") as gif:
        gif.write(frames)
        with pytest.raises(ValueError, match="float64"):
            gif.write(frames / 255)
        gif.write(frames)
    np.testing.assert_array_equal([p for p, _ in read_entries(path)], [*frames, *frames])
    with pytest.raises(ValueError, match="closed"):
        gif.write(frames)


def test_interrupted_file_holds_the_frames_so_far(path):
    frames = few_colors()

    def stopped():
        yield from frames
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        iio.imwrite(path, stopped(), plugin="sdloop")
    assert path.read_bytes().endswith(b";")
    np.testing.assert_array_equal([pixels for pixels, _ in read_entries(path)], frames)


def test_plugin_leaves_reading_and_other_formats_to_others(tmp_path, path):
    iio.imwrite(path, few_colors(), plugin="sdloop")
    with pytest.raises(OSError, match="can not handle") as refusal:
        iio.imread(path, plugin="sdloop")
    assert "does not read them" in str(refusal.value.__cause__)
    with pytest.raises(OSError, match="can not handle") as refusal:
        iio.imwrite(tmp_path / "x.png", few_colors()[0], plugin="sdloop")
    assert ".gif, not .png" in str(refusal.value.__cause__)
    unnamed = path.rename(tmp_path / "unnamed")
    np.testing.assert_array_equal(iio.imread(unnamed), few_colors()[[0, 1, 2, 3, 4, 5]])


def test_file_that_missed_a_frame_is_not_ended(images):
    class Interrupted(io.BytesIO):
        writes = 0

        def write(self, data):
            self.writes += 1
            if self.writes == 5:
                raise OSError(28, "No space left on device")
            return super().write(data)

    file = Interrupted()
    with pytest.raises(OSError, match="No space left"):
        iio.imwrite(file, images.repeat(9, axis=0), plugin="sdloop")
    assert file.writes == 5
    assert file.getvalue().count(CONTROL) == 3


def test_difference_gif_equals_the_maps(path, images):
    maps = difference_maps(images)
    frames = [IndexedFrame(indices, viridis()) for indices in maps.indices]
    write_gif(path, frames, hold_last(5, 100, 2000), scale=2)
    pixels, delays_ms = zip(*read_entries(path), strict=True)
    np.testing.assert_array_equal(pixels, maps.rgb.repeat(2, axis=1).repeat(2, axis=2))
    assert delays_ms == (100, 100, 100, 100, 2000)


def test_equal_frames_keep_an_entry_each(path, images):
    write_gif(path, [quantize(images[5])] * 4, [50, 60, 70, 80])
    assert [delay_ms for _, delay_ms in read_entries(path)] == [50, 60, 70, 80]


def test_frames_gif_is_close_and_each_frame_has_its_own_palette(path, images):
    write_gif(path, images, hold_last(6, 100, 500))
    gains_db = []
    for (pixels, _), image in zip(read_entries(path), images, strict=True):
        median_cut = Image.fromarray(image).quantize(256, dither=Image.Dither.NONE)
        usual = np.asarray(median_cut.convert("RGB")).astype(float)
        errors = [np.square(shown - image.astype(float)).mean() for shown in (pixels, usual)]
        gains_db.append(10 * np.log10(errors[1] / errors[0]))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) <= 256
    assert min(gains_db) > 0
    assert np.mean(gains_db) > 1


def test_frames_and_delays_must_be_as_many(tmp_path, images):
    with pytest.raises(ValueError, match="shorter"):
        write_gif(tmp_path / "x.gif", images, [100])
    assert list(tmp_path.iterdir()) == []


def test_folder_may_be_named_as_imageio_reads_paths(tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    for folder in ("~", "some.zip"):
        write_gif(Path(folder) / "x.gif", images, hold_last(6, 100, 500))
        assert len(read_entries(tmp_path / folder / "x.gif")) == 6
