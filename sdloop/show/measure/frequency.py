"""The scale at which each step changed the picture: outline first, detail later?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from sdloop.show.measure.layout import luma

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FrequencyTimeline:
    """The energy of each difference, band by band.

    Attributes:
        edges: Where each band begins, in cycles per picture (along its shorter side): 0, 1, 2,
            4, ... A band ends where the next begins, the last at the pixel grid's corner.
        energy: float64 (bands, rows), mean square over the picture, in 8-bit levels squared.
    """

    edges: tuple[int, ...]
    energy: NDArray[np.float64]

    @property
    def names(self) -> tuple[str, ...]:
        """Name the bands, coarsest first: "below 1", "1 to 2", ..., "32 up"."""
        inner = [f"{low} to {high}" for low, high in pairwise(self.edges[1:])]
        return (f"below {self.edges[1]}", *inner, f"{self.edges[-1]} up")

    def half_rows(self) -> NDArray[np.int64]:
        """Return for each band the first row by whose end half of its energy is spent."""
        spent = self.energy.cumsum(axis=1)
        return (spent >= spent[:, -1:] / 2).argmax(axis=1)


class Bands:
    """Splits a difference of pictures of one size into octaves of radial frequency.

    Attributes:
        edges: As in FrequencyTimeline.
    """

    def __init__(self, height: int, width: int, device: torch.device) -> None:
        """Sort the frequencies of pictures of height x width into bands, on a device."""
        self.edges = _octaves(min(height, width))
        self._weights = _band_weights(height, width, self.edges).to(device)

    def energy(self, difference: Tensor) -> Tensor:
        """Return each band's energy, float32 (bands,), of a difference of luma, float32 (H, W).

        E[band] = sum over k in band of |D(k)|^2,   D = FFT(difference) / (H W)
        """
        spectrum = torch.fft.rfft2(difference, norm="forward")
        return (spectrum.real.square() + spectrum.imag.square()).flatten() @ self._weights

    def timeline(self, energy: Tensor) -> FrequencyTimeline:
        """Put the energies of all rows, float32 (rows, bands), together."""
        return FrequencyTimeline(self.edges, energy.T.cpu().double().numpy())


def frequency_timeline(images: Tensor) -> FrequencyTimeline:
    """Split each difference's energy into octaves of radial frequency.

        E[band, row] = sum over k in band of |D_row(k)|^2,   D = FFT(Y'_row+1 - Y'_row) / (H W)

    The difference is that of the luma Y', in which the eye sees detail, and it is signed: an
    absolute value would double frequencies. By Parseval's theorem the bands sum to the mean square
    of the difference. The radius of k is in cycles per picture: n for a wave that fits n times
    into the shorter side.

    Args:
        images: (frames, H, W, 3), uint8 or float32, in 8-bit levels, on any device.

    Returns:
        The bands' energies.
    """
    height, width = images.shape[1:3]
    bands = Bands(height, width, images.device)
    energies = [bands.energy(luma(after) - luma(before)) for before, after in pairwise(images)]
    return bands.timeline(torch.stack(energies))


def _octaves(side: int) -> tuple[int, ...]:
    """Return 0, 1, 2, 4, ... up to a quarter of the side; the grid holds waves up to a half."""
    return (0, *(2**octave for octave in range(max(1, (side // 2).bit_length() - 1))))


def _band_weights(height: int, width: int, edges: tuple[int, ...]) -> Tensor:
    """Return how often each coefficient of rfft2 counts in each band.

    float32 (H (W // 2 + 1), bands). A coefficient counts twice where rfft2 omits its mirror image.
    """
    side = min(height, width)
    down = torch.fft.fftfreq(height, 1 / side, dtype=torch.float64)[:, None]
    across = torch.fft.rfftfreq(width, 1 / side, dtype=torch.float64)
    radius = (down.square() + across.square()).sqrt()
    band = torch.bucketize(radius, torch.tensor(edges, dtype=torch.float64), right=True) - 1
    times = torch.full_like(radius, 2)
    times[:, 0] = 1
    if width % 2 == 0:
        times[:, -1] = 1
    one_hot = torch.nn.functional.one_hot(band, len(edges))
    return (one_hot * times[..., None]).flatten(0, 1).float()
