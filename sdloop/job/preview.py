"""Latents -> quick pictures, to see a run by while it is under way; always on the CPU."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from sdloop.model.tiny import load_tiny
from sdloop.model.tiny_source import own_tiny
from sdloop.model.vae import decode_latents
from sdloop.show.difference import to_numpy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdloop.job.engine import Engine
    from sdloop.job.plan import Plan

LEARNING_SHARE = 0.05  # of the time that went by, to see what the colours are
RIDGE = 1e-3
FADING = 0.5  # of what was learnt before: early predictions are harder in contrast
TRIALS = 4  # calls after which a small decoder is known to be quick enough, or not


class Previewer:
    """Turns latents into pictures, in a fraction of the time that the VAE takes.

    The model's small decoder does, if it has one and that is quick enough. Else a linear map gives
    each latent pixel one colour. It is fitted to what the decoder makes of the run's own latents:
    of the first that come, and of later ones as far as that takes a twentieth of the time.
    """

    def __init__(self, plan: Plan, engine: Engine, share: float | None = None) -> None:
        """Know no colour yet.

        Args:
            plan: The run's.
            engine: Its loaded networks; without a small decoder the VAE is asked a few times.
            share: How much of the time between calls the small decoder may take; None does not
                mind.
        """
        tiny = plan.tiny or own_tiny(plan.source)
        self._tiny = None if tiny is None else load_tiny(tiny, torch.device("cpu"), torch.float32)
        self._vae = self._tiny or engine.models.vae
        self._size, self._share = plan.size, share
        channels = plan.latent_shape[0]
        self._squares = RIDGE * torch.eye(channels + 1, dtype=torch.float64)
        self._products = torch.zeros(channels + 1, 3, dtype=torch.float64)
        self._map: Tensor | None = None
        self._began, self._spent = time.perf_counter(), 0.0
        self._ended, self._gaps, self._costs = self._began, list[float](), list[float]()

    def pictures(self, latents: Tensor) -> NDArray[np.uint8]:
        """Draw latents.

        Args:
            latents: (frames, channels, h, w), in the network's scale, on any device.

        Returns:
            (frames, H, W, 3), as large as the run's pictures, which they resemble.
        """
        latents = latents.detach().float().cpu()
        if self._tiny is not None and self._is_quick(len(latents)):
            return to_numpy(decode_latents(self._tiny, latents))
        return self._mapped(latents)

    def _is_quick(self, frames: int) -> bool:
        """Tell whether the small decoder may draw; what is found in the first calls stays so."""
        if self._share is None:
            return True
        if len(self._gaps) < TRIALS:
            self._gaps.append(time.perf_counter() - self._ended)
        if len(self._gaps) < TRIALS or not self._costs:
            return False
        return frames * min(self._costs) <= self._share * statistics.median(self._gaps)

    def _mapped(self, latents: Tensor) -> NDArray[np.uint8]:
        """Draw latents by the linear map."""
        elapsed = time.perf_counter() - self._began
        if self._map is None or self._spent < LEARNING_SHARE * elapsed:
            start = time.perf_counter()
            self._map = self._learn(latents[-1:])
            self._costs.append(time.perf_counter() - start)
            self._spent += self._costs[-1]
        colors = _with_one(latents) @ self._map  # (frames, h, w, 3)
        pictures = F.interpolate(
            colors.permute(0, 3, 1, 2).float(), self._size, mode="bilinear", align_corners=False
        )
        rounded = pictures.clamp(0, 255).round().to(torch.uint8)
        self._ended = time.perf_counter()
        return to_numpy(rounded.permute(0, 2, 3, 1).contiguous())

    def _learn(self, latents: Tensor) -> Tensor:
        """Fit the map, (channels + 1, 3), to one more latent, beside those before."""
        height, width = latents.shape[-2:]
        pictures = decode_latents(self._vae, latents.to(self._vae.device), 1).float().cpu()
        means = F.adaptive_avg_pool2d(pictures.permute(0, 3, 1, 2), (height, width))
        inputs = _with_one(latents).flatten(0, 2)
        colors = means.permute(0, 2, 3, 1).flatten(0, 2).double()
        self._squares = FADING * self._squares + inputs.T @ inputs
        self._products = FADING * self._products + inputs.T @ colors
        return torch.linalg.solve(self._squares, self._products)


def _with_one(latents: Tensor) -> Tensor:
    """Put the channels last, with a 1 behind them, float64 (frames, h, w, channels + 1)."""
    return F.pad(latents.double().permute(0, 2, 3, 1), (0, 1), value=1.0)
