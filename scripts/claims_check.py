"""Claims as numbers: medians with their spread, against bounds that were set beforehand."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Check:
    """One number a run, and where its median has to lie for the claim to be right.

    Attributes:
        what: The number, in words.
        median: Over the runs.
        quartiles: Of the runs.
        interval: 95% confidence interval of the median, by bootstrap over prompts.
        bounds: Lowest and highest median that the claim allows.
        runs: How many runs there are.
    """

    what: str
    median: float
    quartiles: tuple[float, float]
    interval: tuple[float, float]
    bounds: tuple[float, float]
    runs: int

    @property
    def answer(self) -> str:
        """Return "yes" if the whole interval is within the bounds, "no" if none of it is."""
        if self.bounds[0] < self.interval[0] and self.interval[1] < self.bounds[1]:
            return "yes"
        outside = self.interval[1] <= self.bounds[0] or self.bounds[1] <= self.interval[0]
        return "no" if outside else "open"

    def line(self) -> str:
        """Say it in one line."""
        low, high = (f"{bound:g}" for bound in self.bounds)
        asked = f"{low} to {high}"
        if np.isinf(self.bounds[0]):
            asked = f"below {high}"
        elif np.isinf(self.bounds[1]):
            asked = f"above {low}"
        return (
            f"{self.what:<66} {self.median:6.2f}   quartiles {self.quartiles[0]:5.2f} "
            f"{self.quartiles[1]:5.2f}   95% CI {self.interval[0]:5.2f} {self.interval[1]:5.2f}"
            f"   asked {asked:<13} {self.answer}"
        )


@dataclass(frozen=True)
class Claim:
    """What the post says, and the checks that decide it."""

    letter: str
    text: str
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> str:
        """Judge: it holds if all answers are yes, and is mixed if some are.

        Where none is yes, it does not hold if one is no, and is undecided if all are open.
        """
        answers = {made.answer for made in self.checks}
        if answers == {"open"}:
            return "undecided"
        if answers == {"yes"}:
            return "holds"
        return "mixed" if "yes" in answers else "does not hold"

    def facts(self) -> dict[str, Any]:
        """Return all of it as plain values for JSON; an open bound is null."""
        checks = [
            asdict(made)
            | {"bounds": [None if np.isinf(bound) else bound for bound in made.bounds]}
            | {"answer": made.answer}
            for made in self.checks
        ]
        return {"claim": self.text, "verdict": self.verdict, "checks": checks}


def check(
    what: str,
    values: NDArray[np.float64],
    prompt: NDArray[np.str_],
    above: float = -np.inf,
    below: float = np.inf,
) -> Check:
    """Hold the median of the runs against bounds.

    The interval is a cluster bootstrap (Efron and Tibshirani 1993): prompts are drawn again with
    replacement, each with all of its seeds, as seeds of one prompt are no independent evidence.

    Args:
        what: The number, in words.
        values: (runs,).
        prompt: (runs,), of each run.
        above: The median has to lie above it.
        below: And below this.

    Returns:
        The check.
    """
    rng = np.random.default_rng(0)
    clusters = [values[prompt == one] for one in np.unique(prompt)]
    draws = rng.integers(len(clusters), size=(RESAMPLES, len(clusters)))
    medians = [np.median(np.concatenate([clusters[k] for k in draw])) for draw in draws]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    lower, upper = np.quantile(values, [0.25, 0.75])
    return Check(
        what=what,
        median=float(np.median(values)),
        quartiles=(float(lower), float(upper)),
        interval=(float(low), float(high)),
        bounds=(above, below),
        runs=len(values),
    )
