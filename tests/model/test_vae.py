"""Latents to pictures, in batches."""

import json
import shutil

import pytest
import torch

from sdloop.machine.errors import OutOfMemory
from sdloop.model import vae as decode_module
from sdloop.model.decode_batch import choose_batch, largest_batch
from sdloop.model.find import find
from sdloop.model.frame import frame_of
from sdloop.model.networks import load, load_vae
from sdloop.model.vae import DecodeError, decode_batches, decode_latents


@pytest.fixture
def latents():
    return torch.randn(7, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def in_batches(monkeypatch):
    """Let the CPU decode in batches, as other devices do."""
    monkeypatch.setattr(decode_module, "ignores_batch", lambda device_type: False)


@pytest.mark.usefixtures("in_batches")
def test_pictures_equal_the_vae_one_by_one(models, latents):
    images = decode_latents(models.vae, latents, batch_size=3)
    assert images.shape == (7, 64, 64, 3)
    assert images.dtype == torch.uint8
    for image, z in zip(images, latents, strict=True):
        with torch.no_grad():
            alone = models.vae.decode(z[None] / models.vae.config.scaling_factor).sample[0]
        levels = ((alone / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0)
        assert (levels - image).abs().max() <= 1


def test_pictures_are_the_decoded_levels_rounded_to_the_nearest(models, latents):
    levels = torch.cat(list(decode_batches(models.vae, latents)))
    assert levels.dtype == torch.float32
    assert levels.min() >= 0
    assert levels.max() <= 255
    assert (levels != levels.round()).float().mean() > 0.9  # they are not rounded
    images = decode_latents(models.vae, latents)
    assert (images - levels).abs().max() <= 0.5


def test_a_vae_of_half_precision_can_decode_in_float32(model_folder, latents):
    half = load_vae(find(str(model_folder)), torch.device("cpu"), torch.bfloat16)
    full = load_vae(find(str(model_folder)), torch.device("cpu"), torch.float32)
    for name, weight in full.state_dict().items():  # the weights stay rounded as they are
        weight.copy_(half.state_dict()[name])
    expected = torch.cat(list(decode_batches(full, latents)))
    exact = torch.cat(list(decode_batches(half, latents, full_precision=True)))
    assert torch.equal(exact, expected)
    assert half.dtype == torch.bfloat16
    rough = torch.cat(list(decode_batches(half, latents)))
    assert (rough - expected).abs().max() > 0.05


@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7, 100, None])
def test_batch_size_changes_no_pixel_by_more_than_one_level(models, latents, batch_size):
    reference = decode_latents(models.vae, latents, batch_size=1).int()
    assert (decode_latents(models.vae, latents, batch_size) - reference).abs().max() <= 1


def fail_above(vae, monkeypatch, limit, message="CUDA out of memory"):
    """Make the VAE run out of memory on batches beyond a limit; return the sizes it was asked."""
    real, sizes = vae.decode, []

    def limited(z):
        sizes.append(len(z))
        if len(z) > limit:
            raise torch.OutOfMemoryError(message)
        return real(z)

    monkeypatch.setattr(vae, "decode", limited)
    return sizes


@pytest.mark.usefixtures("in_batches")
def test_batch_is_halved_when_memory_runs_out(models, latents, monkeypatch):
    expected = decode_latents(models.vae, latents, batch_size=1).int()
    sizes = fail_above(models.vae, monkeypatch, limit=2)
    images = decode_latents(models.vae, latents, batch_size=6)
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1, 1]
    assert (images - expected).abs().max() <= 1


@pytest.mark.parametrize(
    ("free_frames", "said"),
    [(0.6, "32 x 32 px would fit"), (1e-3, "no size would fit"), (None, "take a smaller size")],
)
def test_no_memory_for_one_frame_says_what_would_fit(
    models, latents, monkeypatch, free_frames, said
):
    fail_above(models.vae, monkeypatch, limit=0)
    frame = frame_of(models.vae, 8, 8).needed_bytes
    free = None if free_frames is None else int(free_frames * frame)
    monkeypatch.setattr(decode_module, "free_bytes", lambda device: free)
    with pytest.raises(OutOfMemory, match=f"no memory for one frame of 64 x 64 px; {said}"):
        decode_latents(models.vae, latents)


def test_other_errors_are_not_taken_for_lack_of_memory(models, latents, monkeypatch):
    def broken(z):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(models.vae, "decode", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        decode_latents(models.vae, latents)


def test_not_finite_in_float32_is_named_with_its_frames(models, latents):
    latents[4] = float("nan")
    with pytest.raises(DecodeError, match=r"^decode: frame 4 has values that are not finite"):
        decode_latents(models.vae, latents, batch_size=3)
    with pytest.raises(DecodeError, match="z0_hat of row 1 has"):
        decode_latents(models.vae, latents, 3, name_of=lambda index: f"z0_hat of row {index - 3}")


def test_half_precision_overflow_is_decoded_again_in_float32(model_folder, latents):
    vae = load_vae(find(str(model_folder)), torch.device("cpu"), torch.float16)
    full = load_vae(find(str(model_folder)), torch.device("cpu"), torch.float32)
    latents = latents * vae.config.scaling_factor
    latents[5] *= 2e5  # beyond float16, and only in this frame
    images = decode_latents(vae, latents, batch_size=2)
    assert vae.dtype == torch.float16
    expected = decode_latents(full, latents, batch_size=1).int()
    assert (images[5] - expected[5]).abs().max() <= 1  # the weights were rounded to float16
    calm = latents.index_fill(0, torch.tensor([5]), 0)
    others = [index for index in range(7) if index != 5]  # its neighbour in the batch among them
    assert torch.equal(images[others], decode_latents(vae, calm, batch_size=2)[others])


def test_vae_that_overflows_in_half_is_loaded_in_float32(model_folder, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "model")
    path = copy / "vae/config.json"
    for says, dtype in ((True, torch.float32), (False, torch.float16)):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"force_upcast": says}))
        loaded = load(find(str(copy)), torch.device("cpu"), torch.float16)
        assert (loaded.vae.dtype, loaded.dtype) == (dtype, torch.float16)


