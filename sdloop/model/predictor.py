"""What a walk asks: a UNet with its prompt, its timesteps and its shortcuts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from sdloop.machine.tf32 import full_float32
from sdloop.model.attention import AttentionSums
from sdloop.model.attention_names import attention_shapes
from sdloop.model.cpu_kernels import use_cpu_kernels
from sdloop.model.shortcuts import (
    FixedPrompt,
    Swaps,
    check_takes_shortcuts,
    count_attention,
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
        keep_attention: bool = False,
    ) -> None:
        """Keep what conditions the calls.

        Args:
            unet: Its device and dtype are used.
            embeddings: (2 samples, tokens, width), [uncond, cond]; (samples, ...) if not guided.
            timesteps: Of each row.
            guided: Whether the network is asked about both halves.
            lock: Held while a call swaps modules of the UNet; needed where threads share it.
            shortcuts: Compute once what does not change from row to row.
            keep_attention: Add up the cross-attention of every call, in `captured`.

        Raises:
            ValueError: The shortcuts would be wrong for this UNet.
        """
        if shortcuts:
            check_takes_shortcuts(unet)
        self._unet, self._embeddings, self._guided = unet, embeddings, guided
        self._lock, self._takes_shortcuts = lock, shortcuts
        self._keeps_attention = keep_attention
        self._sums: AttentionSums | None = None
        self._size = (0, 0)  # of the latents that they are for
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
        with full_float32(self.device), self._shortcuts(z):
            self._begin()
            output = self._unet(
                doubled.to(self.dtype),
                self._timesteps[row],
                encoder_hidden_states=self._embeddings,
            ).sample
            self._end()
        return output

    def captured(self) -> dict[str, Tensor]:
        """Return what the last call left behind: name -> float16 (samples, tokens, h, w).

        Empty where no attention is kept. Later calls leave these tensors alone.
        """
        return {} if self._sums is None else self._sums.taken()

    def captured_like(self, z: Tensor) -> dict[str, Tensor]:
        """Make what `call` writes its attention to, for a z of this shape; empty if none is kept.

        It is written to at the same place again and again; shaped as `captured` returns it.
        """
        self._sums = self._make_sums(z)
        return {} if self._sums is None else self._sums.stored

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
        if self._sums is not None:
            count_attention(self._unet, self._prompts, self._sums, self._size)
        if self._guided:
            share_halves(self._unet, swaps)
        return swaps

    def call(self, buffer: Tensor, row: Tensor) -> Tensor:
        """Ask the UNet about what is in the buffer; `row` stands for its timestep."""
        with full_float32(self.device):
            self._begin()
            output = self._unet(buffer, row, encoder_hidden_states=self._embeddings).sample
            self._end()
        return output

    def take_over(self, other: Self) -> bool:
        """Take another predictor's prompt, in place; False if it is shaped otherwise."""
        if other._unet is not self._unet or other._guided != self._guided:
            return False
        if other._keeps_attention != self._keeps_attention:
            return False
        if other._embeddings.shape != self._embeddings.shape:
            return False
        if other is not self:
            self._embeddings.copy_(other._embeddings)
            with full_float32(self.device):
                for prompt in self._prompts:
                    prompt.change(self._embeddings)
        return True

    def _shortcuts(self, z: Tensor) -> Swaps:
        """Return the swaps of a call, made when they are first needed."""
        if self._swaps is None or (self._keeps_attention and self._size != z.shape[2:]):
            self._swaps = Swaps(self._lock)
            if self._takes_shortcuts or self._keeps_attention:
                prompts = fix_prompt(self._unet, self._embeddings, self._swaps)
                self._sums = self._make_sums(z)
                if self._sums is not None:
                    count_attention(self._unet, prompts, self._sums, self._size)
            if self._takes_shortcuts:
                use_cpu_kernels(self._unet, self._swaps)
            if self._takes_shortcuts and self._guided:
                share_halves(self._unet, self._swaps)
        return self._swaps

    def _make_sums(self, z: Tensor) -> AttentionSums | None:
        """Take the memory for a call's attention; None if it is not kept."""
        if not self._keeps_attention:
            return None
        self._size = (z.shape[2], z.shape[3])
        tokens = self._embeddings.shape[1]
        shapes = attention_shapes(self._unet.config, tokens, *self._size)
        return AttentionSums(shapes, len(z), self.device)

    def _begin(self) -> None:
        """Begin a call of the UNet."""
        if self._sums is not None:
            self._sums.clear()

    def _end(self) -> None:
        """End it."""
        if self._sums is not None:
            self._sums.store()
