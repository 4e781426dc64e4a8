"""Pictures that say where the object is."""

import numpy as np
import pytest
from PIL import Image

from sdloop.machine.errors import UserError
from sdloop.show.mask import read_mask

OBJECT = np.zeros((6, 8), dtype=bool)
OBJECT[1:4, 2:7] = True
LEVELS = OBJECT.astype(np.uint8) * 255
WHITE = np.full_like(LEVELS, 255)


def stacked(*channels):
    return Image.fromarray(np.stack(channels, axis=-1))


PICTURES = {
    "grey": Image.fromarray(LEVELS),
    "16 bits": Image.fromarray(OBJECT.astype(np.uint16) * 65535),
    "16 bits, dim around": Image.fromarray(np.where(OBJECT, 40_000, 30_000).astype(np.uint16)),
    "in colour": stacked(LEVELS, LEVELS, LEVELS),
    "white, cut out by alpha": stacked(WHITE, WHITE, WHITE, LEVELS),
    "black, cut out by alpha": stacked(0 * WHITE, 0 * WHITE, 0 * WHITE, LEVELS),
    "light on dark, opaque": stacked(LEVELS, LEVELS, LEVELS, WHITE),
    "grey with alpha": stacked(WHITE, LEVELS),
    "one bit": Image.fromarray(OBJECT),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_object_is_found_in_every_kind_of_picture(tmp_path, kind):
    PICTURES[kind].save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", 6, 8), OBJECT)


def test_palette_with_a_transparent_colour_is_read(tmp_path):
    indices = Image.fromarray(OBJECT.astype(np.uint8)).convert("P")
    indices.putpalette([255] * 768)
    indices.save(tmp_path / "mask.png", transparency=0)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", 6, 8), OBJECT)


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, 1), (8, 3)])
def test_camera_pictures_are_turned_as_they_say(tmp_path, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.rot90(LEVELS, turn)).save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", 6, 8), OBJECT)


def test_size_is_told_as_it_is_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(LEVELS).save(tmp_path / "mask.png", exif=exif)
    with pytest.raises(UserError, match="is 6 x 8 px; allowed: the run's size, 8 x 6"):
        read_mask(tmp_path / "mask.png", 6, 8)
