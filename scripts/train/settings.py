"""The training's settings: config.yaml as frozen dataclasses, and where the working files lie."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).parent


@dataclass(frozen=True)
class AutoencoderSettings:
    """How the VAE is built and trained."""

    channels: tuple[int, ...]
    crop_px: int
    crop_share: float
    batch: int
    lr: float
    seconds: float
    kl: float
    ema: float


@dataclass(frozen=True)
class DiffusionSettings:
    """How the text encoder and the UNet are built and trained."""

    text_width: int
    text_layers: int
    text_length: int
    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    batch: int
    lr: float
    seconds: float
    warmup_steps: int
    empty_share: float
    snr_gamma: float
    ema: float


@dataclass(frozen=True)
class Settings:
    """Everything that config.yaml says, and the folders of the command line."""

    seed: int
    size_px: int
    config_share: float
    train_pictures: int
    device: str
    autoencoder: AutoencoderSettings
    diffusion: DiffusionSettings
    work: Path
    model: Path

    @property
    def emoji(self) -> Path:
        """The folder of emoji pictures."""
        return self.work / "emoji"


def parse_settings(parser: argparse.ArgumentParser) -> tuple[Settings, argparse.Namespace]:
    """Read the command line and the config file it names.

    Returns:
        The settings, and the parsed arguments for whatever options `parser` adds.
    """
    parser.add_argument("--config", type=Path, default=HERE / "config.yaml")
    parser.add_argument("--work", type=Path, default=Path("build/train"))
    parser.add_argument("--model", type=Path, default=Path("sdloop/bundled"))
    arguments = parser.parse_args()
    values = yaml.safe_load(arguments.config.read_text())
    autoencoder, diffusion = values.pop("autoencoder"), values.pop("diffusion")
    for section, key in (
        (autoencoder, "channels"),
        (diffusion, "channels"),
        (diffusion, "attention"),
    ):
        section[key] = tuple(section[key])
    settings = Settings(
        **values,
        autoencoder=AutoencoderSettings(**autoencoder),
        diffusion=DiffusionSettings(**diffusion),
        work=arguments.work,
        model=arguments.model,
    )
    settings.work.mkdir(parents=True, exist_ok=True)
    return settings, arguments
