"""The pointing game of scripts/words.py."""

import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts_on_the_path(monkeypatch):
    """Find the script as it is found when it is called."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in ("words", "words_truth", "steps_matter", "sweeps"):
        sys.modules.pop(name, None)


def scene():
    """Paint a pink animal with a dark hat, whose band is pink, on white; return it and the hat."""
    picture = np.full((128, 128, 3), 250, np.uint8)
    picture[50:110, 30:100] = (240, 110, 170)
    hat = np.zeros((128, 128), bool)
    hat[20:50, 50:80] = True
    picture[hat] = (50, 40, 55)
    picture[38:41, 50:80] = (220, 40, 90)
    picture[70:75, 60:65] = (30, 30, 30)  # an eye is as dark
    return picture, hat


def test_a_hat_is_told_from_its_animal_by_colour():
    from words_truth import hat_and_animal

    picture, hat = scene()
    found, animal = hat_and_animal(picture, "top hat")
    np.testing.assert_array_equal(found, hat)
    assert animal[60, 40]
    assert animal[72, 62]  # its eye
    assert not (animal & hat).any()
    assert not animal[10, 10]
    assert hat_and_animal(picture, "cap") is None


@pytest.mark.parametrize(("color", "level"), [("red", (200, 20, 30)), ("blue", (30, 60, 210))])
def test_a_spheres_colour_is_seen(color, level):
    from words_truth import SPHERES, shows

    picture = np.full((64, 64, 3), 245, np.uint8)
    picture[20:40, 20:40] = level
    assert [name for name in SPHERES if shows(picture, name)] == [color]


def test_hits_count_the_middle_of_the_highest_place():
    from words import Sample, facts_of

    picture, hat = scene()
    animal = np.zeros_like(hat)
    animal[50:110, 30:100] = True
    maps = np.zeros((2, 3, 8, 8), np.float32)
    maps[0, :, 2, 4] = 1  # its middle is at 40, 72: the hat
    maps[1, 0, 0, 0] = 1  # nothing
    maps[1, 1:, 4, 4] = 1  # the animal
    maps[1, 2, 2, 3] = 2  # the hat
    sample = Sample(picture, np.stack([hat, animal]), maps)
    assert sample.hits(sample.maps)[0].tolist() == [[True, False]] * 3
    assert sample.hits(sample.maps)[1].tolist() == [[False, False], [False, True], [True, False]]
    facts = facts_of([sample, sample])
    assert facts["hat"]["own_words_by_step"] == [100, 100, 100]
    assert facts["hat"]["other_words_by_step"] == [0, 0, 100]
    assert facts["animal"]["own_words_by_step"] == [0, 100, 0]
    assert facts["animal"]["center"] == 100
    assert facts["hat"]["area"] == round(100 * 900 / 128**2, 1)
    other = Sample(picture, sample.masks[::-1], maps[::-1])
    facts = facts_of([sample, other])
    assert facts["hat"]["own_words_by_step"] == [50, 100, 50]
    assert facts["hat"]["other_seed_by_step"] == [0, 0, 50]
