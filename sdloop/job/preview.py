"""Latents -> quick pictures, to see a run by while it is under way; always on the CPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from sdloop.show.difference import to_numpy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdloop.job.engine import Engine
    from sdloop.job.plan import Plan

LARGEST_SHARE = 0.05  # of the time that went by, for the VAE to show what the colours are
RIDGE = 1e-3
FADING = 0.5  # of what was learnt before: early predictions are harder in contrast


class Previewer:
    """Turns latents into pictures, in a fraction of the time that the VAE takes.

    A linear map gives each latent pixel one colour. It is fitted to what the VAE makes of the run's
    own latents: of the first that come, and of later ones as far as that takes a twentieth of the
    time.
    """

    def __init__(self, plan: Plan, engine: Engine) -> None:
        """Know no colour yet.

        Args:
            plan: The run's.
            engine: Its loaded networks; the VAE is asked a few times.
        """
        self._vae, self._decode = engine.models.vae, plan.source.family.decode
        self._size = plan.size
        channels = plan.latent_shape[0]
        self._squares = RIDGE * torch.eye(channels + 1, dtype=torch.float64)
        self._products = torch.zeros(channels + 1, 3, dtype=torch.float64)
        self._map: Tensor | None = None
        self._began, self._spent = time.perf_counter(), 0.0

    def pictures(self, latents: Tensor) -> NDArray[np.uint8]:
        """Draw latents.

        Args:
            latents: (frames, channels, h, w), in the network's scale, on any device.

        Returns:
            (frames, H, W, 3), as large as the run's pictures, which they resemble.
        """
        latents = latents.detach().float().cpu()
        elapsed = time.perf_counter() - self._began
        if self._map is None or self._spent < LARGEST_SHARE * elapsed:
            self._map = self._learn(latents[-1:])
            self._spent += time.perf_counter() - self._began - elapsed
        colors = _with_one(latents) @ self._map  # (frames, h, w, 3)
        pictures = F.interpolate(
            colors.permute(0, 3, 1, 2).float(), self._size, mode="bilinear", align_corners=False
        )
        rounded = pictures.clamp(0, 255).round().to(torch.uint8)
        return to_numpy(rounded.permute(0, 2, 3, 1).contiguous())

    def _learn(self, latents: Tensor) -> Tensor:
        """Fit the map, (channels + 1, 3), to one more latent, beside those before."""
        height, width = latents.shape[-2:]
        (pictures,) = self._decode(self._vae, latents.to(self._vae.device), 1)
        means = F.adaptive_avg_pool2d(pictures.permute(0, 3, 1, 2).cpu(), (height, width))
        inputs = _with_one(latents).flatten(0, 2)
        colors = means.permute(0, 2, 3, 1).flatten(0, 2).double()
        self._squares = FADING * self._squares + inputs.T @ inputs
        self._products = FADING * self._products + inputs.T @ colors
        return torch.linalg.solve(self._squares, self._products)


def _with_one(latents: Tensor) -> Tensor:
    """Put the channels last, with a 1 behind them, float64 (frames, h, w, channels + 1)."""
    return F.pad(latents.double().permute(0, 2, 3, 1), (0, 1), value=1.0)
