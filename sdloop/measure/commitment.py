"""When each pixel settled on the colour that it has at the end."""

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
    """When the picture settled; frame n is the picture after n steps, so frames count steps.

    Attributes:
        settled_frame: int64 (H, W), the first frame from which on a pixel stays near its final
            colour; 0 where it never left it.
        curve: float64 (frames,), the share of pixels settled by each frame; it ends at 1.
    """

    settled_frame: NDArray[np.int64]
    curve: NDArray[np.float64]

    def frame_of(self, share: float) -> int:
        """Return the first frame by which this share of the picture, 0 to 1, was settled."""
        return int(np.argmax(self.curve >= share))

    def sentence(self, share: float = 0.9) -> str:
        """Say by which step this share of the picture was settled; steps count from 1."""
        steps = len(self.curve) - 1
        return f"{share:.0%} of the picture was settled by step {self.frame_of(share)} of {steps}"


def measure_commitment(images: Tensor, tolerance: int = 8) -> Commitment:
    """Find for each pixel the first frame from which on it keeps its final colour.

        settled(x) = min { f : max_c |I_g(x, c) - I_last(x, c)| <= tolerance  for all g >= f }

    The default of 8 levels is about 3 CIELAB units in mid grey (L* 53.6 to 56.6 from level 128 to
    136), just above the 2.3 that an observer notices (Mahy et al. 1994): a pixel within it looks
    finished, while the VAE's rounding, of one or two levels, stays well below it.

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
