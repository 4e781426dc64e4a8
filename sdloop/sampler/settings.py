"""A scheduler's settings, limited to what a trained model can have, and the alphas they imply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field

from sdloop.sampler.table import Floats, Prediction

Count = Annotated[int, Field(ge=1, le=10_000)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Sigma = Annotated[float, Field(gt=0, le=10_000)]
Sigmas = Literal["trained", "karras", "exponential", "beta", "lu", "flow", "ays", "ays_xl"]


@dataclass(frozen=True)
class SchedulerSettings:
    """What a scheduler_config.json says, by diffusers' names, as far as any method reads it.

    Attributes:
        kind: The method, a name in METHODS.
        sigmas: How the levels are spread. "trained": as `timestep_spacing` says, over the trained
            ones; "karras": after Karras et al. 2022 (arXiv:2206.00364, eq. 5); "exponential":
            evenly in ln sigma; "beta": by a beta distribution (arXiv:2407.12173); "lu": after Lu
            et al. (evenly in ln sigma); "flow": a flow's; "ays" and "ays_xl": Align Your Steps
            (arXiv:2404.14507), for Stable Diffusion 1.x and for XL.
        eta: DDIM's share of fresh noise, and TCD's gamma.
    """

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    kind: str
    num_train_timesteps: Count = 1000
    beta_start: Beta = 0.0001
    beta_end: Annotated[float, Field(gt=0, lt=1)] = 0.02
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    trained_betas: tuple[Beta, ...] | None = None
    prediction_type: Prediction = "epsilon"
    timestep_spacing: Literal["leading", "linspace", "trailing"] = "leading"
    steps_offset: Annotated[int, Field(ge=0, le=9999)] = 0
    set_alpha_to_one: bool = True
    skip_prk_steps: bool = False
    rescale_betas_zero_snr: bool = False
    sigmas: Sigmas = "trained"
    sigma_min: Sigma | None = None
    sigma_max: Sigma | None = None
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    interpolation_type: Literal["linear", "log_linear"] = "linear"
    timestep_type: Literal["discrete", "continuous"] = "discrete"
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0
    variance_type: Literal["fixed_small", "fixed_small_log", "fixed_large"] | None = "fixed_small"
    solver_order: Annotated[int, Field(ge=1, le=3)] = 2
    solver_type: str = "midpoint"
    algorithm_type: Literal["dpmsolver++", "sde-dpmsolver++", "dpmsolver"] = "dpmsolver++"
    lower_order_final: bool = True
    euler_at_final: bool = False
    lambda_min_clipped: Annotated[float, Field(allow_inf_nan=True, lt=100)] = -np.inf
    predict_x0: bool = True
    disable_corrector: tuple[int, ...] = ()
    original_inference_steps: Count = 50
    timestep_scaling: Annotated[float, Field(gt=0, le=1000)] = 10.0
    flow_shift: Annotated[float, Field(gt=0, le=1000)] = 1.0
    shift: Annotated[float, Field(gt=0, le=1000)] = 1.0
    shift_terminal: Annotated[float, Field(ge=0, lt=1)] | None = None
    stochastic_sampling: bool = False


def alphas_cumprod(settings: SchedulerSettings) -> Floats:
    """Return the cumulative product of 1 - beta, float64 (num_train_timesteps,).

    With `rescale_betas_zero_snr` the last is 0: the signals are shifted and stretched so that they
    end in pure noise (Lin et al. 2023, arXiv:2305.08891, algorithm 1).
    """
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
    alphas = np.cumprod(1 - betas, dtype=np.float64)
    if not settings.rescale_betas_zero_snr:
        return alphas
    signals = np.sqrt(alphas)
    stretched = (signals - signals[-1]) * signals[0] / (signals[0] - signals[-1])
    return stretched**2
