"""A training in miniature: coloured discs for emoji, a random VAE, networks of a few channels."""

import colorsys
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from PIL import Image, ImageDraw

from scripts.train.networks import build_denoiser
from scripts.train.scene import sprites
from scripts.train.scene.compose import Composer
from scripts.train.settings import HERE, Settings, read_settings
from scripts.train.tokenizer import write_tokenizer


def draw_disc(number: int, count: int) -> Image.Image:
    """An emoji of its own colour."""
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(number / count, 1, 1))
    ImageDraw.Draw(image).ellipse((0, 0, 31, 31), fill=(red, green, blue, 255))
    return image


@pytest.fixture(scope="session")
def sprite_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sets as trimmed pictures, so that nothing is fetched."""
    folder = tmp_path_factory.mktemp("sprites")
    codes = sprites.codes()
    for kind in (sprites.SOLID, sprites.FLAT):
        (folder / kind).mkdir()
        for number, code in enumerate(codes):
            draw_disc(number, len(codes)).save(folder / kind / f"{code}.png")
    return folder


@pytest.fixture(scope="session")
def composer(sprite_folder: Path) -> Composer:
    return Composer(sprites.load_sprites(sprite_folder))


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped config with small networks, few scenes and small batches."""
    values = yaml.safe_load((HERE / "config.yaml").read_text())
    values |= {"scenes": 48, "shard": 8, "block": 16, "passes": 2}
    values["autoencoder"] |= {"lr": 1e-3, "warmup": 4, "cpu": {"batch": 2, "lr_scale": 1}}
    values["denoiser"] |= {
        "text_width": 16,
        "text_layers": 1,
        "channels": [16, 32],
        "attention": [False, True],
        "lr": 1e-2,
        "warmup": 32,
        "snapshot_every": 32,
        "cpu": {"batch": 8, "lr_scale": 1},
    }
    values["tiny"] |= {
        "files": 1,
        "shard": 32,
        "width": 8,
        "blocks": [1, 0, 0, 0],
        "samples": 160,
        "lr": 1e-2,
        "warmup": 8,
        "ema": 0.9,
        "cpu": {"batch": 8, "lr_scale": 1},
    }
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="session")
def tiny_start(tmp_path_factory: pytest.TempPathFactory, tiny_config: Path) -> Path:
    """A model folder to start from; it knows two words."""
    folder = tmp_path_factory.mktemp("start")
    part = read_settings(tiny_config, folder, folder, "cpu").denoiser
    torch.manual_seed(0)
    tokenizer = write_tokenizer(["fox", "quince"], folder / "tokenizer", part.text_length)
    denoiser = build_denoiser(part, tokenizer)
    denoiser.text_encoder.save_pretrained(folder / "text_encoder")
    denoiser.unet.save_pretrained(folder / "unet")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=2,
        latent_channels=4,
        mid_block_add_attention=False,
    )
    vae.save_pretrained(folder / "vae")
    return folder


@pytest.fixture(scope="session")
def shard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards that every test may use, since all share the start's VAE."""
    return tmp_path_factory.mktemp("shards")


@pytest.fixture
def settings(
    tmp_path: Path, tiny_config: Path, tiny_start: Path, sprite_folder: Path, shard_folder: Path
) -> Settings:
    """Settings of a training in miniature with a working folder of its own."""
    made = read_settings(tiny_config, tmp_path / "work", tiny_start, "cpu")
    made.sprites.symlink_to(sprite_folder)
    (made.work / "shards").symlink_to(shard_folder)
    return made
