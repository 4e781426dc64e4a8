"""The sampling methods, one file a family: settings -> the rows of a table.

A family's file names its methods in METHODS; the registry here finds them, and everything that
lists or reads methods asks it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from sdloop.machine.errors import UserError, check_type, shown
from sdloop.sampler.methods.method import ALIGNED, Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.table import Table, tabulate

METHODS: dict[str, Method] = {
    method.name: method
    for module in iter_modules(__path__)
    for method in getattr(import_module(f"{__name__}.{module.name}"), "METHODS", ())
}
SPREADS = ("karras", "exponential", "beta", "lu", *ALIGNED)
_ALIASES = {alias: method for method in METHODS.values() for alias in method.aliases}


def find_method(name: str) -> tuple[Method, str | None]:
    """Read a name that people use, such as dpm++_2m_karras.

    Args:
        name: A method's, or one of its aliases, and behind it how its levels are spread.

    Returns:
        The method, and the spread where the name says one.

    Raises:
        UserError: No method is called so, or it does not spread its levels so.
    """
    plain, spread = name, None
    for each in SPREADS:
        if name.endswith(f"_{each}"):
            plain, spread = name.removesuffix(f"_{each}"), each
    method = METHODS.get(plain) or _ALIASES.get(plain)
    if method is None or (spread and spread not in method.spreads):
        raise UserError(f"scheduler.type = {shown(name)}: allowed: {list_names()}")
    return method, spread


def list_names() -> str:
    """List what `scheduler.type` takes, in one line."""
    names = [name for each in METHODS.values() for name in (each.name, *each.aliases)]
    return f"model, {', '.join(names)}; most also with {', '.join(f'_{each}' for each in SPREADS)}"


def make_table(settings: SchedulerSettings, num_steps: int) -> Table:
    """Compute a sampler's table for a number of steps.

    Args:
        settings: The scheduler's settings; `settings.kind` names the method.
        num_steps: The number of inference steps, as diffusers' set_timesteps takes it; some
            methods make more rows of them.

    Returns:
        The table.

    Raises:
        UserError: This number of steps leaves the trained times, or is too small.
    """
    check_type(settings, SchedulerSettings, "settings", "; read_settings(config) makes them")
    if not 1 <= num_steps <= settings.num_train_timesteps:
        raise UserError(
            f"scheduler.num_steps = {num_steps}: allowed: 1 to {settings.num_train_timesteps}"
        )
    method = METHODS[settings.kind]
    rows = method.rows(settings, num_steps)
    scaled = method.scales_noise and settings.timestep_spacing != "leading"
    return tabulate(rows, settings.prediction_type, rows[0].start.noise if scaled else 1.0)


make_schedule = make_table  # as it was called when there were two samplers
