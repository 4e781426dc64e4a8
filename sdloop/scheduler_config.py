"""diffusers' scheduler_config.json -> settings, and the noise levels that they mean."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sdloop.errors import UserError

Floats = NDArray[np.float64]

CLASS_KINDS = {"DDIMScheduler": "ddim", "PNDMScheduler": "pndm"}
ALLOWED = {
    "prediction_type": ("epsilon", "v_prediction"),
    "timestep_spacing": ("leading", "linspace", "trailing"),
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "clip_sample": (False,),
    "thresholding": (False,),
    "rescale_betas_zero_snr": (False,),
}


@dataclass(frozen=True)
class SchedulerSettings:
    """What a diffusers scheduler_config.json says, as far as a deterministic sampler needs it."""

    kind: Literal["ddim", "pndm"]
    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: tuple[float, ...] | None = None
    prediction_type: str = "epsilon"
    timestep_spacing: str = "leading"
    steps_offset: int = 0
    set_alpha_to_one: bool = True
    skip_prk_steps: bool = False


def read_settings(
    config: Mapping[str, Any], kind: Literal["ddim", "pndm"] | None = None
) -> SchedulerSettings:
    """Read diffusers' scheduler config, with the defaults of diffusers' scheduler classes.

    Args:
        config: The content of scheduler_config.json.
        kind: Overrides the class that the config names; its other values are kept.

    Returns:
        The settings.

    Raises:
        UserError: The class or a value is not supported; the message names it.
    """
    named = CLASS_KINDS.get(str(config.get("_class_name")))
    chosen = kind or named
    if chosen is None:
        raise UserError(
            f"scheduler.type = model: the model's {config.get('_class_name')} is not supported; "
            "allowed: scheduler.type=ddim, scheduler.type=pndm"
        )
    values = {"clip_sample": named == "ddim", "set_alpha_to_one": chosen == "ddim", **config}
    if chosen == "pndm":  # it has no such options
        values |= {"clip_sample": False, "thresholding": False, "rescale_betas_zero_snr": False}
    for key, allowed in ALLOWED.items():
        if key in values and values[key] not in allowed:
            choices = ", ".join(str(choice) for choice in allowed)
            raise UserError(
                f"model's scheduler config: {key} = {values[key]} is not supported for {chosen}; "
                f"allowed: {choices}"
            )
    known = {field.name for field in fields(SchedulerSettings)} - {"kind", "trained_betas"}
    betas = values.get("trained_betas")
    return SchedulerSettings(
        kind=chosen,  # type: ignore[arg-type]
        trained_betas=None if betas is None else tuple(betas),
        **{key: value for key, value in values.items() if key in known},
    )


def alphas_cumprod(settings: SchedulerSettings) -> Floats:
    """Return the cumulative product of 1 - beta, float64 (num_train_timesteps,)."""
    steps = settings.num_train_timesteps
    if settings.trained_betas is not None:
        betas: Floats = np.array(settings.trained_betas, dtype=np.float64)
    elif settings.beta_schedule == "linear":
        betas = np.linspace(settings.beta_start, settings.beta_end, steps)
    elif settings.beta_schedule == "scaled_linear":
        betas = np.linspace(settings.beta_start**0.5, settings.beta_end**0.5, steps) ** 2
    else:  # squaredcos_cap_v2, Nichol and Dhariwal 2021 (arXiv:2102.09672, eq. 17)
        edges = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - edges[1:] / edges[:-1], 0.999)
    return np.cumprod(1 - betas, dtype=np.float64)
