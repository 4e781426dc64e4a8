"""The training's settings: config.yaml as frozen dataclasses, and where the working files lie."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import yaml

from .machine import Machine, choose_machine

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Pace:
    """What depends on the machine: the batch, and the learning rate that suits it."""

    batch: int
    lr: float


@dataclass(frozen=True)
class AutoencoderSettings:
    """How the VAE is fine-tuned. `warmup` and `samples` count pictures."""

    samples: int
    warmup: int
    ema: float
    anchor: float
    latent_noise: float
    pace: Pace


@dataclass(frozen=True)
class TinySettings:
    """How the small decoder is built and distilled. `warmup` and `samples` count pairs."""

    files: int
    shard: int
    width: int
    blocks: tuple[int, ...]
    samples: int
    warmup: int
    ema: float
    pace: Pace


@dataclass(frozen=True)
class DenoiserSettings:
    """How text encoder and UNet are built and trained. `warmup` counts scenes."""

    text_width: int
    text_layers: int
    text_length: int
    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    warmup: int
    ema: float
    empty_share: float
    snr_gamma: float
    snapshot_every: int
    pace: Pace


@dataclass(frozen=True)
class Settings:
    """Everything that config.yaml says, the machine, and the folders of the command line.

    Attributes:
        seed: of scenes, noise and weights.
        scenes: how many distinct scenes there are.
        shard: scenes a file.
        block: scenes, whole shards, that are seen `passes` times before the next ones.
        passes: how often a block is seen.
        work: where everything between the emoji and the model lies.
        start: the model folder that training starts from.
    """

    seed: int
    scenes: int
    shard: int
    block: int
    passes: int
    autoencoder: AutoencoderSettings
    tiny: TinySettings
    denoiser: DenoiserSettings
    machine: Machine
    work: Path
    start: Path

    @property
    def sprites(self) -> Path:
        """The emoji, as packages and as trimmed pictures."""
        return self.work / "sprites"

    @property
    def vae(self) -> Path:
        """The fine-tuned VAE, or the start's until there is one."""
        own = self.work / "vae"
        return own if own.exists() else self.start / "vae"


def read_settings(config: Path, work: Path, start: Path, device: str = "auto") -> Settings:
    """Read a config file.

    Args:
        config: YAML like config.yaml.
        work: the working folder; made if missing.
        start: the model folder that training starts from.
        device: auto, cpu or cuda.
    """
    values = yaml.safe_load(config.read_text())
    machine = choose_machine(device)
    names = ("autoencoder", "tiny", "denoiser")
    parts = {name: _for_machine(values.pop(name), machine) for name in names}
    for part, key in (("denoiser", "channels"), ("denoiser", "attention"), ("tiny", "blocks")):
        parts[part][key] = tuple(parts[part][key])
    work.mkdir(parents=True, exist_ok=True)
    return Settings(
        **values,
        autoencoder=AutoencoderSettings(**parts["autoencoder"]),
        tiny=TinySettings(**parts["tiny"]),
        denoiser=DenoiserSettings(**parts["denoiser"]),
        machine=machine,
        work=work,
        start=start,
    )


def _for_machine(part: dict, machine: Machine) -> dict:
    """One part of the config, with the pace of this machine instead of every machine's."""
    paces = {kind: part.pop(kind) for kind in ("cpu", "cuda")}
    pace = paces[machine.device.type]
    return part | {"pace": Pace(pace["batch"], part.pop("lr") * pace["lr_scale"])}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that every command here has."""
    parser.add_argument("--config", type=Path, default=HERE / "config.yaml")
    parser.add_argument("--work", type=Path, default=Path("build/train"), help="working folder")
    parser.add_argument(
        "--start", type=Path, default=Path("sdloop/bundled"), help="model folder to start from"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def settings_of(asked: argparse.Namespace) -> Settings:
    """The settings that the command line asks for."""
    return read_settings(asked.config, asked.work.expanduser(), asked.start, asked.device)
