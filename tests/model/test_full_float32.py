"""Where the networks compute, TF32 is off: here as if the CPU were a CUDA device."""

from contextlib import contextmanager

import pytest
import torch

from sdloop.machine.tf32 import full_float32
from sdloop.model import frame, predictor, text
from sdloop.model.frame import decode_batch
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts

TIMES = (901.0, 1.0)


@pytest.fixture
def watch(monkeypatch):
    """Return a function: a network's layers then note whether TF32 was on when they ran."""
    hooks = []

    def as_on_cuda(device):
        assert device == torch.device("cpu")  # asked for where the network is
        return full_float32(torch.device("cuda"))

    for module in (frame, predictor, text):
        monkeypatch.setattr(module, "full_float32", as_on_cuda)

    @contextmanager
    def watching(network):
        seen = []

        def note(*_):
            seen.append(torch.backends.cudnn.conv.fp32_precision)

        hooks[:] = [
            layer.register_forward_pre_hook(note)
            for layer in network.modules()
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
        ]
        yield
        assert set(seen) == {"ieee"}
        assert torch.backends.cudnn.conv.fp32_precision == "tf32"

    yield watching
    for hook in hooks:
        hook.remove()


def test_text_encoder(models, watch):
    with watch(models.text_encoder):
        encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])


def test_vae(models, watch):
    with watch(models.vae), torch.no_grad():
        decode_batch(models.vae, torch.zeros(1, 4, 8, 8))


@pytest.mark.parametrize("shortcuts", [False, True])
def test_unet_in_the_loop(models, watch, shortcuts):
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    predict = UNetPredictor(models.unet, embeddings, TIMES, True, None, shortcuts)
    with watch(models.unet):
        predict(torch.zeros(1, 4, 8, 8), 0)


@torch.no_grad()
def test_unet_in_the_graph(models, watch):
    first, other = (
        UNetPredictor(
            models.unet,
            encode_prompts(models.tokenizer, models.text_encoder, [prompt], [""]),
            TIMES,
            True,
        )
        for prompt in ("a panda", "a cake")
    )
    row, z = torch.zeros(1, dtype=torch.int64), torch.zeros(1, 4, 8, 8)
    buffer = first.input_like(z)
    first.feed(buffer, z)
    with watch(models.unet):
        prepared = first.prepared(row)
    with watch(models.unet), prepared:
        first.call(buffer, row)
    with watch(models.unet):
        assert first.take_over(other)
