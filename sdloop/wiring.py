"""What run and render have in common: a config and a model's facts -> what they come to."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sdloop.config import LARGEST_PX, SMALLEST_PX
from sdloop.errors import UserError, reason_of
from sdloop.export.limits import check_delays, fitting_scale
from sdloop.schedule import Schedule, make_schedule
from sdloop.scheduler_config import read_settings

if TYPE_CHECKING:
    from sdloop.config import RunConfig
    from sdloop.model.source import ModelSource

DEFAULT_STAGES = 5
MASK_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # others' readers run programs, or are rare
SMALL_PX = 256  # pictures are enlarged to about this size where no scale is given
OVERRIDABLE = ("timestep_spacing", "steps_offset", "set_alpha_to_one", "skip_prk_steps")


def resolve(config: RunConfig, source: ModelSource) -> tuple[RunConfig, Schedule]:
    """Fill in what the config leaves to the model, and check one against the other.

    Args:
        config: As the user wrote it.
        source: The model's facts.

    Returns:
        The config with size and scheduler written out, and the schedule.

    Raises:
        UserError: Size, scheduler, stages or mask do not fit the model, a format cannot hold the
            pictures, or needs a library that is not installed.
    """
    if "mp4" in config.export.formats and find_spec("av") is None:
        raise UserError("export.formats = mp4: needs PyAV; pip install 'sdloop[mp4]'")
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
    given = config.scheduler
    settings = read_settings(source.scheduler, None if given.type == "model" else given.type)
    overrides = {key: getattr(given, key) for key in OVERRIDABLE}
    settings = replace(
        settings, **{key: value for key, value in overrides.items() if value is not None}
    )
    schedule = make_schedule(settings, given.num_steps)
    for stage in config.export.stages or ():
        if stage >= len(schedule):
            raise UserError(
                f"export.stages = {list(config.export.stages or ())}: stage {stage} is beyond the "
                f"last row; allowed: 0 to {len(schedule) - 1}, or null for five spread evenly"
            )
    if config.measure.mask:
        read_mask(Path(config.measure.mask), height, width)
    written_out = {key: getattr(settings, key) for key in OVERRIDABLE} | {"type": settings.kind}
    export = config.export
    scale = fitting_scale(
        export.scale,
        max(1, round(SMALL_PX / min(height, width))),
        export.formats,
        (height, width),
        len(export.stages) if export.stages else DEFAULT_STAGES,
    )
    check_delays(export.formats, len(schedule) + 1, export.delay_ms, export.hold_ms)
    resolved = {
        "height": height,
        "width": width,
        "scheduler": given.model_copy(update=written_out),
        "export": export.model_copy(update={"scale": scale}),
    }
    return config.model_copy(update=resolved), schedule


def read_mask(path: Path, height: int, width: int) -> NDArray[np.bool_]:
    """Read the picture that says where the object is.

    Args:
        path: A PNG, JPEG, WebP, BMP or GIF.
        height: The run's, in pixels.
        width: Likewise.

    Returns:
        bool (height, width), true where the picture is lighter than mid grey.

    Raises:
        UserError: It is not there, no picture, or of another size.
    """
    from PIL import Image

    key = f"measure.mask = {path}"
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{key}: is no file")
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(path, formats=MASK_FORMATS) as picture,
        ):
            # the size is in the header, and another than the run's is refused by it
            found = picture.size
            levels = np.asarray(picture.convert("L")) if found == (width, height) else None
    except FileNotFoundError:
        raise UserError(f"{key}: is not there") from None
    except UserError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        raise UserError(f"{key}: is not a picture that can be read: {reason_of(error)}") from None
    if levels is None:
        raise UserError(
            f"{key}: is {found[0]} x {found[1]} px; allowed: the run's size, {width} x {height}"
        )
    return levels > 127
