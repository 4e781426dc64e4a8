"""Where in the picture each change falls: on object or background, on detail or flat areas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from sdloop.show.measure import ROWS_AT_ONCE
from sdloop.show.measure.layout import coarse, correlate, local_detail

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Placement:
    """Where each difference falls. Arrays are float64 (rows,), NaN where nothing changed.

    Attributes:
        area: The object's share of the picture.
        object_share: The share of the difference that falls on the object.
        object_enrichment: `object_share` over `area`: 1 is chance, 2 is twice as dense as chance,
            and below 1 the background changes more. NaN where the mask is empty.
        detail_correlation: Correlation of the difference with the final picture's local detail,
            -1 to 1.
        layout_correlation: The same with both maps blurred: does the difference already show
            where the final picture's detail will be?
    """

    area: float
    object_share: NDArray[np.float64]
    object_enrichment: NDArray[np.float64]
    detail_correlation: NDArray[np.float64]
    layout_correlation: NDArray[np.float64]


def measure_placement(differences: Tensor, final: Tensor, mask: Tensor) -> Placement:
    """Compare each difference with the final picture's object and detail.

        object_share = sum of d over the object / sum of d
        area = pixels of the object / pixels

    Args:
        differences: float32 (rows, H, W), the reduced absolute differences, on any device.
        final: uint8 or float32 (H, W, 3), the last frame, in 8-bit levels.
        mask: bool (H, W), true on the object; on the same device.

    Returns:
        Where each row's difference falls.
    """
    nan = torch.full((), float("nan"), device=differences.device)
    totals = differences.sum(dim=(1, 2))
    detail = local_detail(final)[None]
    # a few rows at a time, as each product is as large as its factors
    parts = differences.tensor_split(math.ceil(len(differences) / ROWS_AT_ONCE))
    on_object = torch.cat([(part * mask).sum(dim=(1, 2)) for part in parts])
    share = on_object / torch.where(totals > 0, totals, nan)
    area = mask.float().mean()
    columns = (
        share,
        share / torch.where(area > 0, area, nan),
        torch.cat([correlate(part, detail)[:, 0] for part in parts]),
        correlate(coarse(differences), coarse(detail))[:, 0],
    )
    return Placement(float(area), *(column.cpu().double().numpy() for column in columns))
