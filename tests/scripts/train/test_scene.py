"""Scenes and captions: what training may show, and in which words."""

import numpy as np
import pytest

from scripts.train.scene.captions import (
    describe,
    draw_captioned,
    held_out_captions,
    vocabulary,
    with_article,
)
from scripts.train.scene.scene import (
    CONFIG_SCENES,
    HELD_OUT,
    Item,
    Scene,
    draw_scene,
    held_out,
    is_held_out,
)
from scripts.train.scene.things import HATS, THINGS

DRAWS = 1500


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Scene, str]]:
    return [draw_captioned(np.random.default_rng((0, k))) for k in range(DRAWS)]


def test_held_out_scenes_and_their_captions_are_never_drawn(drawn):
    kept = held_out_captions()
    assert len(kept) == HELD_OUT == 300
    assert all(is_held_out(scene) for scene in kept.values())
    assert not any(is_held_out(scene) for scene, _ in drawn)
    assert not kept.keys() & {caption for _, caption in drawn}


def test_without_the_check_some_scenes_would_be_held_out():
    """The test above could not fail if no draw ever hit a held-out combination."""
    combinations = set(held_out())
    singles = {(item, place) for item, place in combinations if not item.hat}
    scenes = [draw_scene(np.random.default_rng((1, k))) for k in range(300)]
    swapped = {(item, "forest") for scene in scenes for item in scene.items}
    assert swapped & singles


def test_config_prompts_are_drawn_as_the_configs_say_them(drawn):
    captions = [caption for _, caption in drawn]
    for prompt in CONFIG_SCENES:
        assert prompt in captions
    assert not any(is_held_out(scene) for scene in CONFIG_SCENES.values())


def test_every_known_word_is_in_the_vocabulary():
    words = set(vocabulary())
    rngs = [np.random.default_rng((2, k)) for k in range(DRAWS)]
    for rng in rngs:
        caption = describe(draw_scene(rng), rng)
        assert set(caption.replace(",", "").split()) <= words, caption


def test_a_whole_caption_says_everything_that_the_scene_fixes():
    scene = Scene(
        (Item("fox", "top hat"),), place="forest", time="night", style="cartoon", side="left"
    )
    for k in range(20):
        caption = describe(scene, np.random.default_rng(k), whole=True)
        for word in ("fox", "top hat", "night", "cartoon", "left"):
            assert word in caption
        assert "forest" in caption or "woods" in caption


def test_a_scene_is_decided_by_its_seed():
    first, second = (draw_captioned(np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert draw_captioned(np.random.default_rng(8)) != first


@pytest.mark.parametrize(
    ("word", "said"), [("owl", "an owl"), ("ufo", "a ufo"), ("unicorn", "a unicorn")]
)
def test_articles_follow_the_sound(word, said):
    assert with_article(word) == said


def test_hats_are_worn_by_those_that_can(drawn):
    hats = {item.hat for scene, _ in drawn for item in scene.items if item.hat}
    assert hats == set(HATS)
    wearers = {item.subject for scene, _ in drawn for item in scene.items if item.hat}
    assert all(THINGS[word].brim for word in wearers)
