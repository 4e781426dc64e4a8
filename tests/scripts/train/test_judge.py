"""What evaluation measures: judges, damage, diversity."""

import numpy as np
import pytest
import torch

from scripts.train.evaluate import SEEDS, diversity, spread
from scripts.train.judge import prompts
from scripts.train.judge.cleanness import load_standard, train_standard
from scripts.train.judge.damage import DAMAGES, damage
from scripts.train.judge.truth import CLASSES, Verdict, class_of, label, train_judge
from scripts.train.report import ROWS, print_table, write_card
from scripts.train.scene.captions import held_out_captions
from scripts.train.scene.compose import Placed
from scripts.train.scene.scene import Item, Scene, is_held_out
from scripts.train.scene.things import HATS, PLACES

FOX, CAKE = Item("fox"), Item("birthday cake")
SPOT = (Placed(0.5, 0.5, 0.6),)


def verdict_on(objects=(), hats=(), place="plain", x=0.5):
    """A verdict that is sure of what it sees."""
    seen = torch.full((1, len(CLASSES)), -9.0)
    for rank, item in enumerate(objects):
        seen[0, class_of(item)] = 9.0 - rank
    worn = torch.tensor([[9.0 if hat in hats else -9.0 for hat in HATS]])
    places = torch.tensor([[9.0 if name == place else -9.0 for name in PLACES]])
    return Verdict(seen, worn, places, torch.tensor([[x, 0.5, 0.5]]))


def test_verdicts_agree_only_with_scenes_that_ask_for_what_is_seen():
    both = verdict_on([FOX, CAKE], ["crown"], "forest", x=0.2)
    pair = Scene((CAKE, Item("fox", "crown")), place="forest")
    assert both.shows([pair]).all()
    assert both.wears([pair]).all()
    assert both.stands_at([pair]).all()
    assert both.shows([Scene((FOX,))]).all()
    assert not both.shows([Scene((CAKE,))]).any()
    assert not both.shows([Scene((FOX, Item("cat")))]).any()
    assert not both.wears([Scene((FOX,))]).any()
    assert not both.stands_at([Scene((FOX,), place="snow")]).any()
    assert both.keeps_side([Scene((FOX,), side="left")]).all()
    assert not both.keeps_side([Scene((FOX,), side="right")]).any()


def test_shapes_of_two_colours_are_two_classes():
    assert class_of(Item("cube", colour="red")) != class_of(Item("cube", colour="blue"))


def test_labels_say_what_scenes_show():
    scenes = [Scene((Item("fox", "cap"),), place="snow"), Scene((FOX, CAKE))]
    made = label(scenes, [SPOT, SPOT * 2])
    assert made.objects.sum(1).tolist() == [1, 2]
    assert made.hats.sum(1).tolist() == [1, 0]
    assert made.places.tolist() == [PLACES.index("snow"), PLACES.index("plain")]
    assert torch.allclose(made.where[0], torch.tensor([0.5, 0.5, 0.6]))
    assert made.where[1].isnan().all()