def test_shift_of_a_vae_is_obeyed(model_folder, tmp_path, latents):
    copy = shutil.copytree(model_folder, tmp_path / "model")
    path = copy / "vae/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shift_factor": 0.3}))
    vae = load_vae(find(str(copy)), torch.device("cpu"), torch.float32)
    plain = load_vae(find(str(model_folder)), torch.device("cpu"), torch.float32)
    expected = decode_latents(plain, latents + 0.3 * vae.config.scaling_factor)
    assert (decode_latents(vae, latents).int() - expected.int()).abs().max() <= 1
    assert not torch.equal(decode_latents(plain, latents), expected)


def test_no_layer_of_a_batch_reaches_two_to_the_31(models):
    widest = []
    hooks = [
        module.register_forward_hook(lambda m, i, output: widest.append(output.numel()))
        for module in models.vae.decoder.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    decode_latents(models.vae, torch.zeros(1, 4, 8, 8), batch_size=1)
    for hook in hooks:
        hook.remove()
    allowed = largest_batch(frame_of(models.vae, 8, 8).widest)
    assert allowed * max(widest) < 2**31 <= (allowed + 1) * max(widest)


FRAME = (10**6, 10**5)  # bytes, and elements of its largest tensor


def test_chosen_batch_follows_the_free_memory():
    for fitting in (3, 5, 7):
        assert choose_batch(105, *FRAME, 2 * fitting * FRAME[0]) == fitting
    assert choose_batch(15, *FRAME, 0) == 1


def test_wanted_batch_is_taken_as_far_as_there_are_numbers_for_its_pixels():
    assert choose_batch(50, *FRAME, 0, wanted=20) == 20
    assert choose_batch(50, 10**9, 2**29, None, wanted=20) == 3


@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize(
    ("free_frames", "wanted", "sizes", "counts"),
    [(100, None, [7], 0), (0, 3, [3, 3, 1], 0), (4, None, [2, 2, 2, 1], 1)],
)
def test_frame_is_counted_only_where_a_bound_will_not_do(
    models, latents, monkeypatch, free_frames, wanted, sizes, counts
):
    frame, counted = frame_of(models.vae, 8, 8), []
    monkeypatch.setattr(decode_module, "free_bytes", lambda _: free_frames * frame.needed_bytes)
    monkeypatch.setattr(decode_module, "frame_of", lambda *of: counted.append(of) or frame)
    seen = fail_above(models.vae, monkeypatch, limit=99)
    decode_latents(models.vae, latents, wanted)
    assert (seen, len(counted)) == (sizes, counts)


def test_no_batch_on_cuda_is_filled_beyond_the_frames_there_are(models, monkeypatch):
    asked = []

    def decode_batch(vae, latents, padded_to):
        asked.append((len(latents), padded_to))
        return torch.zeros(len(latents), 8, 8, 3), torch.ones(len(latents), dtype=torch.bool)

    monkeypatch.setattr(type(models.vae), "device", torch.device("cuda"))
    monkeypatch.setattr(decode_module, "free_bytes", lambda device: 2**34)
    monkeypatch.setattr(decode_module, "decode_batch", decode_batch)
    decode_latents(models.vae, torch.zeros(7, 4, 8, 8), batch_size=16)
    assert asked == [(7, 7)]
    asked.clear()
    decode_latents(models.vae, torch.zeros(7, 4, 8, 8), batch_size=4)
    assert asked == [(4, 4), (3, 4)]  # one size, so that kernels are chosen once


def test_cpu_decodes_frame_by_frame(models, latents, monkeypatch):
    sizes = fail_above(models.vae, monkeypatch, limit=99)
    decode_latents(models.vae, latents)
    decode_latents(models.vae, latents, batch_size=5)
    assert sizes == [1] * 2 * len(latents)


@pytest.mark.usefixtures("in_batches")
def test_progress_counts_every_frame(models, latents):
    counts = []
    decode_latents(models.vae, latents, 3, counts.append)
    assert counts == [3, 3, 1]


@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize(
    ("frames", "sizes"), [(52, [13] * 4), (51, [13, 13, 13, 12]), (16, [16]), (17, [9, 8])]
)
def test_batches_are_of_equal_size(models, frames, sizes, monkeypatch):
    monkeypatch.setattr(decode_module, "free_bytes", lambda device: None)
    seen = fail_above(models.vae, monkeypatch, limit=99)
    decode_latents(models.vae, torch.zeros(frames, 4, 2, 2))
    assert seen == sizes
