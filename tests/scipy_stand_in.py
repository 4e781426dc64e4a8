"""diffusers' schedulers that ask for SciPy, without it: the two functions that they use.

They are written another way than sdloop's own, so that they can stand for the real ones.
"""

import importlib
import sys
import types

import diffusers.schedulers  # noqa: F401 - looks for SciPy, which must not be found yet
import numpy as np


def quad(function, start, end, epsrel=None):
    """Integrate by Gauss and Legendre's rule of 16 points, exact up to degree 31."""
    points, weights = np.polynomial.legendre.leggauss(16)
    start, end = float(start), float(end)
    values = [float(function((end - start) / 2 * x + (start + end) / 2)) for x in points]
    return (end - start) / 2 * float(np.dot(weights, values)), 0.0


class Beta:
    """A symmetrical beta distribution, tabulated by the trapezoid rule in u = x^a."""

    def __init__(self):
        self._tables = {}

    def ppf(self, share, a, b):
        """Return the quantile of a share."""
        assert a == b
        if a not in self._tables:
            u = np.linspace(0, 0.5**a, 200_001)
            x = u ** (1 / a)
            density = (1 - x) ** (a - 1) / a
            sums = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(u))])
            self._tables[a] = x, sums / (2 * sums[-1])
        x, shares = self._tables[a]
        low = float(np.interp(min(share, 1 - share), shares, x))
        return low if share < 0.5 else 1 - low


def scheduler_class(name, module):
    """Return a class of diffusers' schedulers that finds these functions where SciPy is.

    Args:
        name: Of the class.
        module: That it is in, below diffusers.schedulers.
    """
    integrate = types.ModuleType("scipy.integrate")
    integrate.quad = quad
    scipy = types.ModuleType("scipy")
    scipy.integrate, scipy.stats = integrate, types.SimpleNamespace(beta=Beta())
    held = {key: sys.modules.get(key) for key in ("scipy", "scipy.integrate")}
    sys.modules |= {"scipy": scipy, "scipy.integrate": integrate}
    try:
        found = importlib.import_module(f"diffusers.schedulers.{module}")
    finally:
        for key, before in held.items():
            del sys.modules[key]
            if before is not None:
                sys.modules[key] = before
    found.scipy, found.integrate, found.is_scipy_available = scipy, integrate, lambda: True
    return getattr(found, name)
