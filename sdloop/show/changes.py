"""Pictures, batch by batch -> what of them is kept: 8-bit pictures, differences, energies.

Differences and energies are taken from the pictures as they are decoded, before they are rounded
to 8 bits: most steps change a pixel by 1.5 levels of 255, and some by less than a tenth of one.
Only one picture that is not rounded is kept, the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdloop.show.difference import DifferenceMaps, Reduction, Scale, color_values, reduce_difference
from sdloop.show.measure.frequency import Bands, FrequencyTimeline
from sdloop.show.measure.layout import luma


class Changes:
    """What a run's pictures are and how each differs from the one before.

    Attributes:
        images: uint8 (frames, H, W, 3), rounded.
        values: float32 (frames - 1, H, W), the reduced differences in 8-bit levels, 0 to 255.
        first: float32 (H, W, 3), the first picture, in 8-bit levels that are not rounded.
        final: float32 (H, W, 3), the last picture, in the same levels.
    """

    images: Tensor
    values: Tensor
    first: Tensor
    final: Tensor

    def __init__(self, frames: int, reduce: Reduction = "mean") -> None:
        """Expect pictures.

        Args:
            frames: How many, at least two; memory for all is taken with the first of them.
            reduce: How three channels become one value; see `reduce_difference`.
        """
        self._frames, self._reduce, self._taken = frames, reduce, 0

    @classmethod
    def of(cls, images: Tensor, reduce: Reduction = "mean") -> Changes:
        """Take pictures that are all there: (frames, H, W, 3), uint8 or float32, on any device."""
        changes = cls(len(images), reduce)
        changes.take(images)
        return changes

    def take(self, pictures: Tensor) -> None:
        """Take the next pictures.

        Args:
            pictures: (count, H, W, 3), float32 or uint8, in 8-bit levels, on any device, where all
                is computed and kept; the device is not waited for.
        """
        if self._taken == 0:
            self._begin(pictures[0])
        for picture in pictures:
            self.images[self._taken] = picture.float().round()
            if self._taken > 0:
                self.put(self._taken - 1, self.final, picture)
            self.final = picture
            self._taken += 1
        self.final = self.final.float().clone()  # a view would keep the whole batch

    def put(self, row: int, before: Tensor, after: Tensor) -> None:
        """Set one row's difference; `take` has done so for every row.

        Args:
            row: Counted from 0.
            before: (H, W, 3), float32 or uint8, frame `row`.
            after: Frame `row` + 1, as `before`.
        """
        self.values[row] = reduce_difference(before, after, self._reduce)
        self._energy[row] = self._bands.energy(luma(after) - luma(before))

    def maps(self, scale: Scale = "image") -> DifferenceMaps[Tensor]:
        """Colour the differences; see `difference_maps`."""
        return color_values(self.values, scale)

    def frequency(self) -> FrequencyTimeline:
        """Return the differences' energies; see `frequency_timeline`."""
        return self._bands.timeline(self._energy)

    def rows_blurred_by(self, error: float, least_correlation: float) -> Sequence[int]:
        """Find the rows whose difference is too small for the pictures' errors.

        Where pictures are off by e (root mean square) and their errors are independent, a
        difference is off by about n = sqrt(2) e. If its spread over the picture is s, it correlates
        with the true one by about r = sqrt(1 - (n / s)^2).

        Args:
            error: e, in 8-bit levels.
            least_correlation: r of the rows that are left out.

        Returns:
            The rows with a smaller r, in order.
        """
        spreads = self.values.flatten(1).std(dim=1, correction=0)
        least_spread = (2 * error**2 / (1 - least_correlation**2)) ** 0.5
        return [row for row, spread in enumerate(spreads.tolist()) if spread < least_spread]

    def _begin(self, picture: Tensor) -> None:
        """Take the memory for pictures like this one."""
        (height, width, _), device = picture.shape, picture.device
        rows = self._frames - 1
        self.images = torch.empty((self._frames, *picture.shape), dtype=torch.uint8, device=device)
        self.values = torch.empty((rows, height, width), dtype=torch.float32, device=device)
        self._bands = Bands(height, width, device)
        self._energy = torch.empty(
            (rows, len(self._bands.edges)), dtype=torch.float32, device=device
        )
        self.first = picture.float().clone()
