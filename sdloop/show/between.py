"""How two runs' pictures differ, frame by frame, taken before they are rounded to 8 bits."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdloop.show.difference import Reduction, reduce_difference


class Between:
    """The differences between each frame of one run and the same frame of another.

    The first run's pictures are kept until the second's come.
    """

    def __init__(self, reduce: Reduction = "mean") -> None:
        """Expect the first run.

        Args:
            reduce: How three channels become one value; see `reduce_difference`.
        """
        self._reduce = reduce
        self._kept: deque[Tensor] = deque()
        self._values: list[Tensor] = []
        self._fits = True

    def keep(self, pictures: Tensor) -> None:
        """Keep the first run's next pictures, (count, H, W, 3), in 8-bit levels."""
        self._kept.extend(picture.float().clone() for picture in pictures)

    def compare(self, pictures: Tensor) -> None:
        """Compare the second run's next pictures, shaped as the first's, with those kept."""
        for picture in pictures:
            kept = self._kept.popleft() if self._kept else None
            if kept is None or kept.shape != picture.shape:
                self._fits = False
                self._kept.clear()
                return
            there = kept.to(picture.device)
            self._values.append(reduce_difference(there, picture, self._reduce).cpu())

    @property
    def values(self) -> NDArray[np.float32] | None:
        """Return the differences, (frames, H, W), in 8-bit levels; None if the shapes differ."""
        if not self._fits or self._kept or not self._values:
            return None
        return torch.stack(self._values).numpy()
