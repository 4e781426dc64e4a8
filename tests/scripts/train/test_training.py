"""The trainings in miniature: they learn, stop anywhere, and resume to the bit."""

import csv
import signal

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextModel, CLIPTokenizer

from scripts.train import denoise
from scripts.train.autoencoder import train_autoencoder
from scripts.train.denoise import Task, start_training, train
from scripts.train.export import export
from scripts.train.machine import choose_machine
from scripts.train.optimise import orthogonalise
from scripts.train.pictures import encoder_digest, load_vae
from scripts.train.sample import load_model, sample
from scripts.train.scene.captions import vocabulary
from scripts.train.shards import Shards, Stream
from scripts.train.tokenizer import write_tokenizer
from scripts.train.training import Schedule


def flatten(state, name=""):
    """Every tensor and number of a checkpoint, by its path."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from flatten(value, f"{name}/{key}")
    elif isinstance(state, (list, tuple)):
        for key, value in enumerate(state):
            yield from flatten(value, f"{name}/{key}")
    else:
        yield name, state


def assert_same(first, second):
    one, two = dict(flatten(torch.load(first))), dict(flatten(torch.load(second)))
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, two[name]), name
        else:
            assert value == two[name], name


def test_denoiser_learns(settings):
    tokenizer = write_tokenizer(vocabulary(), settings.work / "tokenizer", 48)
    training = start_training(settings, tokenizer)
    task = Task(settings, tokenizer)
    losses = []
    for _ in range(16):
        loss = task.loss(training)
        training.advance(loss, settings.denoiser.pace.batch)
        losses.append(loss.item())
    assert np.mean(losses[-4:]) < 0.85 * np.mean(losses[:4])


def test_denoiser_resumes_to_the_bit(settings, tmp_path):
    straight = train(settings, samples=24).rename(tmp_path / "straight.pt")
    train(settings, samples=8)
    assert_same(straight, train(settings, samples=24))


def test_a_missing_shard_is_made_again_and_changes_nothing(settings, tmp_path):
    straight = train(settings, samples=24).rename(tmp_path / "straight.pt")
    shards = Shards(settings)
    for index in range(shards.count()):
        shards.path(index).unlink(missing_ok=True)
    assert_same(straight, train(settings, samples=24))


def test_a_fall_ends_at_rate_zero_and_leaves_the_training_alone(settings):
    checkpoint = train(settings, samples=24)
    before = checkpoint.read_bytes()
    fallen = train(settings, samples=10_000, fall=16)
    assert fallen != checkpoint
    assert checkpoint.read_bytes() == before
    assert torch.load(fallen)["samples"] == 24 + 16
    assert_same(fallen, train(settings, samples=10_000, fall=16))


def test_snapshots_and_history_are_kept(settings, monkeypatch):
    monkeypatch.setattr(denoise, "REPORT_EVERY_S", 0)
    checkpoint = train(settings, samples=64)
    names = sorted(path.name for path in (settings.work / "snapshots").iterdir())
    assert names == ["00000032.safetensors", "00000064.safetensors"]
    with checkpoint.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["samples"]) for row in rows] == list(range(8, 65, 8))
    assert all(float(row["samples_per_s"]) > 0 for row in rows)


def test_known_words_keep_their_embeddings(settings, tiny_start):
    tokenizer = write_tokenizer(vocabulary(), settings.work / "tokenizer", 48)
    new = start_training(settings, tokenizer).module.text_encoder
    old = CLIPTextModel.from_pretrained(tiny_start / "text_encoder")
    known = CLIPTokenizer.from_pretrained(tiny_start / "tokenizer")
    assert torch.equal(
        new.get_input_embeddings().weight[tokenizer("fox").input_ids[1]],
        old.get_input_embeddings().weight[known("fox").input_ids[1]],
    )


def test_a_stream_shows_each_block_several_times_and_goes_round(settings):
    stream, end = Stream(Shards(settings)), settings.scenes * settings.passes
    first, captions = stream.take(0, settings.block)
    again, said = stream.take(settings.block - 4, settings.block + 4)
    assert torch.equal(again[4:], first)
    assert said[4:] == captions
    following, said = stream.take(settings.passes * settings.block, settings.block)
    assert not torch.equal(following, first)
    latents, said = stream.take(end - 4, 12)
    assert torch.equal(latents[4:], first[:8])
    assert said[4:] == captions[:8]


def test_an_exported_model_is_a_pipeline(settings, tmp_path):
    checkpoint = train(settings, samples=8)
    folder = tmp_path / "model"
    size = export(settings, checkpoint, folder)
    assert size == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    assert pipeline.unet.config.sample_size * pipeline.vae_scale_factor == 128
    made = sample(load_model(folder, choose_machine("cpu")), ["a fox", "a cat"], [0, 1])
    assert made.shape == (2, 128, 128, 3)
    assert not np.array_equal(made[0], made[1])


@pytest.mark.parametrize("decoder_only", [True, False])
def test_autoencoder_keeps_its_encoder_only_if_told_to(settings, tiny_start, decoder_only):
    start = load_vae(tiny_start / "vae", settings.machine)
    train_autoencoder(settings, decoder_only=decoder_only, samples=4, fresh=2)
    made = load_vae(settings.work / "vae", settings.machine)
    assert (encoder_digest(made) == encoder_digest(start)) == decoder_only
    assert not torch.equal(made.decoder.conv_in.weight, start.decoder.conv_in.weight)


def test_a_fine_tuned_vae_is_fine_tuned_further(settings):
    train_autoencoder(settings, decoder_only=False, samples=4, fresh=2)
    first = load_vae(settings.work / "vae", settings.machine)
    train_autoencoder(settings, decoder_only=True, samples=4, fresh=2)
    second = load_vae(settings.work / "vae", settings.machine)
    assert encoder_digest(second) == encoder_digest(first)
    assert not torch.equal(second.decoder.conv_in.weight, first.decoder.conv_in.weight)


def test_rate_rises_stays_and_falls():
    schedule = Schedule(peak=1.0, warmup=10, fall_from=100, fall=50)
    assert [schedule.rate(n) for n in (4, 9, 50, 100, 125, 150, 200)] == [0.5, 1, 1, 1, 0.5, 0, 0]
    assert schedule.is_over(150)
    assert not schedule.is_over(149)
    assert Schedule(peak=1.0, warmup=10).rate(10**9) == 1


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 8, 60), (2, 60, 8)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_orthogonalised_matrices_keep_their_directions():
    """U V' of the singular value decomposition is what the iteration approximates."""
    matrix = torch.randn(1, 8, 64, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    made = orthogonalise(matrix)
    assert torch.cosine_similarity(made.flatten(), (u @ vh).flatten(), dim=0) > 0.97


@pytest.mark.parametrize(("name", "half"), [("amx_bf16", torch.bfloat16), ("avx2", None)])
def test_precision_follows_what_the_cpu_multiplies_fast(monkeypatch, name, half):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {name: True, "avx512_bf16": False})
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert choose_machine("cpu").half == half


def test_every_word_is_one_token(settings):
    words = vocabulary()
    tokenizer = write_tokenizer(words, settings.work / "tokenizer", 48)
    assert all(len(tokenizer(word).input_ids) == 3 for word in words)
    assert len(tokenizer("a fox, photo").input_ids) == 6


def test_signals_are_as_before_after_a_training(settings):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(settings, samples=8)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
