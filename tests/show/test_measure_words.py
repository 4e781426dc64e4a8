"""Words: where they are attended, and what changed there."""

import numpy as np
import pytest
import torch

from sdloop.sampler.trajectory import Word
from sdloop.show.difference import viridis
from sdloop.show.figure.words import overlay
from sdloop.show.measure.words import measure_words

WORDS = [Word("", (0,)), Word("cat", (1, 2)), Word("a b\u00b2", (3,)), Word("", (4,))]


def attention(rows, *sizes):
    generator = torch.Generator().manual_seed(0)
    return {
        f"attention_{high}x{wide}": torch.rand((rows, 5, high, wide), generator=generator)
        .softmax(dim=1).mul(8).half()
        for high, wide in sizes
    }  # fmt: skip


def test_maps_are_shares_of_every_place():
    captured = attention(2, (4, 6), (2, 3))
    measured = measure_words(captured, WORDS, torch.rand(2, 32, 48))
    assert measured.maps.shape == (2, 4, 4, 6)
    np.testing.assert_allclose(measured.maps.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(measured.attention, measured.maps.mean(axis=(2, 3)), rtol=1e-6)
    fine = measure_words({"a": captured["attention_4x6"]}, WORDS, torch.rand(2, 32, 48))
    own = captured["attention_4x6"].float()
    expected = own[:, 1:3].sum(dim=1) / own.sum(dim=1)
    np.testing.assert_allclose(fine.maps[:, 1], expected, rtol=1e-5)


def test_change_is_how_strongly_its_places_changed_over_chance():
    share = torch.tensor([[0.1, 0.3], [0.2, 0.2]])
    captured = {"attention_2x2": torch.stack([torch.zeros(2, 2), share, 1 - share])[None].half()}
    words = [Word("", (0,)), Word("cat", (1,)), Word("", (2,))]
    change = torch.zeros(1, 8, 8)
    change[0, :4, 4:] = 3.0  # all in the place of 0.3
    change[0, 4:, :4] = 1.0  # and a quarter in one of 0.2
    measured = measure_words(captured, words, change)
    expected = (0.75 * 0.3 + 0.25 * 0.2) / 0.2
    np.testing.assert_allclose(measured.change[0, 1], expected, rtol=1e-3)
    assert np.isnan(measured.change[0, 0])  # a word that is attended nowhere


def test_an_even_map_and_an_even_change_are_chance():
    captured = attention(3, (4, 4))
    even = {"attention_4x4": torch.full((3, 5, 4, 4), 1.6).half()}
    changes = torch.rand(3, 16, 16)
    np.testing.assert_allclose(measure_words(even, WORDS, changes).change, 1, rtol=1e-6)
    flat = torch.full((3, 16, 16), 0.5)
    np.testing.assert_allclose(measure_words(captured, WORDS, flat).change, 1, rtol=1e-6)
    assert np.isnan(measure_words(captured, WORDS, 0 * flat).change).all()


def test_rows_of_which_none_was_kept_have_no_numbers():
    captured = attention(2, (4, 4))
    captured["attention_4x4"][0] = 0
    measured = measure_words(captured, WORDS, torch.rand(2, 16, 16))
    assert np.isnan(measured.attention[0]).all()
    assert np.isnan(measured.change[0]).all()
    assert np.isfinite(measured.attention[1]).all()


def test_columns_are_named_as_identifiers_each_once():
    words = [
        WORDS[0],
        *(Word(text, (1,)) for text in ("a", "a", "猫", "+", "x" * 99, "1=2")),
        WORDS[3],
    ]
    columns = measure_words(attention(1, (2, 2)), words, torch.rand(1, 4, 4)).columns()
    assert len(columns) == 2 * len(words)
    assert all(name.isidentifier() and len(name) < 50 for name in columns)
    assert {"begin_attention", "word_1_a_change", "word_3_猫_attention", "end_change"} <= set(
        columns
    )


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_overlay_gives_each_value_its_share_of_the_picture(size):
    picture = np.zeros((*size, 3), np.uint8)
    laid = overlay(picture, np.array([[0.0, 1.0], [1.0, 0.0]]))
    corners = laid[[0, 0, -1, -1], [0, -1, 0, -1]]
    expected = np.rint(0.6 * viridis()[[0, 255, 255, 0]])
    np.testing.assert_array_equal(corners, expected)
