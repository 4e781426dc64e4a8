"""What the registry holds of a method: its rows, its class in diffusers, its facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.table import Keeps, Row

SPREAD_OF = {
    "use_karras_sigmas": "karras",
    "use_exponential_sigmas": "exponential",
    "use_beta_sigmas": "beta",
    "use_lu_lambdas": "lu",
    "use_flow_sigmas": "flow",
}
ALIGNED = ("ays", "ays_xl")  # which are for Stable Diffusion's sigmas
SPREAD_OPTIONS = dict.fromkeys(list(SPREAD_OF)[:3], False)
SPACED = {"timestep_spacing": "linspace", "steps_offset": 0}
SD_BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
CLIPPED = {"thresholding": False, "clip_sample": False}
FLOW_OPTIONS = {"use_flow_sigmas": False, "flow_shift": 1.0, "use_dynamic_shifting": False}


class Formula(NamedTuple):
    """A row's coefficients in writing, between a frame at s, n and one at s', n'.

    `sdloop.sampler.explain.LETTERS` says what the common letters mean.

    Attributes:
        a: Of the base frame.
        b: Of the mixture.
        w: The mixture's weights, newest first.
        c: Of fresh noise.
        base: The frame that a row starts from.
        letters: What letters of its own mean.
    """

    a: str
    b: str
    w: str = "1"
    c: str = "0"
    base: str = "r"
    letters: str = ""


@dataclass(frozen=True)
class Method:
    """A sampling method.

    Attributes:
        name: What `scheduler.type` calls it.
        scheduler: The class of diffusers whose frames it makes.
        rows: (settings, num_steps) -> the rows of its table.
        options: What that class reads beside its betas and what it predicts, with its defaults.
        formula: Its coefficients in writing.
        keeps: What rows keep for the mixtures.
        order: Of its error; a number, or from which to which.
        calls: How often the network is asked, N steps given.
        source: Where it first appeared.
        noise: When it adds fresh noise.
        own: Defaults that hold only where a config names that very class.
        allowed: The values of an option that are obeyed; another one is refused.
        forced: The options that the name itself says; by them a config's method is found.
        fixed: Values of settings that the class has no option for, or that it must have.
        aliases: Other names that people use.
        predictions: What the network may return.
        scales_noise: Whether frame 0 is sigma times noise in sigma's space, hence not quite of
            power 1 here, unless the spacing is leading.
    """

    name: str
    scheduler: str
    rows: Callable[[SchedulerSettings, int], list[Row]]
    options: Mapping[str, Any]
    formula: Formula
    keeps: Keeps
    order: str
    calls: str
    source: str
    noise: str = "never"
    own: Mapping[str, Any] = field(default_factory=dict)
    allowed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    forced: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    predictions: tuple[str, ...] = ("epsilon", "v_prediction", "sample")
    scales_noise: bool = False

    @property
    def spreads(self) -> tuple[str, ...]:
        """Return how its levels can be spread, beside as they were trained."""
        named = tuple(name for option, name in SPREAD_OF.items() if option in self.options)
        return named + (ALIGNED if "karras" in named and "epsilon" in self.predictions else ())
