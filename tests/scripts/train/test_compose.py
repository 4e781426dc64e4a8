"""The composer obeys captions and leaves the rest to chance."""

import numpy as np
import pytest
from PIL import Image

from scripts.train.scene.compose import PICTURE_PX, REACH
from scripts.train.scene.painter import CANVAS_PX, CELL, corner_of, snap
from scripts.train.scene.scene import Item, Scene
from scripts.train.scene.things import PLACES, PLAIN_COLOURS, STYLES

FOX, CAKE = Item("fox"), Item("birthday cake")
SEEDS = range(12)


def placed(composer, scene):
    return [composer.compose(scene, np.random.default_rng(seed))[1] for seed in SEEDS]


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_painted_and_differs_by_seed(composer, place):
    pictures = [
        composer.compose(Scene((FOX,), place=place), np.random.default_rng(s))[0] for s in (0, 0, 1)
    ]
    assert pictures[0].shape == (PICTURE_PX, PICTURE_PX, 3)
    assert pictures[0].dtype == np.uint8
    assert np.array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[0].astype(int) - pictures[2]).mean() > 5


def test_sides_are_kept(composer):
    left = [spots[0].x for spots in placed(composer, Scene((FOX,), side="left"))]
    right = [spots[0].x for spots in placed(composer, Scene((FOX,), side="right"))]
    assert max(left) < 0.5 < min(right)


def test_an_unsaid_side_is_anywhere(composer):
    middles = [spots[0].x for spots in placed(composer, Scene((FOX,)))]
    assert min(middles) < 0.42 < 0.58 < max(middles)


def test_sizes_are_kept_and_nothing_is_small(composer):
    reach = {
        size: [spots[0].reach for spots in placed(composer, Scene((Item("star"),), size=size))]
        for size in REACH
    }
    assert max(reach["small"]) < min(reach["large"])
    assert min(min(values) for values in reach.values()) > 0.4


def test_objects_lie_on_the_grid_of_the_latents_in_few_sizes(composer):
    spots = [spot for (spot,) in placed(composer, Scene((Item("sphere", colour="red"),)))]
    sizes = {round(spot.reach / CELL, 1) for spot in spots}
    assert len(sizes) > 2
    for spot in spots:
        for length in (spot.reach, spot.x - spot.reach / 2, spot.y - spot.reach / 2):
            assert length / CELL == pytest.approx(round(length / CELL), abs=0.13)  # tilted: 2 px


def test_snapping():
    assert snap(0.30) == 5 * CELL
    assert snap(0.01) == CELL
    assert snap(0.30, 2 * CELL) == 4 * CELL
    dot = Image.new("RGBA", (10, 9))
    assert corner_of(dot, 0.4 + 5 / CANVAS_PX, 0) == (96, -16)


def test_two_objects_stand_apart_on_either_side(composer):
    spots = placed(composer, Scene((FOX, CAKE), place="table"))
    assert all(abs(fox.x - cake.x) > 0.2 for fox, cake in spots)
    assert {fox.x < cake.x for fox, cake in spots} == {True, False}


def test_objects_stay_inside(composer):
    for spots in placed(composer, Scene((FOX,), place="meadow")):
        assert spots[0].reach / 2 - 0.08 < spots[0].x < 1.08 - spots[0].reach / 2


@pytest.mark.parametrize("colour", ["red", "blue"])
def test_a_sphere_has_its_colour_on_a_background_of_its_own(composer, colour):
    scene = Scene((Item("sphere", colour=colour),), colour="white")
    picture, (spot,) = composer.compose(scene, np.random.default_rng(3))
    at = picture[round(spot.y * PICTURE_PX), round(spot.x * PICTURE_PX)].astype(int)
    channel = {"red": 0, "blue": 2}[colour]
    assert at.argmax() == channel
    corner = picture[1, -2].astype(int)
    assert np.abs(corner - PLAIN_COLOURS["white"]).max() < 70


def test_a_hat_makes_the_figure_taller(composer):
    bare, worn = (
        composer.compose(Scene((Item("fox", hat),), side="middle"), np.random.default_rng(0))[0]
        for hat in ("", "top hat")
    )
    assert np.abs(bare.astype(int) - worn).mean() > 1


@pytest.mark.parametrize("style", [style for style in STYLES if style])
def test_a_style_changes_the_picture(composer, style):
    plain, styled = (
        composer.compose(Scene((FOX,), place="meadow", style=s), np.random.default_rng(0))[0]
        for s in ("", style)
    )
    assert np.abs(plain.astype(int) - styled).mean() > 0.5


def test_night_is_darker_than_day(composer):
    day, night = (
        np.mean(
            [
                composer.compose(
                    Scene((FOX,), place="meadow", time=time), np.random.default_rng(seed)
                )[0].mean()
                for seed in SEEDS
            ]
        )
        for time in ("", "night")
    )
    assert night < 0.75 * day
