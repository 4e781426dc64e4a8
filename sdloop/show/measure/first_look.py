"""How well an early difference predicts the final layout, against other runs as control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdloop.show.measure.layout import coarse, correlate


@dataclass(frozen=True)
class FirstLook:
    """How well each run's difference predicts its own layout, and how well others' do.

    Attributes:
        own: float64 (runs,), |correlation| of a run's difference with its own layout.
        others: float64 (runs,), mean |correlation| of the controls' differences with that layout.
        beaten: float64 (runs,), the share of controls that `own` beats, where a tie counts half:
            0.5 is chance; at 1 no control predicts the layout as well as the run itself.
    """

    own: NDArray[np.float64]
    others: NDArray[np.float64]
    beaten: NDArray[np.float64]


def first_look(
    differences: Tensor, layouts: Tensor, is_control: NDArray[np.bool_] | None = None
) -> FirstLook:
    """Ask how well one early difference of each run predicts the layout that the run ends in.

        r[i, j] = |correlation of run j's blurred difference with run i's blurred layout|
        own_i = r[i, i],   beaten_i = mean over the controls j of run i of [r[i, i] > r[i, j]]

    The sign does not count: the negative of a layout shows it just as well.

    Args:
        differences: float32 (runs, H, W), each run's difference of one row, on any device.
        layouts: float32 (runs, H, W), what is predicted: each final picture's local detail, or its
            object mask as numbers.
        is_control: bool (runs, runs), whether run j is a control of run i; by default every other
            run is. Each run needs at least one.

    Returns:
        The correlations and the share of controls beaten.
    """
    runs = len(differences)
    controls = ~np.eye(runs, dtype=bool) if is_control is None else is_control
    r = correlate(coarse(layouts), coarse(differences)).abs().cpu().double().numpy()
    own = np.diag(r)
    wins = np.where(own[:, None] > r, 1.0, np.where(own[:, None] == r, 0.5, 0.0))
    counts = controls.sum(axis=1)
    return FirstLook(
        own=own,
        others=(r * controls).sum(axis=1) / counts,
        beaten=(wins * controls).sum(axis=1) / counts,
    )
