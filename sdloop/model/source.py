"""A model that was found and checked: what everything else needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdloop.model.config_files import LARGE_SIDE, TextConfig, UNetConfig, VaeConfig

if TYPE_CHECKING:
    from sdloop.model.family import Family


@dataclass(frozen=True)
class ModelSource:
    """A model that was found and checked, with nothing loaded yet.

    Attributes:
        family: What answers for it.
        name: As the user gave it.
        folder: Configs and tokenizer in diffusers' layout; the weights too, unless `checkpoint`.
        checkpoint: A single-file checkpoint that holds all weights, or None.
        from_hub: Whether the weights have still to be fetched.
        text: The text encoder's config.
        unet: The UNet's config.
        vae: The VAE's config.
        tokens: Of a prompt, with begin, end and padding.
        scheduler: The content of scheduler_config.json, as StableDiffusionPipeline corrects it.
        saved_scheduler: The same as it was saved.
        vae_place: A folder or file that holds the VAE's weights instead; None where the model does.
        variant: Of the weight files, as in diffusers: "non_ema"; None prefers those that fit.
        as_saved: Whether configs are taken to the letter; then nothing is corrected.
    """

    family: Family
    name: str
    folder: Path
    checkpoint: Path | None
    from_hub: bool
    text: TextConfig
    unet: UNetConfig
    vae: VaeConfig
    tokens: int
    scheduler: dict[str, Any]
    saved_scheduler: dict[str, Any]
    as_saved: bool = False
    variant: str | None = None
    vae_place: Path | None = None

    def file_of(self, part: str) -> Path | None:
        """Return the single file that holds a part's weights, under the original names."""
        if part == "vae" and self.vae_place is not None:
            return self.vae_place if self.vae_place.is_file() else None
        return self.checkpoint

    def folder_of(self, part: str) -> Path:
        """Return the folder that holds a part's weights, where no single file does."""
        return self.vae_place if part == "vae" and self.vae_place else self.folder / part

    @property
    def latent_channels(self) -> int:
        """Return the channels of a latent, 4 for Stable Diffusion."""
        return self.vae.latent_channels

    @property
    def sample_size(self) -> tuple[int, int]:
        """Return (height, width) of the latents that the UNet was trained on."""
        size = self.unet.sample_size or LARGE_SIDE
        if self.unet.is_sized_too_small and not self.as_saved:
            size = LARGE_SIDE
        return (size, size) if isinstance(size, int) else size

    @property
    def vae_factor(self) -> int:
        """Return how many pixels a latent covers in each direction, 8 for Stable Diffusion."""
        return 2 ** (len(self.vae.block_out_channels) - 1)

    def count_weights(self) -> int:
        """Count the weights of all networks by their files' headers, or before they are fetched.

        Raises:
            UserError: A file cannot be read.
        """
        import torch

        loaded_bytes, _ = self.family.weight_bytes(self, torch.float32)
        return loaded_bytes // torch.float32.itemsize
