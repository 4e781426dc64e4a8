"""diffusers' scheduler_config.json -> settings, and the noise levels that they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdloop.machine.errors import UserError, explain, shown

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


LEAST_ALPHA = 1e-12  # below it a frame holds no trace of the picture, and 1 / alpha is no number


class _Numbers(BaseModel):
    """The numbers of a scheduler_config.json, within what a trained model can have."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    num_train_timesteps: Annotated[int, Field(ge=1, le=10_000)] = 1000
    beta_start: Annotated[float, Field(ge=0, lt=1)] = 0.0001
    beta_end: Annotated[float, Field(gt=0, lt=1)] = 0.02
    beta_schedule: str = "linear"
    trained_betas: tuple[Annotated[float, Field(ge=0, lt=1)], ...] | None = None
    prediction_type: str = "epsilon"
    timestep_spacing: str = "leading"
    steps_offset: Annotated[int, Field(ge=0, le=9999)] = 0
    set_alpha_to_one: bool = True
    skip_prk_steps: bool = False


@dataclass(frozen=True)
class SchedulerSettings:
    """What a diffusers scheduler_config.json says, as far as a deterministic sampler needs it."""

    kind: Literal["ddim", "pndm"]
    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: tuple[float, ...] | None = None
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon"
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
            f"scheduler.type = model: the model's {shown(config.get('_class_name'))} is not "
            "supported; allowed: scheduler.type=ddim, scheduler.type=pndm"
        )
    values = {"clip_sample": named == "ddim", "set_alpha_to_one": chosen == "ddim", **config}
    if chosen == "pndm":  # it has no such options
        values |= {"clip_sample": False, "thresholding": False, "rescale_betas_zero_snr": False}
    for key, allowed in ALLOWED.items():
        if key in values and values[key] not in allowed:
            choices = ", ".join(str(choice) for choice in allowed)
            raise UserError(
                f"model's scheduler config: {key} = {shown(values[key])} is not supported for "
                f"{chosen}; allowed: {choices}"
            )
    try:
        numbers = _Numbers.model_validate(values)
    except ValidationError as error:
        raise UserError(f"model's scheduler config: {explain(error)}") from None
    settings = SchedulerSettings(chosen, **numbers.model_dump())  # type: ignore[arg-type]
    betas, steps = settings.trained_betas, settings.num_train_timesteps
    if betas is not None and len(betas) != steps:
        raise UserError(
            f"model's scheduler config: trained_betas are {len(betas)}; num_train_timesteps {steps}"
        )
    least = alphas_cumprod(settings)[-1]
    if least < LEAST_ALPHA:
        raise UserError(
            f"model's scheduler config: its betas leave {least:.1e} of the picture's power at the "
            f"last timestep; allowed: {LEAST_ALPHA:.0e} or more"
        )
    return settings


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
