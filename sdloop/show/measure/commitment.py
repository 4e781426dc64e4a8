"""When each pixel settled on its final colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Commitment:
    """When the picture settled. Step k, counted from 0, leads to frame k + 1.

    Attributes:
        settled_frame: int64 (H, W), the first frame from which a pixel stays near its final
            colour; 0 where it was near it from the start.
        curve: float64 (frames,), the share of pixels settled by each frame; it ends at 1.
    """

    settled_frame: NDArray[np.int64]
    curve: NDArray[np.float64]

    def frame_of(self, share: float) -> int:
        """Return the first frame in which this share of the picture, 0 to 1, had settled."""
        return int(np.argmax(self.curve >= share))

    def step_of(self, share: float) -> int | None:
        """Return the step, from 0, after which this share had settled; None if before any step."""
        frame = self.frame_of(share)
        return frame - 1 if frame > 0 else None

    def sentence(self, share: float = 0.9) -> str:
        """Say by which step, counted from 0, this share of the picture had settled."""
        step, last = self.step_of(share), len(self.curve) - 2
        when = "before step 0" if step is None else f"by step {step}"
        return f"{share:.0%} of the picture had settled {when} (steps 0 to {last})"


def measure_commitment(images: Tensor, tolerance: int = 8) -> Commitment:
    """Find for each pixel the first frame from which it keeps its final colour.

        settled(x) = min { f : max_c |I_g(x, c) - I_last(x, c)| <= tolerance  for all g >= f }

    The default of 8 levels is about 3 CIELAB units in mid grey (from level 128 to 136, L* goes
    from 53.6 to 56.6), just above the 2.3 that an observer notices (Mahy et al. 1994): a pixel
    this close looks finished. Pictures rounded to 8 bits will do: rounding moves
    the tolerance by less than a level.

    Args:
        images: uint8 (frames, H, W, 3), on any device.
        tolerance: In 8-bit levels, 0 to 255.

    Returns:
        The map and its curve.
    """
    last = images[-1]
    settled = torch.zeros(last.shape[:2], dtype=torch.int64, device=images.device)
    for frame, image in enumerate(images[:-1]):
        # the larger less the smaller: uint8 cannot wrap around
        distance = torch.maximum(image, last) - torch.minimum(image, last)
        settled.masked_fill_((distance > tolerance).any(dim=-1), frame + 1)
    settled_frame = settled.cpu().numpy()
    counts = np.bincount(settled_frame.ravel(), minlength=len(images))
    return Commitment(settled_frame, counts.cumsum() / settled_frame.size)
