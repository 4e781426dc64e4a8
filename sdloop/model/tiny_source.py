"""A small decoder that was found and checked, with nothing loaded.

The layout is diffusers' AutoencoderTiny, as TAESD has it (https://github.com/madebyollin/taesd): a
config.json and a diffusion_pytorch_model.safetensors, in a folder or a repository of the hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from sdloop.machine.documents import parse_json, read_file
from sdloop.machine.errors import UserError, explain
from sdloop.machine.files import AnyPath, as_path, expanded
from sdloop.model.config_files import Activation, Channels, Network, PerBlock, Width

if TYPE_CHECKING:
    from sdloop.model.hub import Watch
    from sdloop.model.source import ModelSource

PART = "tiny_vae"  # the folder of a model's own
TINY_CONFIG, TINY_WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
TINY_KEY = "decode.tiny"  # of a run's config
LINEAR_END = 4 * 9  # a last stage without blocks: 3 x 3 weights of 2 x 2 pixels (`linear_end.py`)


class TinyConfig(Network):
    """The config.json of an AutoencoderTiny, as far as its decoder reads it."""

    class_name: Literal["AutoencoderTiny"] = Field("AutoencoderTiny", alias="_class_name")
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    decoder_block_out_channels: PerBlock[Width] = (64, 64, 64, 64)
    num_decoder_blocks: PerBlock[Annotated[int, Field(ge=0, le=16)]] = (3, 3, 3, 1)
    act_fn: Activation = "relu"
    upsample_fn: Literal["nearest", "nearest-exact", "bilinear", "bicubic"] = "nearest"
    upsampling_scaling_factor: Literal[2] = 2
    latent_channels: Channels = 4
    scaling_factor: Annotated[float, Field(gt=1e-4, le=1e4)] = 1.0
    shift_factor: Annotated[float, Field(ge=-1e4, le=1e4)] | None = 0.0

    @field_validator("decoder_block_out_channels")
    @classmethod
    def _is_of_one_width(cls, widths: Sequence[int]) -> Sequence[int]:
        """Refuse stages of different widths, which AutoencoderTiny does not connect."""
        if len(set(widths)) != 1:
            raise ValueError("must hold one width, the same for all stages")
        return widths

    @property
    def factor(self) -> int:
        """Return how many pixels a latent covers in each direction."""
        return self.upsampling_scaling_factor ** (len(self.num_decoder_blocks) - 1)

    @property
    def decoder_numbers(self) -> int:
        """Return how many numbers the decoder's weights hold at most, ready to run."""
        width, stages = self.decoder_block_out_channels[0], len(self.num_decoder_blocks)
        blocks = sum(self.num_decoder_blocks) * 3 * (9 * width**2 + width)
        ends = 9 * width * (self.latent_channels + self.out_channels) + width + self.out_channels
        merged = LINEAR_END * width * self.out_channels + 4 * self.out_channels
        return blocks + ends + (stages - 1) * 9 * width**2 + merged


@dataclass(frozen=True)
class TinySource:
    """A small decoder that was found and checked, with nothing loaded yet.

    Attributes:
        name: As the user gave it; for a model's own, the model's name and the folder.
        folder: That holds its two files.
        from_hub: Whether the weights have still to be fetched.
        config: Its config.
        is_bundled: Whether it came with sdloop.
    """

    name: str
    folder: Path
    from_hub: bool
    config: TinyConfig
    is_bundled: bool = False

    @property
    def weights(self) -> Path:
        """Return the file that holds the weights."""
        return self.folder / TINY_WEIGHTS


def fetch_tiny(tiny: TinySource, watch: Watch | None = None) -> None:
    """Fetch a small decoder's weights, if it is of the hub.

    Args:
        tiny: What `find_tiny` returned.
        watch: Called with the bytes fetched so far, if there are any to fetch.

    Raises:
        UserError: The hub cannot be reached, or the download broke off.
        OSError: The cache cannot be written to, or the disk is full.
    """
    if not tiny.from_hub:
        return
    from sdloop.model.hub import Repository

    Repository.cached(tiny.name, tiny.folder, TINY_KEY).fetch([TINY_WEIGHTS], watch)


