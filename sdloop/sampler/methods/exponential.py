"""The exponential integrator's factors between two levels, which DPM-Solver and its kin share."""

from __future__ import annotations

from math import exp, expm1, isinf, sqrt
from typing import NamedTuple

from sdloop.sampler.table import Level

LEAST_LENGTH = 1e-9  # a last step from the least sigma to itself, but for rounding


class Factors(NamedTuple):
    """A step in lambda = ln(signal / noise), h long, where z0 is known as D0 + lambda D1 + ...

        z' = a z + g D0 + k1 D1 + k2 D2 + c noise

    Attributes:
        a: Factor of the frame.
        g: Factor of the newest prediction.
        k1: Factor of its first divided difference.
        k2: Factor of the second.
        c: Factor of fresh noise.
        h: The step's length in lambda; 0 where there is none to speak of.
    """

    a: float
    g: float
    k1: float
    k2: float
    c: float
    h: float


def integrate(start: Level, end: Level, algorithm: str) -> Factors:
    """Integrate the linear part exactly, and what is predicted as a polynomial.

    Source: DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095, eq. 9) for z0; its SDE (eq. 12);
    DPM-Solver (arXiv:2206.00927, eq. 3.4) for eps, which is the first with the roles of signal and
    noise changed, and so is lambda's sign.

    Args:
        start: Where the latent is.
        end: Where it goes.
        algorithm: "dpmsolver++", "sde-dpmsolver++" or "dpmsolver".

    Returns:
        The factors.
    """
    h = end.log_snr_half - start.log_snr_half
    if algorithm == "dpmsolver":
        h, share, ratio = -h, end.noise, end.signal / start.signal
    else:
        share, ratio = end.signal, end.noise / start.noise
    noisy = algorithm == "sde-dpmsolver++"
    length = 2 * h if noisy else h
    gone = -expm1(-length)  # 1 - e^-length
    k1 = k2 = 0.0
    if length and not isinf(length):
        k1 = share * (1 - gone / length)
        k2 = share * ((gone - length) / length**2 + (-0.5 if noisy else 0.5))
    a = ratio * exp(-h) if noisy else ratio
    h = 0.0 if abs(h) < LEAST_LENGTH else abs(h)
    return Factors(a, share * gone, k1, k2, end.noise * sqrt(gone) if noisy else 0.0, h)
