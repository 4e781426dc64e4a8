"""Small decoders: found, checked and loaded as safely as a model; they decode as diffusers does."""

import json

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from sdloop.machine.errors import UserError
from sdloop.model.find import find
from sdloop.model.frame import count_frame
from sdloop.model.tiny import hash_tiny, load_tiny, make_outline
from sdloop.model.tiny_memory import bound_tiny
from sdloop.model.tiny_source import TINY_WEIGHTS, find_tiny
from sdloop.model.vae import decode_latents
from tests.conftest import make_tiny

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    make_tiny(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture(scope="module")
def bundled():
    return find("bundled")


def edit(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_tiny_decodes_as_diffusers_does(bundled, folder):
    theirs = AutoencoderTiny.from_pretrained(folder).eval()
    z = 2 * torch.randn((3, 4, 4, 6), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = (theirs.decode(z).sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1) * 255
    tiny = load_tiny(find_tiny(bundled, folder), CPU, torch.float32)
    ours = decode_latents(tiny, z)
    assert ours.shape == (3, 32, 48, 3)
    assert ours.dtype == torch.uint8
    assert_close(ours.float(), expected, rtol=0, atol=0.501)


def test_tiny_obeys_its_own_scaling_factor(bundled, tmp_path):
    make_tiny(tmp_path / "one")
    make_tiny(tmp_path / "half", scaling_factor=0.5)
    z = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(1))
    one, half = (
        load_tiny(find_tiny(bundled, tmp_path / name), CPU, torch.float32)
        for name in ("one", "half")
    )
    assert torch.equal(decode_latents(one, z), decode_latents(half, z / 2))


@pytest.mark.parametrize(
    "values",
    [
        {"act_fn": "silu"},
        {"upsample_fn": "bilinear"},
        {"decoder_block_out_channels": (12,) * 4},
        {"num_decoder_blocks": (2, 0, 1, 1)},
        {"shift_factor": 0.25, "scaling_factor": 2.0},
    ],
)
def test_key_is_obeyed_as_diffusers_obeys_it(bundled, tmp_path, values):
    theirs = make_tiny(tmp_path, **values)
    z = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        pictures = theirs.decode(z / theirs.config.scaling_factor + theirs.config.shift_factor)
    expected = (pictures.sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1) * 255
    ours = decode_latents(load_tiny(find_tiny(bundled, tmp_path), CPU, torch.float32), z)
    assert_close(ours.float(), expected, rtol=0, atol=0.501)


def test_file_of_a_decoder_alone_loads(bundled, folder):
    path = folder / TINY_WEIGHTS
    weights = load_file(path)
    whole = load_tiny(find_tiny(bundled, folder), CPU, torch.float32)
    save_file({name: each for name, each in weights.items() if "decoder" in name}, path)
    alone = load_tiny(find_tiny(bundled, folder), CPU, torch.float32)
    assert len(alone.state_dict()) > 10
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, alone.state_dict()[name])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"_class_name": "AutoencoderKL"}, "_class_name = 'AutoencoderKL'"),
        ({"decoder_block_out_channels": [8, 8, 8, 16]}, "one width"),
        ({"num_decoder_blocks": [1, 1, 1, 99]}, "num_decoder_blocks"),
        ({"upsampling_scaling_factor": 4}, "upsampling_scaling_factor = 4"),
        ({"latent_channels": 16}, "latent_channels 16; model = bundled has 4"),
        ({"act_fn": "os.system"}, "act_fn = 'os.system'"),
        (
            {"num_decoder_blocks": [1, 1, 0], "decoder_block_out_channels": [8, 8, 8]},
            "a factor of 4; model = bundled has 8",
        ),
    ],
)
def test_config_that_does_not_fit_is_refused_by_name(bundled, folder, values, said):
    edit(folder, **values)
    with pytest.raises(UserError, match=r"^decode\.tiny = ") as refusal:
        find_tiny(bundled, folder)
    assert said in str(refusal.value)


def test_weights_that_do_not_fit_are_refused_before_they_are_read(bundled, folder):
    edit(folder, decoder_block_out_channels=[16] * 4)
    with pytest.raises(UserError, match=r"^decode\.tiny = .*size mismatch"):
        load_tiny(find_tiny(bundled, folder), CPU, torch.float32)


def test_damaged_weights_are_refused(bundled, folder):
    path = folder / TINY_WEIGHTS
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"^decode\.tiny = .*is cut short"):
        load_tiny(find_tiny(bundled, folder), CPU, torch.float32)


def test_weights_that_are_not_finite_are_refused(bundled, folder):
    path = folder / TINY_WEIGHTS
    weights = load_file(path)
    weights["decoder.layers.0.bias"][0] = torch.nan
    save_file(weights, path)
    with pytest.raises(UserError, match=r"^decode\.tiny = .*not finite"):
        load_tiny(find_tiny(bundled, folder), CPU, torch.float32)


def test_folder_without_weights_says_what_it_needs(bundled, folder):
    (folder / TINY_WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match=r"needs config\.json and diffusion_pytorch_model.safeten"):
        find_tiny(bundled, folder)


def test_name_of_nothing_says_what_is_allowed(bundled):
    with pytest.raises(UserError, match="no such folder; allowed: a folder or a hub id"):
        find_tiny(bundled, "no where at all")


def test_key_that_only_a_newer_library_knows_is_refused(bundled, folder, monkeypatch):
    known = AutoencoderTiny.__init__

    def newer(self, *arguments, latents_like=None, **named):
        known(self, *arguments, **named)

    edit(folder, encoder_block_out_channels=[4] * 4, latents_like="flux")
    make_outline(find_tiny(bundled, folder))  # today's library does not read it
    monkeypatch.setattr(AutoencoderTiny, "__init__", newer)
    with pytest.raises(UserError, match=r"tiny_vae has latents_like = 'flux'"):
        make_outline(find_tiny(bundled, folder))


@pytest.mark.parametrize("blocks", [(1, 1, 1, 0), (3, 3, 3, 1)])
def test_tiny_holds_no_more_than_its_config_says(bundled, tmp_path, blocks):
    make_tiny(tmp_path, num_decoder_blocks=blocks)
    tiny = find_tiny(bundled, tmp_path)
    network = load_tiny(tiny, CPU, torch.float32)
    held = sum(weight.numel() for weight in network.parameters())
    assert 0.9 * tiny.config.decoder_numbers <= held <= tiny.config.decoder_numbers
    frame = count_frame(make_outline(tiny), 16, 16, torch.float32, "cpu")
    assert frame.needed_bytes <= bound_tiny(tiny, (5, 4, 16, 16), None, CPU, torch.float32)


def test_hash_names_the_weights(bundled, folder):
    tiny = find_tiny(bundled, folder)
    first = hash_tiny(tiny)
    path = folder / TINY_WEIGHTS
    weights = load_file(path)
    weights["decoder.layers.0.bias"] += 1
    save_file(weights, path)
    assert len(first) == 64
    assert hash_tiny(tiny) != first
