"""What every contestant of the job benchmark is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

PROMPT = "an astronaut relaxing on a tropical island"
GUIDANCE_SCALE = 3.5
DELAY_MS = 100
STAGES = 5
SMALL_PX = 256

Frames = Callable[[], NDArray[np.uint8]]  # gives (frames, H, W, 3) once a job is done


@dataclass(frozen=True)
class Task:
    """One job: sample, decode every step, write three GIFs and a strip.

    Attributes:
        model: A folder in diffusers' layout.
        folder: Where the files go.
        size_px: Height and width of the pictures.
        num_steps: PNDM steps.
        device: Where the networks run: in float16 on CUDA, in float32 elsewhere.
    """

    model: Path
    folder: Path
    size_px: int
    num_steps: int
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """Return the networks' dtype."""
        return torch.float16 if self.device.type == "cuda" else torch.float32

    @property
    def scale(self) -> int:
        """Return by how much small pictures are enlarged in the files."""
        return max(1, round(SMALL_PX / self.size_px))

    def noise(self) -> torch.Tensor:
        """Return frame 0, (1, 4, h, w), float32 on the CPU."""
        side = self.size_px // 8
        return torch.randn((1, 4, side, side), generator=torch.Generator().manual_seed(0))


def shown_stages(rows: int) -> NDArray[np.int64]:
    """Return the rows that the strip shows."""
    return np.linspace(0, rows - 1, STAGES).round().astype(int)
