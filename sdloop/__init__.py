"""Stable Diffusion's sampling loop by hand: every step kept, decoded and shown.

The names below are the program's own parts, imported when first used:

    source = sdloop.find("bundled")
    models = sdloop.load(source, *sdloop.choose_device("auto", "auto"))
    schedule = sdloop.make_schedule(sdloop.read_settings(source.scheduler), num_steps=50)
    embeddings = sdloop.encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    z = sdloop.initial_noise([0], 4, 16, 16)
    denoised = sdloop.denoise(models.unet, schedule, z, embeddings, guidance_scale=7.5)
    images = sdloop.decode_latents(models.vae, denoised.latents[:, 0])
    maps = sdloop.difference_maps(images)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdloop.config import RunConfig, load_config
    from sdloop.decode import decode_latents
    from sdloop.device import choose_device
    from sdloop.difference import DifferenceMaps, difference_maps, viridis
    from sdloop.errors import UserError
    from sdloop.export.gif import write_gif
    from sdloop.export.palette import IndexedFrame, quantize
    from sdloop.export.png import write_frames
    from sdloop.export.strip import write_strip
    from sdloop.export.table import write_steps
    from sdloop.loop import Denoised, denoise, initial_noise
    from sdloop.measure.commitment import Commitment, measure_commitment
    from sdloop.measure.drive import Drive, split_steps
    from sdloop.measure.first_look import FirstLook, first_look
    from sdloop.measure.frequency import FrequencyTimeline, frequency_timeline
    from sdloop.measure.layout import local_detail, object_mask
    from sdloop.measure.placement import Placement, measure_placement
    from sdloop.measure.steps import StepMeasures, measure_steps
    from sdloop.measure.whole_run import RunMeasures, measure_run
    from sdloop.model.find import find
    from sdloop.model.networks import Models, load
    from sdloop.model.source import ModelSource
    from sdloop.run_folder import RunFolder
    from sdloop.schedule import Schedule, make_schedule
    from sdloop.scheduler_config import SchedulerSettings, read_settings
    from sdloop.text import encode_prompts
    from sdloop.trajectory import Trajectory

_HOMES = {
    "config": ("RunConfig", "load_config"),
    "decode": ("decode_latents",),
    "device": ("choose_device",),
    "difference": ("DifferenceMaps", "difference_maps", "viridis"),
    "errors": ("UserError",),
    "export.gif": ("write_gif",),
    "export.palette": ("IndexedFrame", "quantize"),
    "export.png": ("write_frames",),
    "export.strip": ("write_strip",),
    "export.table": ("write_steps",),
    "loop": ("Denoised", "denoise", "initial_noise"),
    "measure.commitment": ("Commitment", "measure_commitment"),
    "measure.drive": ("Drive", "split_steps"),
    "measure.first_look": ("FirstLook", "first_look"),
    "measure.frequency": ("FrequencyTimeline", "frequency_timeline"),
    "measure.layout": ("local_detail", "object_mask"),
    "measure.placement": ("Placement", "measure_placement"),
    "measure.steps": ("StepMeasures", "measure_steps"),
    "measure.whole_run": ("RunMeasures", "measure_run"),
    "model.find": ("find",),
    "model.source": ("ModelSource",),
    "model.networks": ("Models", "load"),
    "run_folder": ("RunFolder",),
    "schedule": ("Schedule", "make_schedule"),
    "scheduler_config": ("SchedulerSettings", "read_settings"),
    "text": ("encode_prompts",),
    "trajectory": ("Trajectory",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Commitment",
    "Denoised",
    "DifferenceMaps",
    "Drive",
    "FirstLook",
    "FrequencyTimeline",
    "IndexedFrame",
    "ModelSource",
    "Models",
    "Placement",
    "RunConfig",
    "RunFolder",
    "RunMeasures",
    "Schedule",
    "SchedulerSettings",
    "StepMeasures",
    "Trajectory",
    "UserError",
    "choose_device",
    "decode_latents",
    "denoise",
    "difference_maps",
    "encode_prompts",
    "find",
    "first_look",
    "frequency_timeline",
    "initial_noise",
    "load",
    "load_config",
    "local_detail",
    "make_schedule",
    "measure_commitment",
    "measure_placement",
    "measure_run",
    "measure_steps",
    "object_mask",
    "quantize",
    "read_settings",
    "split_steps",
    "viridis",
    "write_frames",
    "write_gif",
    "write_steps",
    "write_strip",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    """Import a public name from its room when it is first used."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sdloop' has no attribute {name!r}")
    return getattr(import_module(f"sdloop.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
