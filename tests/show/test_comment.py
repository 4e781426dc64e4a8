"""The text that each format keeps beside its pixels."""

import numpy as np
import pytest
from PIL import Image

from sdloop.machine.errors import UserError
from sdloop.show.comment import read_comment
from sdloop.show.figure.png import write_frames, write_png
from sdloop.show.film.film import write_apng, write_mp4, write_webp
from sdloop.show.film.gif import write_gif

TEXTS = ["short", "two\nlines: Äffchen 🐒", "x" * 255, "é" * 5000]
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
FILMS = {"gif": write_gif, "webp": write_webp, "apng": write_apng, "mp4": write_mp4}


@pytest.mark.parametrize("text", TEXTS, ids=len)
@pytest.mark.parametrize("suffix", FILMS)
def test_animations_keep_a_comment(tmp_path, suffix, text):
    path = tmp_path / f"film.{suffix}"
    FILMS[suffix](path, FRAMES, [100, 100, 300], comment=text)
    assert read_comment(path) == text
    if suffix != "mp4":  # nothing else in the file has changed
        FILMS[suffix](tmp_path / f"plain.{suffix}", FRAMES, [100, 100, 300])
        with Image.open(path) as film, Image.open(tmp_path / f"plain.{suffix}") as plain:
            assert film.n_frames == plain.n_frames == 3
            for frame in range(3):
                film.seek(frame)
                plain.seek(frame)
                assert film.convert("RGB").tobytes() == plain.convert("RGB").tobytes()


@pytest.mark.parametrize("text", TEXTS, ids=len)
def test_pngs_keep_a_comment(tmp_path, text):
    write_png(tmp_path / "one.png", FRAMES[0], text)
    write_frames(tmp_path / "all", FRAMES, comment=text)
    paths = [tmp_path / "one.png", *sorted((tmp_path / "all").iterdir())]
    assert [read_comment(path) for path in paths] == [text] * 4
    np.testing.assert_array_equal(np.asarray(Image.open(paths[0])), FRAMES[0])


@pytest.mark.parametrize("suffix", FILMS)
def test_files_without_a_comment_have_none(tmp_path, suffix):
    FILMS[suffix](tmp_path / f"film.{suffix}", FRAMES, [100, 100, 100])
    assert read_comment(tmp_path / f"film.{suffix}") is None


@pytest.mark.parametrize("suffix", [*FILMS, "png"])
def test_a_damaged_or_missing_file_is_named(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with pytest.raises(UserError, match=rf"{path}: cannot be read: No such file"):
        read_comment(path)
    path.write_bytes(b"no picture at all")
    with pytest.raises(UserError, match=rf"{path}: is not a picture that can be read"):
        read_comment(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=rf"{path}: cannot be read: not a regular file"):
        read_comment(path)
