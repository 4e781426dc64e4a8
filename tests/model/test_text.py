"""Prompts to embeddings."""

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging

from sdloop.machine.errors import UserError
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.model.text import encode_prompts, expand, text_cut


def test_embeddings_equal_the_pipelines(models, model_folder):
    pipeline = StableDiffusionPipeline.from_pretrained(model_folder, safety_checker=None)
    cond, uncond = pipeline.encode_prompt("a cat", "cpu", 1, True, negative_prompt="rain")
    ours = encode_prompts(models.tokenizer, models.text_encoder, ["a cat"], ["rain"])
    torch.testing.assert_close(ours, torch.cat([uncond, cond]))


def test_uncond_rows_come_first(models):
    ours = encode_prompts(models.tokenizer, models.text_encoder, ["a", "b"], ["", ""])
    torch.testing.assert_close(ours[0], ours[1])
    assert not torch.equal(ours[2], ours[3])


def test_long_prompt_is_cut_as_the_pipeline_cuts_it(models, model_folder):
    prompt = "abcde fghij klmno pqrst uvw"
    pipeline = StableDiffusionPipeline.from_pretrained(model_folder, safety_checker=None)
    cond, _ = pipeline.encode_prompt(prompt, "cpu", 1, False)
    ours = encode_prompts(models.tokenizer, models.text_encoder, [prompt])
    torch.testing.assert_close(ours, cond)


@pytest.mark.parametrize(
    ("prompt", "cut"),
    [
        ("abcde fghij klmn", ""),  # 14 letters, 14 places
        ("abcde fghij klmno pq", "o pq"),
        ("a,b,c,d,e,f,g,h,i,j", "h , i , j"),  # one word of nineteen tokens
        ("", ""),
    ],
)
def test_cut_tokens_are_spelled(models, prompt, cut):
    assert text_cut(models.tokenizer, prompt) == cut


def test_what_is_cut_is_what_the_pipeline_names(models, model_folder, caplog):
    pipeline = StableDiffusionPipeline.from_pretrained(model_folder, safety_checker=None)
    logging.get_logger("diffusers").propagate = True
    prompt = "abcde fghij klmno, pq"
    pipeline.encode_prompt(prompt, "cpu", 1, False)
    assert str([text_cut(models.tokenizer, prompt)]) in caplog.text


def test_line_ends_of_any_system_are_spaces(models):
    texts = ["a\r\ncat", "a\ncat", "a cat"]
    each = encode_prompts(models.tokenizer, models.text_encoder, texts)
    assert torch.equal(each[0], each[2])
    assert torch.equal(each[1], each[2])


@pytest.fixture(scope="module")
def inverted(model_folder, tmp_path_factory):
    """Return a model with textual inversions of three vectors and of one."""
    pipeline = StableDiffusionPipeline.from_pretrained(model_folder, safety_checker=None)
    torch.manual_seed(2)
    pipeline.load_textual_inversion({"<x>": torch.randn(3, 32)}, token="<x>")
    pipeline.load_textual_inversion({"<y>": torch.randn(1, 32)}, token="<y>")
    folder = tmp_path_factory.mktemp("inverted")
    pipeline.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("prompt", ["a <x>", "<y> <x> b", "<y>", "a <x> <x>", "<x>,<y>"])
def test_textual_inversions_are_written_out_as_by_the_pipeline(inverted, prompt):
    pipeline = StableDiffusionPipeline.from_pretrained(inverted, safety_checker=None)
    models = load(find(str(inverted)), torch.device("cpu"), torch.float32)
    cond, uncond = pipeline.encode_prompt(prompt, "cpu", 1, True, negative_prompt=f"{prompt} c")
    ours = encode_prompts(models.tokenizer, models.text_encoder, [prompt], [f"{prompt} c"])
    torch.testing.assert_close(ours, torch.cat([uncond, cond]))


def test_inversions_count_with_all_their_vectors_against_the_limit(inverted):
    models = load(find(str(inverted)), torch.device("cpu"), torch.float32)
    assert text_cut(models.tokenizer, "<x> <x> <x> <x> abcd") == "cd"


def test_tokens_that_write_out_to_absurd_length_are_refused():
    class Hostile:
        added_tokens_encoder = dict.fromkeys(["a", *(f"a_{number}" for number in range(1, 100))])

        def tokenize(self, text, **options):
            return ["a"] * len(text)

    with pytest.raises(UserError, match="more than 1000000 characters"):
        expand(Hostile(), "a" * 10_000)