@pytest.mark.slow
def test_truth_judge_tells_two_things_apart():
    """Red halves are foxes on the left, blue ones cakes on the right."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 40, (16, 64, 64, 3), dtype=np.uint8)
    pictures[::2, :, :32, 0] = pictures[1::2, :, 32:, 2] = 250
    scenes = [Scene((FOX,), place="snow"), Scene((CAKE,), place="city")] * 8
    placed = [(Placed(0.25, 0.5, 0.5),), (Placed(0.75, 0.5, 0.5),)] * 8
    judge = train_judge(pictures, label(scenes, placed), epochs=28)
    seen = judge.judge(pictures[:2])
    assert seen.shows(scenes[:2]).all()
    assert seen.stands_at(scenes[:2]).all()
    assert seen.where[0, 0] < seen.where[1, 0]


def test_damage_stays_in_the_object():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    small = (Placed(0.25, 0.25, 0.3),)
    for kind in range(10):
        made = damage(picture, small, np.random.default_rng(kind))
        changed = (made != picture).any(2)
        assert changed.any()
        assert not changed[80:, :].any()
        assert not changed[:, 80:].any()


def test_every_kind_of_damage_leaves_what_its_mask_leaves():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64))
    mask[20:40, 20:40] = 1
    for kind in DAMAGES:
        made = kind(picture, mask, rng)
        assert np.array_equal(made[mask == 0], picture[mask == 0])
        assert not np.array_equal(made[mask == 1], picture[mask == 1])


def test_standard_accepts_its_share_of_held_out_pictures_and_survives_a_file(tmp_path):
    rng = np.random.default_rng(0)
    clean = np.full((96, 32, 32, 3), 120, np.uint8) + rng.integers(0, 9, (96, 32, 32, 3), np.uint8)
    damaged = clean.copy()
    damaged[:, 10:20, 10:20] = 250
    standard = train_standard(clean[:48], damaged[:48], clean[48:], epochs=12)
    assert 0.9 < standard.accepts(clean[48:]).mean() <= 1
    assert standard.accepts(damaged[48:]).mean() < 0.5
    standard.save(tmp_path / "standard.pt")
    again = load_standard(tmp_path / "standard.pt")
    assert np.array_equal(again.accepts(clean), standard.accepts(clean))


def test_diversity_compares_the_seeds_of_one_prompt_only():
    same = np.zeros((2 * SEEDS, 4, 4, 3), np.uint8)
    same[SEEDS:] = 200
    assert diversity(same) == 0
    same[0] = 100
    assert diversity(same) == 100 * (SEEDS - 1) / (SEEDS * (SEEDS - 1))


def test_spread_is_the_standard_deviation_within_prompts():
    middles = np.zeros((2 * SEEDS, 2))
    middles[SEEDS:] = 0.5
    assert spread(middles) == 0
    middles[::2] += 0.2
    assert np.isclose(spread(middles), 0.1 * np.sqrt(SEEDS / (SEEDS - 1)))


def test_prompts_ask_for_what_they_are_named_after():
    assert all(len(scene.items) == 2 for scene in prompts.ask_pairs(8).scenes)
    assert all(scene.side in ("left", "right") for scene in prompts.ask_sides(8).scenes)
    assert all(scene.items[0].hat for scene in prompts.ask_hats(8).scenes)
    assert all(is_held_out(scene) for scene in prompts.ask_unseen(8).scenes)
    assert prompts.ask_unseen(300).captions == list(held_out_captions())
    choice = prompts.ask_choice(10, SEEDS)
    assert choice.seeds == list(range(SEEDS)) * 10
    assert len(set(choice.captions)) == 10
    assert "an astronaut relaxing on a tropical island" in choice.captions


def test_the_table_has_a_column_for_each_model(tmp_path, capsys):
    (tmp_path / "a.json").write_text('{"object": 51.24, "samples_seen": 1000}')
    (tmp_path / "b.json").write_text('{"object": 62.0}')
    print_table(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| | a | b |"
    assert "| samples seen | 1,000 |  |" in lines
    assert "| object % | 51.2 | 62.0 |" in lines


def test_the_card_shows_the_figures(tmp_path):
    facts = dict.fromkeys(ROWS, 12.5) | {
        "samples_seen": 98_304,
        "choice_rmse": 60.0,
        "choice_rmse_data": 75.0,
        "clean_damaged": 3.0,
        "judge_object": 97.5,
        "judge_pair": 97.5,
        "judge_place": 97.5,
        "judge_hat": 97.5,
        "captions": 300,
        "guidance": 3.5,
        "sampler": "ddim of 25 steps",
        "date": "2026-01-02",
    }
    write_card(facts, tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "98,304" in card
    assert "ddim of 25 steps" in card
    assert "12.5%" in card
