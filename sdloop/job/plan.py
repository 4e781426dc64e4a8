"""A config, a model's facts and a device -> a plan of what will run, with nothing left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdloop.job.config import LARGEST_PX, SMALLEST_PX, RunConfig, identity_of
from sdloop.job.source import OVERRIDABLE, correction_of, settings_of, source_of
from sdloop.machine.device import check_compiler, check_device, find_device, is_half, name_of
from sdloop.machine.dtype import choose_dtype
from sdloop.machine.errors import UserError, check_type
from sdloop.machine.files import expanded
from sdloop.model.tiny_source import find_tiny
from sdloop.sampler.methods import make_table
from sdloop.show.figure.limits import check_delays, fitting_scale
from sdloop.show.mask import read_mask

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from sdloop.model.source import ModelSource
    from sdloop.model.tiny_source import TinySource
    from sdloop.sampler.table import Table

DEFAULT_STAGES = 5
SMALL_PX = 256  # without a scale, pictures are enlarged to about this size


@dataclass(frozen=True)
class Prepared:
    """A run as far as it can be settled without a network library.

    Attributes:
        config: With size, scheduler and scale filled in, as a run's folder keeps it.
        source: The model's facts.
        table: The sampler's.
        folder: Where the run goes.
        size: The pictures' (height, width) in pixels.
        latent_shape: A latent's (channels, height, width).
        guided: Whether the network evaluates both halves, [uncond, cond].
        scale: The factor by which pictures are enlarged.
        stages: The rows that the strip shows and the page marks.
        mask: Where the object is, bool (H, W); None guesses it from the last frame.
        correction: What is not taken to the letter of the model's configs, in one line.
        tiny: The small decoder of the z0_hats; None where the VAE decodes them, or nobody does.
        attention_shapes: Name -> (tokens, h, w) of the maps of cross-attention that each row
            leaves behind; empty if they are not wanted.
    """

    config: RunConfig
    source: ModelSource
    table: Table
    folder: Path
    size: tuple[int, int]
    latent_shape: tuple[int, int, int]
    guided: bool
    scale: int
    stages: tuple[int, ...]
    mask: NDArray[np.bool_] | None
    correction: str | None
    tiny: TinySource | None
    attention_shapes: Mapping[str, tuple[int, int, int]]

    @property
    def captured_bytes(self) -> int:
        """Return the bytes of the maps that each row leaves behind, in float16."""
        return sum(2 * prod(shape) for shape in self.attention_shapes.values())


@dataclass(frozen=True)
class Plan(Prepared):
    """What will run.

    Attributes:
        device: Of the networks.
        dtype: Of the networks.
        dtype_why: Why this one, in a few words.
    """

    device: torch.device
    dtype: torch.dtype
    dtype_why: str

    @property
    def half(self) -> bool:
        """Tell whether the networks are in half precision."""
        return is_half(self.dtype)

    @property
    def decode_batch(self) -> int | None:
        """Return how many frames to decode at once, as asked for; None lets the memory decide."""
        wanted = self.config.decode.batch_size
        return None if wanted is None else min(wanted, len(self.table) + 1)

    @property
    def identity(self) -> dict[str, Any]:
        """Return the choices of the user that the trajectory depends on, as plain values."""
        return identity_of(self.config)


def prepare(config: RunConfig, source: ModelSource | None = None) -> Prepared:
    """Settle all that needs no network library, so that a mistake is reported at once.

    Args:
        config: As the user wrote it.
        source: The config's model, if it was found before.

    Returns:
        The run, all but its device and dtype.

    Raises:
        UserError: Something in the config does not fit; the message says what.
        TypeError: `config` is not a RunConfig.
    """
    check_type(config, RunConfig, "config", '; load_config("x.yaml") makes one')
    check_device(config.device)
    if "mp4" in config.export.formats and find_spec("av") is None:
        raise UserError("export.formats = mp4: needs PyAV; pip install 'sdloop[mp4]'")
    source = source or source_of(config)
    size = _size(config, source)
    settings = settings_of(config, source)
    table = make_table(settings, config.scheduler.num_steps)
    _check_stages(config, len(table))
    export, path, factor = config.export, config.measure.mask, source.vae_factor
    mask = None if path is None else read_mask(expanded(path, "measure.mask"), *size)
    stages = export.stages or spread_stages(len(table))
    scale = fitting_scale(
        export.scale,
        max(1, round(SMALL_PX / min(size))),
        export.formats,
        size,
        len(export.stages) if export.stages else DEFAULT_STAGES,
    )
    check_delays(export.formats, len(table) + 1, export.delay_ms, export.hold_ms)
    written = {key: getattr(settings, key) for key in OVERRIDABLE} | {"type": settings.kind}
    settled = {
        "height": size[0],
        "width": size[1],
        "scheduler": config.scheduler.model_copy(update=written),
        "export": export.model_copy(update={"scale": scale}),
    }
    latent_shape = (source.latent_channels, size[0] // factor, size[1] // factor)
    prepared = Prepared(
        config=config.model_copy(update=settled),
        source=source,
        table=table,
        folder=expanded(config.output, "output"),
        size=size,
        latent_shape=latent_shape,
        guided=config.guided,
        scale=scale,
        stages=stages,
        mask=mask,
        correction=correction_of(config, source),
        tiny=_tiny(config, source),
        attention_shapes=_attention_shapes(config, source, latent_shape),
    )
    if config.start.run is None or config.start.trajectory_sha256 is not None:
        return prepared  # a run that is saved needs its origin no more, unless it carries on
    from sdloop.job.start import Fork

    hashed = config.start.model_copy(update={"trajectory_sha256": Fork.open(prepared).sha256})
    return replace(prepared, config=prepared.config.model_copy(update={"start": hashed}))


def settle(prepared: Prepared) -> Plan:
    """Choose device and dtype.

    Args:
        prepared: What `prepare` made of a config.

    Returns:
        The plan.

    Raises:
        UserError: torch cannot use this device, or lacks what it compiles with, or a weight file
            cannot be read.
    """
    check_type(prepared, Prepared, "prepared", "; prepare(config) makes one")
    device = find_device(prepared.config.device)
    dtype, why = choose_dtype(device, prepared.config.dtype, prepared.source.count_weights)
    if prepared.config.compile:
        check_compiler(device)
    named = {"device": str(device), "dtype": name_of(dtype)}
    settled = vars(prepared) | {"config": prepared.config.model_copy(update=named)}
    return Plan(**settled | {"device": device, "dtype": dtype, "dtype_why": why})


def spread_stages(rows: int, count: int = DEFAULT_STAGES) -> tuple[int, ...]:
    """Spread up to `count` stages evenly over the rows, including the first and the last."""
    import numpy as np

    return tuple(int(row) for row in np.unique(np.linspace(0, rows - 1, count).round()))


def _size(config: RunConfig, source: ModelSource) -> tuple[int, int]:
    """Return (height, width) in pixels, the model's own where the config is silent."""
    factor = source.vae_factor
    height = config.height or source.sample_size[0] * factor
    width = config.width or source.sample_size[1] * factor
    for key, pixels in (("height", height), ("width", width)):
        if not SMALLEST_PX <= pixels <= LARGEST_PX:
            raise UserError(
                f"{key} = {pixels}, the model's: allowed: {SMALLEST_PX} to {LARGEST_PX}"
            )
        if pixels % factor:
            raise UserError(f"{key} = {pixels}: allowed: multiples of {factor}, the VAE's factor")
    return height, width


def _tiny(config: RunConfig, source: ModelSource) -> TinySource | None:
    """Find the small decoder, if there is something for it to decode."""
    if config.decode.z0_hat != "tiny":
        return None
    return find_tiny(source, config.decode.tiny)


def _attention_shapes(
    config: RunConfig, source: ModelSource, latent_shape: tuple[int, int, int]
) -> Mapping[str, tuple[int, int, int]]:
    """List the maps that a run keeps; refuse what cannot be kept."""
    if not config.captures_attention:
        return {}
    if config.compile:
        raise UserError("capture = attention: not with compile = true; set compile=false")
    shapes = source.family.attention_shapes(source, latent_shape)
    if not shapes:
        raise UserError(f"capture = attention: model {source.name} does not attend to the prompt")
    return shapes


def _check_stages(config: RunConfig, rows: int) -> None:
    """Refuse stages beyond the last row."""
    stages: Sequence[int] = config.export.stages or ()
    for stage in stages:
        if stage >= rows:
            raise UserError(
                f"export.stages = {list(stages)}: stage {stage} is beyond the last row; allowed: "
                f"0 to {rows - 1}, or null for five spread evenly"
            )
