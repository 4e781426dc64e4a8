"""The path of the latents in the plane of the noise and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from sdloop.sampler.table import Table


@dataclass(frozen=True)
class LatentPath:
    """Where each frame lies between the first and the last one: float64 (frames,).

    z_i = noise_i z_first + picture_i z_last + rest_i, where rest_i is at right angles to both.
    Nothing is fitted to the path: its two ends span the plane.

    Attributes:
        noise: The share of the first frame: 1 where the run starts, 0 where it ends.
        picture: The share of the last frame: 0 where the run starts, 1 where it ends.
        off_rms: Distance from the plane: root mean square of the rest, in latents.
        straight_noise: With `straight_picture`, the path of a run whose model predicts its last
            frame from the first step on; it never leaves the plane.
        straight_picture: See `straight_noise`.
        in_plane: How much of all frames lies in the plane: the share of their squared lengths.
    """

    noise: NDArray[np.float64]
    picture: NDArray[np.float64]
    off_rms: NDArray[np.float64]
    straight_noise: NDArray[np.float64]
    straight_picture: NDArray[np.float64]
    in_plane: float

    def sentence(self) -> str:
        """Say how flat the path is."""
        return (
            f"{self.in_plane:.1%} of the latents' squared length lies in this plane; the path "
            f"leaves it by {self.off_rms.max():.2g} at most"
        )


def measure_path(latents: Tensor, table: Table) -> LatentPath:
    """Split every frame into noise, picture and a rest.

    That sampling nearly stays in a plane is Wang and Vastola 2023 (arXiv:2303.02490), who fit the
    plane to the path (principal components).

    Args:
        latents: float32 (rows + 1, C, h, w), the frames.
        table: The table that made them.

    Returns:
        The path.
    """
    frames = latents.flatten(1).double().cpu()
    ends = frames[[0, -1]]
    shares = frames @ torch.linalg.pinv(ends)
    rest = frames - shares @ ends
    # exactly the ends, which rounding would leave a little off
    rest[[0, -1]] = 0
    length = frames.square().sum()
    lost = float(rest.square().sum() / length) if length > 0 else 0.0
    straight = _straight(table)
    return LatentPath(
        noise=shares[:, 0].numpy(),
        picture=shares[:, 1].numpy(),
        off_rms=rest.square().mean(dim=1).sqrt().numpy(),
        straight_noise=straight[:, 0],
        straight_picture=straight[:, 1],
        in_plane=1 - lost,
    )


def _straight(table: Table) -> NDArray[np.float64]:
    """Return the shares (frames, 2) of frames that follow the noise levels alone.

    With z = signal z0 + noise eps and the same z0 and eps throughout, each frame is a mixture of
    the first and the last.
    """
    signal = np.append(table.signal_from[:1], table.signal_to)
    noise = np.append(table.noise_from[:1], table.noise_to)
    levels = np.stack([signal, noise], axis=1)
    return levels @ np.linalg.pinv(levels[[0, -1]])
