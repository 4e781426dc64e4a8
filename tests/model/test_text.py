"""Prompts to embeddings."""

import torch
from diffusers import StableDiffusionPipeline

from sdloop.model.text import encode_prompts, words_cut


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


def test_words_cut_names_whole_words(models):
    assert words_cut(models.tokenizer, "abcde fghij klmn") == []  # 14 letters, 14 places
    assert words_cut(models.tokenizer, "abcde fghij klmno pq") == ["klmno", "pq"]
    assert words_cut(models.tokenizer, "") == []
