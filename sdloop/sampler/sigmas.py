"""The falling noise levels of a sampler, as lists of sigma = noise / signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sdloop.machine.errors import UserError
from sdloop.sampler.noise_levels import check_spaced
from sdloop.sampler.settings import SchedulerSettings, alphas_cumprod
from sdloop.sampler.table import Floats, Level

LEAST_ALPHA = 2.0**-24  # diffusers' stand-in for a terminal alpha of 0
LEAST_FLOW_SIGNAL = 1e-6  # diffusers' stand-in for a flow's signal of 0, as its logarithm is needed


class Way(NamedTuple):
    """A sampler's way: n times to call the network at, and n + 1 levels; it ends at the last."""

    times: list[float]
    levels: list[Level]


def karras(high: float, low: float, count: int) -> Floats:
    """Spread sigmas evenly in their seventh root (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    roots = high ** (1 / 7), low ** (1 / 7)
    return (roots[0] + np.linspace(0, 1, count) * (roots[1] - roots[0])) ** 7


def exponential(high: float, low: float, count: int) -> Floats:
    """Spread sigmas evenly in their logarithm."""
    return np.exp(np.linspace(np.log(high), np.log(low), count))


def beta(high: float, low: float, count: int) -> Floats:
    """Spread sigmas by the quantiles of Beta(0.6, 0.6) (arXiv:2407.12173, sec. 3)."""
    return low + beta_quantiles(1 - np.linspace(0, 1, count), 0.6) * (high - low)


def beta_quantiles(shares: Floats, a: float) -> Floats:
    """Invert the distribution function of Beta(a, a) by bisection; exact to float64's rounding.

    In the lower half it is a series, which the upper half mirrors:
    B(x; a, a) = x^a sum_n (1 - a)_n / (n! (a + n)) x^n.
    """
    n = np.arange(64)
    terms = np.cumprod(np.concatenate([[1.0], (n[1:] - a) / n[1:]])) / (a + n)

    def lower(x: Floats) -> Floats:
        return x**a * (terms * x[:, None] ** n).sum(axis=1)

    wanted = np.minimum(shares, 1 - shares) * 2 * lower(np.array([0.5]))
    below, above = np.zeros_like(shares), np.full_like(shares, 0.5)
    for _ in range(100):
        middle = (below + above) / 2
        low = lower(middle) < wanted
        below, above = np.where(low, middle, below), np.where(low, above, middle)
    return np.where(shares < 0.5, above, 1 - above) * (shares > 0)


SPREADS: dict[str, Callable[[float, float, int], Floats]] = {
    "karras": karras,
    "exponential": exponential,
    "beta": beta,
    "lu": exponential,  # the same, as diffusers takes rho = 1 and ln sigma for lambda
}


ALIGNED_TIMES = {  # Align Your Steps: Sabour et al. 2024, arXiv:2404.14507, for 10 steps
    "ays": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24),
    "ays_xl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13),
}


def aligned(name: str, trained: Floats, count: int) -> tuple[Floats, Floats]:
    """Return Align Your Steps' times and sigmas.

    Ten steps take the published times. Any other number interpolates between the published levels,
    linearly in the logarithm of sigma, as the authors say; the cleanest trained level is the last.

    Args:
        name: A key of ALIGNED_TIMES.
        trained: Sigma at every trained time.
        count: How many steps.

    Returns:
        The times and the sigmas, (count,) each.

    Raises:
        UserError: The published times are for another number of trained times.
    """
    published = np.array(ALIGNED_TIMES[name], dtype=np.float64)
    if len(trained) != published[0] + 1:
        raise UserError(
            f"scheduler.sigmas = {name}: needs num_train_timesteps = {published[0] + 1:.0f}, not "
            f"{len(trained)}"
        )
    sigmas = np.interp(published, np.arange(len(trained)), trained)
    if count == len(published):
        return published, sigmas
    logs = np.log(np.append(sigmas, trained[0]))
    between = np.exp(np.interp(np.linspace(0, 1, count + 1), np.linspace(0, 1, len(logs)), logs))
    return time_of(between[:-1], trained), between[:-1]


def trained_sigmas(settings: SchedulerSettings) -> Floats:
    """Return sigma at every trained time."""
    alphas = alphas_cumprod(settings)
    if settings.rescale_betas_zero_snr:
        alphas[-1] = LEAST_ALPHA
    return np.sqrt((1 - alphas) / alphas)


def time_of(sigma: Floats, trained: Floats) -> Floats:
    """Return the times of sigmas, interpolated between the trained ones by their logarithm."""
    logs = np.log(np.maximum(sigma, 1e-10))
    return np.interp(logs, np.log(trained), np.arange(len(trained)))


def ode_sigmas(settings: SchedulerSettings, num_steps: int) -> tuple[Floats, Floats]:
    """Choose times and sigmas as k-diffusion's samplers do, from the noisiest to the cleanest.

    Args:
        settings: The scheduler's.
        num_steps: How many.

    Returns:
        The times, (num_steps,), and the sigmas, (num_steps + 1,).
    """
    trained, steps = settings.num_train_timesteps, num_steps
    times: Floats
    if settings.timestep_spacing == "linspace":
        times = np.linspace(0, trained - 1, steps)[::-1]
    elif settings.timestep_spacing == "leading":
        times = (
            np.arange(steps, dtype=np.float64)[::-1] * (trained // steps) + settings.steps_offset
        )
    else:
        times = np.round(np.arange(trained, 0, -trained / steps, dtype=np.float64)) - 1
    check_spaced(settings, num_steps, times)
    all_sigmas = trained_sigmas(settings)
    sigmas = np.interp(times, np.arange(trained), all_sigmas)
    last = all_sigmas[0] if settings.final_sigmas_type == "sigma_min" else 0.0
    if settings.interpolation_type == "log_linear":
        sigmas = exponential(all_sigmas[-1], all_sigmas[0], steps + 1)
    if settings.sigmas in ALIGNED_TIMES:
        times, sigmas = aligned(settings.sigmas, all_sigmas, steps)
    elif settings.sigmas != "trained":
        high, low = settings.sigma_max or sigmas[0], settings.sigma_min or sigmas[-1]
        sigmas = SPREADS[settings.sigmas](high, low, steps)
        times = time_of(sigmas, all_sigmas)
    if settings.timestep_type == "continuous" and settings.prediction_type == "v_prediction":
        times = 0.25 * np.log(sigmas)  # log_linear has one too many
    return times, np.append(sigmas, last)[: len(times) + 1]


def solver_way(
    settings: SchedulerSettings,
    num_steps: int,
    *,
    own_end: bool = False,
    rounds: bool = True,
    flow_from_one: bool = False,
) -> Way:
    """Choose times and levels as DPM-Solver and its successors do: whole times, and a last step.

    Args:
        settings: The scheduler's.
        num_steps: How many.
        own_end: If the way ends at the least sigma, take the spread's, not the trained one.
        rounds: Round the times of a spread; otherwise truncate them.
        flow_from_one: Start a flow at its noisiest level, not one step below.

    Returns:
        The way.
    """
    if settings.sigmas == "flow":
        return _flow_way(settings, num_steps, own_end, flow_from_one)
    all_sigmas = trained_sigmas(settings)
    trained = settings.num_train_timesteps
    times: Floats
    last_time = trained - int((-np.log(all_sigmas[::-1]) < settings.lambda_min_clipped).sum())
    if settings.timestep_spacing == "linspace":
        times = np.linspace(0, last_time - 1, num_steps + 1).round()[:0:-1]
    elif settings.timestep_spacing == "leading":
        times = np.arange(num_steps + 1, dtype=np.float64)[:0:-1]
        times *= last_time // (num_steps + 1)
        times += settings.steps_offset
    else:
        times = np.round(np.arange(last_time, 0, -trained / num_steps, dtype=np.float64)) - 1
    check_spaced(settings, num_steps, times)
    sigmas, least = np.interp(times, np.arange(trained), all_sigmas), all_sigmas[0]
    if settings.sigmas in ALIGNED_TIMES:
        times, sigmas = aligned(settings.sigmas, all_sigmas, num_steps)
        times = times.round()
    elif settings.sigmas != "trained":
        high, low = settings.sigma_max or all_sigmas[-1], settings.sigma_min or all_sigmas[0]
        sigmas = SPREADS[settings.sigmas](high, low, num_steps)
        times = time_of(sigmas, all_sigmas)
        times = times.round() if rounds and settings.sigmas in ("karras", "lu") else times
        least = sigmas[-1] if own_end else least
    last = least if settings.final_sigmas_type == "sigma_min" else 0.0
    return Way(np.trunc(times).tolist(), [Level.of_sigma(s) for s in [*sigmas.tolist(), last]])


def _flow_way(settings: SchedulerSettings, num_steps: int, own_end: bool, from_one: bool) -> Way:
    """Choose a flow's times and levels."""
    even = np.linspace(1, 1 / settings.num_train_timesteps, num_steps + 1)
    sigmas = even[:-1] if from_one else 1 - even[:0:-1]
    sigmas = settings.flow_shift * sigmas / (1 + (settings.flow_shift - 1) * sigmas)
    if from_one and abs(sigmas[0] - 1) < LEAST_FLOW_SIGNAL:
        sigmas[0] -= LEAST_FLOW_SIGNAL
    last = 0.0
    if settings.final_sigmas_type == "sigma_min":
        last = float(sigmas[-1] if own_end else trained_sigmas(settings)[0])
    times = np.trunc(sigmas * settings.num_train_timesteps)
    return Way(times.tolist(), [Level.of_flow(s) for s in [*sigmas.tolist(), last]])