def find_tiny(source: ModelSource, name: AnyPath | None = None) -> TinySource:
    """Find a small decoder for a model's latents.

    Args:
        source: The model.
        name: A folder or a hub id; None takes the model's own, in its folder tiny_vae, and where
            there is none the family's: TAESD.

    Returns:
        Where it is and what its config says.

    Raises:
        UserError: There is none, or it does not fit the model's latents.
    """
    if name is None:
        found = _own(source) or _named(source.family.tiny)
    else:
        found = _named(name if isinstance(name, str) else str(as_path(name, "name")))
    _check_fits(found, source)
    return found


def own_tiny(source: ModelSource) -> TinySource | None:
    """Find the small decoder that a model brings along; nothing is fetched.

    Args:
        source: The model.

    Returns:
        Where it is; None if the model has none, or another VAE than its own.

    Raises:
        UserError: It does not fit the model's latents, or is damaged.
    """
    found = None if source.vae_place is not None else _own(source)
    if found is not None:
        _check_fits(found, source)
    return found


def _check_fits(found: TinySource, source: ModelSource) -> None:
    """Refuse a small decoder of other latents."""
    config = found.config
    for what, given, wanted in (
        ("latent_channels", config.latent_channels, source.latent_channels),
        ("a factor of", config.factor, source.vae_factor),
    ):
        if given != wanted:
            raise UserError(
                f"{TINY_KEY} = {found.name}: has {what} {given}; model = {source.name} has {wanted}"
            )


def _own(source: ModelSource) -> TinySource | None:
    """Find the small decoder beside a model's VAE; it knows no other."""
    folder = source.folder / PART
    if source.from_hub or source.checkpoint is not None or not (folder / TINY_CONFIG).is_file():
        return None
    if source.vae_place is not None:
        raise UserError(
            f"decode.z0_hat = tiny: the small decoder of model = {source.name} knows its own VAE "
            f"alone, not vae = {source.vae_place}; name one that does by {TINY_KEY}"
        )
    own = f"{source.name}/{PART}"
    return _checked(own, folder, from_hub=False, is_bundled=source.name == "bundled")


def _named(name: str) -> TinySource:
    """Find a small decoder by its folder or its hub id."""
    from sdloop.model.find import HUB_ID

    folder = expanded(name, TINY_KEY)
    if folder.is_dir():
        return _checked(name, folder, from_hub=False)
    if not HUB_ID.fullmatch(name):
        raise UserError(
            f"{TINY_KEY} = {name}: no such folder; allowed: a folder or a hub id in the layout of "
            "diffusers' AutoencoderTiny, such as madebyollin/taesd"
        )
    return _checked(name, _fetch_config(name), from_hub=True)


def _fetch_config(name: str) -> Path:
    """Fetch the config of a small decoder of the hub; returns the snapshot that holds it."""
    from sdloop.model.fetch import LARGEST_SMALL_BYTES
    from sdloop.model.hub import Repository

    repository = Repository.ask(name, key=TINY_KEY)
    for path in (TINY_CONFIG, TINY_WEIGHTS):
        if path not in repository.files:
            where = "repository has" if repository.listed else "hub's cache holds"
            raise UserError(
                f"{TINY_KEY} = {name}: the {where} no {path}; allowed is the layout of diffusers' "
                "AutoencoderTiny"
            )
    if repository.files[TINY_CONFIG] > LARGEST_SMALL_BYTES:
        raise UserError(
            f"{TINY_KEY} = {name}: {TINY_CONFIG} is larger than {LARGEST_SMALL_BYTES} bytes"
        )
    repository.fetch([TINY_CONFIG])
    return repository.folder


def _checked(name: str, folder: Path, *, from_hub: bool, is_bundled: bool = False) -> TinySource:
    """Read the config of a small decoder whose files are there, or on the hub."""
    path, named = folder / TINY_CONFIG, f"{TINY_KEY} = {name}"
    if not path.is_file() or not (from_hub or (folder / TINY_WEIGHTS).is_file()):
        raise UserError(
            f"{named}: needs {TINY_CONFIG} and {TINY_WEIGHTS}, in the layout of diffusers' "
            "AutoencoderTiny"
        )
    values = parse_json(read_file(path, f"{named}: {TINY_CONFIG}"), f"{named}: {TINY_CONFIG}")
    try:
        config = TinyConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(
            f"{named}: {TINY_CONFIG} has {explain(error)}; supported is the layout of diffusers' "
            "AutoencoderTiny"
        ) from None
    return TinySource(name, folder, from_hub, config, is_bundled)
