"""Where two runs part whose latents should be the same."""

from __future__ import annotations

import torch
from torch import Tensor

BOUNDS = (1e-4, 1e-2)  # rounding that is seen in no picture; what may be seen


def parting_frame(ours: Tensor, theirs: Tensor, bound: float) -> int | None:
    """Find the first frame in which two runs' latents differ by more than a bound.

    Args:
        ours: (frames, channels, h, w), the latents of one run.
        theirs: Of the other, shaped as `ours`.
        bound: As a share of the largest latent of any frame of `ours`.

    Returns:
        The frame's number; None if no frame differs by so much.
    """
    apart = (ours.double() - theirs.double()).abs().flatten(1).amax(dim=1)
    beyond = torch.nonzero(apart > bound * float(ours.abs().max()))
    return int(beyond[0]) if len(beyond) else None
