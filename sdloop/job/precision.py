"""In which precision a run's frames are decoded, so that its difference maps are float32's.

Most steps change a pixel by 1.5 levels of 255, some by less than a tenth of one. A picture decoded
in bfloat16 is off by 0.35 levels: most maps correlate with float32's by less than 0.99. In float16
it is off by 0.04 levels, and only the maps of the smallest steps do (`scripts/bench/precision.py`).

So frames are decoded in float32 where the VAE is in bfloat16, and on a CPU, where float16 is the
slower of the two. Elsewhere float16 decodes all frames, and float32 once more those of the smallest
steps. The VAE's weights stay rounded as they are, which moves no map (correlation above 0.9999).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sdloop.machine.device import name_of

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import Tensor

    from sdloop.job.plan import Plan
    from sdloop.show.changes import Changes

LEAST_CORRELATION = 0.99  # of every map with float32's


@dataclass(frozen=True)
class Precision:
    """How exact the difference maps are.

    Attributes:
        decoded_in: The dtype that computed the frames.
        picture_error: Root mean square, in 8-bit levels, of a picture's error against float32's,
            the larger of the first and the last frame's; None in float32.
        again_in_float32: Rows whose difference is too small for that error, and which were
            decoded again.
    """

    decoded_in: str
    picture_error: float | None = None
    again_in_float32: tuple[int, ...] = ()

    def map_error(self, row: int) -> float:
        """Return the root mean square error of a row's map in 8-bit levels, at the most about."""
        if self.picture_error is None or row in self.again_in_float32:
            return 0.0
        return 2**0.5 * self.picture_error


def needs_float32(device_type: str, dtype: torch.dtype) -> bool:
    """Tell whether frames are decoded in float32, by the device and the VAE's dtype."""
    return dtype == torch.bfloat16 or (dtype == torch.float16 and device_type == "cpu")


def make_exact(plan: Plan, vae: AutoencoderKL, latents: Tensor, changes: Changes) -> Precision:
    """Find out how exact the differences are, and take those that are too small in float32.

    Args:
        plan: The run's.
        vae: The model's.
        latents: (frames, channels, h, w), of all frames.
        changes: Of the decoded frames; rows that are decoded again are put right.

    Returns:
        What was found.

    Raises:
        OutOfMemory: Not even one frame fits in float32.
        UserError: A frame is not finite in float32.
    """
    if vae.dtype == torch.float32 or needs_float32(vae.device.type, vae.dtype):
        return Precision(name_of(torch.float32))
    exact_ends = _in_float32(plan, vae, latents, [0, len(latents) - 1])
    ends = zip((changes.first, changes.final), exact_ends, strict=True)
    error = max(float((ours - exact).square().mean().sqrt()) for ours, exact in ends)
    rows = changes.rows_blurred_by(error, LEAST_CORRELATION)
    frames = sorted({frame for row in rows for frame in (row, row + 1)})
    before = None
    for frame, picture in zip(frames, _in_float32(plan, vae, latents, frames), strict=True):
        if before is not None and frame - 1 in rows:
            changes.put(frame - 1, before, picture)
        before = picture
    return Precision(name_of(vae.dtype), error, tuple(rows))


def _in_float32(
    plan: Plan, vae: AutoencoderKL, latents: Tensor, frames: Sequence[int]
) -> Iterator[Tensor]:
    """Decode some frames one by one in float32; yield (H, W, 3) each."""
    if not frames:
        return

    def name_of_frame(index: int) -> str:
        return f"frame {frames[index]}"

    decode = plan.source.family.decode
    for pictures in decode(
        vae, latents[list(frames)], 1, name_of=name_of_frame, full_precision=True
    ):
        yield pictures[0]
