"""What a walk asks: a UNet with its prompt, its timesteps and its shortcuts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from sdloop.machine.tf32 import full_float32
from sdloop.model.shortcuts import (
    FixedPrompt,
    Swaps,
    check_takes_shortcuts,
    fix_prompt,
    share_halves,
    tabulate_times,
)

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


class UNetPredictor:
    """Asks a UNet of Stable Diffusion's layout about the rows of one table."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        embeddings: Tensor,
        timesteps: Sequence[float],
        guided: bool,
        lock: threading.Lock | None = None,
        shortcuts: bool = False,
    ) -> None:
        """Keep what conditions the calls.

        Args:
            unet: Its device and dtype are used.
            embeddings: (2 samples, tokens, width), [uncond, cond]; (samples, ...) if not guided.
            timesteps: Of each row.
            guided: Whether the network is asked about both halves.
            lock: Held while a call swaps modules of the UNet; needed where threads share it.
            shortcuts: Compute once what does not change from row to row.

        Raises:
            ValueError: The shortcuts would be wrong for this UNet.
        """
        if shortcuts:
            check_takes_shortcuts(unet)
        self._unet, self._embeddings, self._guided = unet, embeddings, guided
        self._lock, self._takes_shortcuts = lock, shortcuts
        # diffusers looks through all parameters for these, half a millisecond each time
        self._device, self._dtype = unet.device, unet.dtype
        self._timesteps = torch.tensor(timesteps, dtype=torch.float32, device=self._device)
        self._prompts: list[FixedPrompt] = []
        self._swaps: Swaps | None = None
        self._captured: Swaps | None = None  # a graph reads its tensors for as long as it lives

    @property
    def device(self) -> torch.device:
        """Return where the UNet is."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Return the UNet's dtype."""
        return self._dtype

    @property
    def guided(self) -> bool:
        """Tell whether the network returns both halves, [uncond, cond]."""
        return self._guided

    @torch.no_grad()
    def __call__(self, z: Tensor, row: int) -> Tensor:
        """Ask the UNet once, on [uncond, cond] where guided.

        Args:
            z: float32 (samples, channels, h, w).
            row: The row's number.

        Returns:
            (2 samples or samples, channels, h, w), in the UNet's dtype.

        Raises:
            ValueError: The embeddings' batch fits neither z nor guidance.
        """
        if len(self._embeddings) != (2 if self._guided else 1) * len(z):
            raise ValueError(
                f"{len(self._embeddings)} embeddings for {len(z)} samples, guided: {self._guided}"
            )
        doubled = torch.cat([z, z]) if self._guided else z
        with full_float32(self.device), self._shortcuts():
            return self._unet(
                doubled.to(self.dtype),
                self._timesteps[row],
                encoder_hidden_states=self._embeddings,
            ).sample

    def input_like(self, z: Tensor) -> Tensor:
        """Make the buffer that holds the UNet's input for a z of this shape."""
        shape = ((2 if self._guided else 1) * len(z), *z.shape[1:])
        return torch.empty(
            shape, device=self.device, dtype=self.dtype, memory_format=torch.channels_last
        )

    def feed(self, buffer: Tensor, z: Tensor) -> None:
        """Write z, (samples, ...), to that buffer, twice where guided."""
        buffer.unflatten(0, (-1, len(z))).copy_(z)

    def prepared(self, row: Tensor) -> Swaps:
        """Let calls of `call` in a block read their row's number from the device.

        Args:
            row: int64 (1,), on the UNet's device.

        Returns:
            The block's context; it may be entered again.
        """
        self._embeddings = self._embeddings.clone()
        swaps = self._captured = Swaps(self._lock)
        with full_float32(self.device):
            self._prompts = fix_prompt(self._unet, self._embeddings, swaps)
            tabulate_times(self._unet, self._timesteps, row, swaps)
        if self._guided:
            share_halves(self._unet, swaps)
        return swaps

    def call(self, buffer: Tensor, row: Tensor) -> Tensor:
        """Ask the UNet about what is in the buffer; `row` stands for its timestep."""
        with full_float32(self.device):
            return self._unet(buffer, row, encoder_hidden_states=self._embeddings).sample

    def take_over(self, other: Self) -> bool:
        """Take another predictor's prompt, in place; False if it is shaped otherwise."""
        if other._unet is not self._unet or other._guided != self._guided:
            return False
        if other._embeddings.shape != self._embeddings.shape:
            return False
        if other is not self:
            self._embeddings.copy_(other._embeddings)
            with full_float32(self.device):
                for prompt in self._prompts:
                    prompt.change(self._embeddings)
        return True

    def _shortcuts(self) -> Swaps:
        """Return the swaps of a call, made when they are first needed."""
        if self._swaps is None:
            self._swaps = Swaps(self._lock)
            if self._takes_shortcuts:
                fix_prompt(self._unet, self._embeddings, self._swaps)
                if self._guided:
                    share_halves(self._unet, self._swaps)
        return self._swaps
