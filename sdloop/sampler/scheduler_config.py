"""diffusers' scheduler_config.json -> settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sdloop.machine.errors import UserError, check_type, explain, shown
from sdloop.sampler.methods import METHODS, find_method, list_names
from sdloop.sampler.methods.method import SPREAD_OF, Method
from sdloop.sampler.settings import SchedulerSettings, alphas_cumprod

__all__ = ["SchedulerSettings", "alphas_cumprod", "override", "read_settings"]

BETAS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
)
ALLOWED = {
    "timestep_spacing": ("leading", "linspace", "trailing"),
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "clip_sample": (False,),
    "thresholding": (False,),
    "use_dynamic_shifting": (False,),
    "invert_sigmas": (False,),
    "solver_p": (None,),
    "solver_type": ("midpoint", "heun", "bh1", "bh2", "logrho"),
}
FREE = ("set_alpha_to_one", "skip_prk_steps")  # may be set for a method that ignores them
LEAST_ALPHA = 1e-12  # below it a frame holds no trace of the picture, and 1 / alpha overflows
_SETTINGS = TypeAdapter(SchedulerSettings)


def read_settings(config: Mapping[str, Any], name: str | None = None) -> SchedulerSettings:
    """Read diffusers' scheduler config, with the defaults of diffusers' scheduler classes.

    Args:
        config: The content of scheduler_config.json.
        name: The name of a method, which replaces the class that the config names, as
            `Scheduler.from_config` does; the config's values are kept.

    Returns:
        The settings.

    Raises:
        UserError: The class or a value is not supported; the message names it.
    """
    check_type(config, Mapping, "config", "; find(...).scheduler is one")
    method, spread = _choose(config, name)
    values = _values_of(config, method, name is not None)
    _check_allowed(values, method)
    try:
        known = {key: value for key, value in values.items() if key not in SPREAD_OF}
        chosen = {"kind": method.name, "sigmas": spread or _spread_of(values)}
        settings = _SETTINGS.validate_python({**known, **chosen})
    except ValidationError as error:
        raise UserError(f"model's scheduler config: {explain(error)}") from None
    _check_numbers(settings)
    return settings


def read_values(config: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """List what `read_settings` reads of a config, unchecked, with the method's defaults.

    Args:
        config: As in `read_settings`.
        name: As in `read_settings`.

    Returns:
        Values by diffusers' names.

    Raises:
        UserError: The class is not supported.
    """
    return _values_of(config, _choose(config, name)[0], name is not None)


def override(settings: SchedulerSettings, values: Mapping[str, Any]) -> SchedulerSettings:
    """Override a model's settings with a run's own values.

    Args:
        settings: The model's.
        values: By the settings' names; None keeps the model's value.

    Returns:
        The settings.

    Raises:
        UserError: The method has no such option.
    """
    method = METHODS[settings.kind]
    changed = {}
    for key, value in values.items():
        if value is None or value == getattr(settings, key):
            continue
        choices = {
            "sigmas": ("trained", *method.spreads),
            "prediction_type": method.predictions,
        }
        takes = value in choices[key] if key in choices else key in method.options
        if not (takes or key in FREE):
            raise UserError(f"scheduler.{key} = {shown(value)}: {method.name} has no such option")
        changed[key] = value
    changed_settings = replace(settings, **changed)
    _check_numbers(changed_settings)
    return changed_settings


def _choose(config: Mapping[str, Any], name: str | None) -> tuple[Method, str | None]:
    """Find the method that is asked for, or that a config means, and the spread that is named."""
    if name is not None:
        return find_method(name)
    method = _method_of(config)
    if method is None:
        raise UserError(
            f"scheduler.type = model: the model's {shown(config.get('_class_name'))} is not "
            f"supported; choose another by scheduler.type=; allowed: {list_names()}"
        )
    return method, None


def _values_of(config: Mapping[str, Any], method: Method, is_named: bool) -> dict[str, Any]:
    """Return all values that a method's class reads, those that its name says among them."""
    forced = method.forced if is_named else {}
    return {**method.options, **_said(config, method), **method.fixed, **forced}


def _method_of(config: Mapping[str, Any]) -> Method | None:
    """Find the method that a config's class and options mean."""
    for method in METHODS.values():
        if method.scheduler != config.get("_class_name"):
            continue
        values = {**method.options, **_said(config, method)}
        if all(values[key] == value for key, value in method.forced.items()):
            return method
    return next((m for m in METHODS.values() if m.scheduler == config.get("_class_name")), None)


def _said(config: Mapping[str, Any], method: Method) -> dict[str, Any]:
    """Return the values of a config that a method's class reads; others belong to other classes."""
    own = method.own if config.get("_class_name") == method.scheduler else {}
    read = {key: value for key, value in config.items() if key in (*BETAS, *method.options)}
    return {**own, **read}


def _check_allowed(values: Mapping[str, Any], method: Method) -> None:
    """Refuse values that are unknown, or make a step that is not linear; name the key."""
    for key, allowed in {
        **ALLOWED, "prediction_type": method.predictions, **method.allowed
    }.items():  # fmt: skip
        if key in values and values[key] not in allowed:
            choices = ", ".join(str(choice) for choice in allowed)
            raise UserError(
                f"model's scheduler config: {key} = {shown(values[key])} is not supported for "
                f"{method.name}; allowed: {choices}"
            )


def _spread_of(values: Mapping[str, Any]) -> str:
    """Read from diffusers' flags how the levels are spread."""
    chosen = [option for option in SPREAD_OF if values.get(option)]
    if len(chosen) > 1:
        raise UserError(
            f"model's scheduler config: {chosen[0]} = True and {chosen[1]} = True are not "
            "supported together; allowed: one of them"
        )
    return SPREAD_OF[chosen[0]] if chosen else "trained"


def _check_numbers(settings: SchedulerSettings) -> None:
    """Refuse numbers that do not go together."""
    betas, steps = settings.trained_betas, settings.num_train_timesteps
    if betas is not None and len(betas) != steps:
        raise UserError(
            f"model's scheduler config: trained_betas are {len(betas)}; num_train_timesteps {steps}"
        )
    least = alphas_cumprod(settings)[-1]
    if least < LEAST_ALPHA and not settings.rescale_betas_zero_snr:
        raise UserError(
            f"model's scheduler config: its betas leave {least:.1e} of the picture's power at the "
            f"last timestep; allowed: {LEAST_ALPHA:.0e} or more"
        )
    flow = settings.prediction_type == "flow_prediction"
    if settings.kind != "flow_euler" and flow != (settings.sigmas == "flow"):
        raise UserError(
            f"model's scheduler config: prediction_type = {settings.prediction_type} does not go "
            f"with sigmas that are {settings.sigmas}; allowed: flow_prediction with "
            "use_flow_sigmas = True"
        )
