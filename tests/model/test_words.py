"""A prompt's words and their tokens."""

import json

import pytest
from transformers import CLIPTokenizer

from sdloop.model.text import encode_prompts
from sdloop.model.words import words_of
from tests.conftest import TOKENS, build_tokenizer


def texts_and_counts(models, prompt):
    return [(text, len(tokens)) for text, tokens in words_of(models.tokenizer, prompt)]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a cat", [("a", 1), ("cat", 3)]),
        ("A  Cat,\nhat", [("A", 1), ("Cat", 3), (",", 1), ("hat", 3)]),
        ("don't-go up", [("don't-go", 8), ("up", 2)]),
        ("- x-", [("-", 1), ("x", 1), ("-", 1)]),
        ("", []),
        ("abcde fghij klmno pq", [("abcde", 5), ("fghij", 5), ("klmno", 4)]),  # cut at 14
    ],
)
def test_words_have_the_tokens_of_their_letters(models, prompt, words):
    begin, *found, end = texts_and_counts(models, prompt)
    assert found == words
    assert begin == ("", 1)
    assert end == ("", TOKENS - 1 - sum(count for _, count in words))


@pytest.mark.parametrize(
    "prompt",
    [
        "a panda, in e\u0301 snow",
        "İstanbul ﬁsh",
        "😀😀 12 cats",
        "猫が好き हिन्दी",
        "a\u200db <|endoftext|> c",
    ],
)
def test_every_token_belongs_to_one_word_whatever_is_written(bundled, prompt):
    words = words_of(bundled.tokenizer, prompt)
    numbers = [token for _, tokens in words for token in tokens]
    assert numbers == list(range(bundled.tokenizer.model_max_length))
    assert all(text.strip() == text and text in prompt for text, _ in words)
    ids = bundled.tokenizer(prompt).input_ids
    assert len(words[-1][1]) == bundled.tokenizer.model_max_length - len(ids) + 1


def test_vectors_of_a_textual_inversion_are_one_word(tmp_path):
    build_tokenizer(tmp_path / "t")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "t")
    tokenizer.add_tokens(["<cat>", "<cat>_1", "<cat>_2"])
    _, *words, _ = words_of(tokenizer, "a <cat> on x")
    assert [(text, len(tokens)) for text, tokens in words] == [
        ("a", 1), ("<cat>", 3), ("on", 2), ("x", 1)
    ]  # fmt: skip


def test_tokens_are_those_that_are_encoded(models):
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a cat"])
    assert sum(len(tokens) for _, tokens in words_of(models.tokenizer, "a cat")) == len(
        embeddings[0]
    )
    assert json.dumps(words_of(models.tokenizer, "a"))
