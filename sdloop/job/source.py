"""A run's model, and what of its configs is not taken to the letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdloop.job.config import model_of
from sdloop.machine.errors import UserError, shown
from sdloop.model.find import find
from sdloop.sampler.scheduler_config import SchedulerSettings, override, read_settings, read_values

if TYPE_CHECKING:
    from sdloop.job.config import RunConfig
    from sdloop.model.source import ModelSource

OVERRIDABLE = (
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
    "set_alpha_to_one",
    "skip_prk_steps",
    "sigmas",
    "eta",
)


def source_of(config: RunConfig) -> ModelSource:
    """Find a config's model.

    Raises:
        UserError: It cannot be had, or its layout is another one.
    """
    return find(*model_of(config))


def settings_of(config: RunConfig, source: ModelSource) -> SchedulerSettings:
    """Put a config's values over those of its model's scheduler.

    Raises:
        UserError: The scheduler is not supported, or has no such option.
    """
    given = config.scheduler
    try:
        settings = read_settings(source.scheduler, _named(config))
    except UserError as error:
        if not source.as_saved:
            raise
        raise UserError(f"{error}; model_as_saved=false corrects what the pipeline does") from None
    return override(settings, {key: getattr(given, key) for key in OVERRIDABLE})


def correction_of(config: RunConfig, source: ModelSource) -> str | None:
    """Say what a run takes otherwise than its model's configs say.

    Args:
        config: The run's.
        source: Its model.

    Returns:
        One line, or None where all that the run takes is what was saved.
    """
    saved, used = (
        read_values(values, _named(config)) for values in (source.saved_scheduler, source.scheduler)
    )
    changes = {key: (saved[key], used[key]) for key in saved if saved[key] != used[key]}
    settings = settings_of(config, source)
    if config.scheduler.steps_offset is not None or settings.timestep_spacing != "leading":
        changes.pop("steps_offset", None)
    size = source.unet.sample_size
    is_size_used = config.height is None or config.width is None
    if is_size_used and isinstance(size, int) and source.sample_size != (size, size):
        changes["the UNet's sample_size"] = (size, source.sample_size[0])
    if not changes:
        return None
    told = ", ".join(f"{key} {shown(old)} -> {shown(new)}" for key, (old, new) in changes.items())
    return (
        f"model = {source.name}: corrected as StableDiffusionPipeline does on loading: {told}; "
        "model_as_saved: true takes its configs to the letter"
    )


def _named(config: RunConfig) -> str | None:
    """Return the method that a config names, if it does."""
    return None if config.scheduler.type == "model" else config.scheduler.type
