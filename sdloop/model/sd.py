"""Stable Diffusion 1.x and 2.x: CLIP's text encoder, a UNet with cross-attention, a VAE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sdloop.machine.errors import UserError
from sdloop.model.config_files import (
    TextConfig,
    TokenizerConfig,
    UNetConfig,
    VaeConfig,
    read_part,
)
from sdloop.model.corrections import correct_scheduler, read_scheduler
from sdloop.model.family import Conditioning, Family, Predictor
from sdloop.model.source import ModelSource
from sdloop.model.weight_files import STEMS

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL
    from torch import Tensor

    from sdloop.model.networks import Models

LARGEST_TOKENIZER_BYTES = 16_000_000


@dataclass(frozen=True)
class StableDiffusion:
    """The family; see `Family` for what each method promises."""

    parts: ClassVar[Mapping[str, str]] = STEMS
    tiny: ClassVar[str] = "madebyollin/taesd"

    def check(self, name: str, folder: Path, as_saved: bool = False) -> ModelSource:
        """Read the configs of a folder and check that the parts go together."""
        text = read_part(name, folder / "text_encoder/config.json", TextConfig)
        unet = read_part(name, folder / "unet/config.json", UNetConfig)
        vae = read_part(name, folder / "vae/config.json", VaeConfig)
        saved = read_scheduler(name, folder)
        scheduler = saved if as_saved else correct_scheduler(saved)
        widths = unet.cross_attention_dim
        expected = (
            ("unet has in_channels", unet.in_channels, vae.latent_channels),
            ("unet has out_channels", unet.out_channels, vae.latent_channels),
            ("unet has cross_attention_dim", widths, text.hidden_size),
        )
        for what, given, wanted in expected:
            if given != wanted and given != (wanted,) * len(unet.block_out_channels):
                raise UserError(
                    f"model = {name}: {what} = {given}; supported: {wanted}, as its other parts "
                    "have"
                )
        tokens = _count_tokens(name, folder / "tokenizer", text)
        return ModelSource(
            family=self,
            name=name,
            folder=folder,
            checkpoint=None,
            from_hub=False,
            text=text,
            unet=unet,
            vae=vae,
            tokens=tokens,
            scheduler=scheduler,
            saved_scheduler=saved,
            as_saved=as_saved,
        )

    def make_network(self, source: ModelSource, part: str) -> Any:  # noqa: ANN401 - one of three
        """Make a network on the meta device."""
        from sdloop.model.outline import make_network

        return make_network(source, part)

    def weight_bytes(self, source: ModelSource, dtype: torch.dtype) -> tuple[int, int]:
        """Count all three networks."""
        from sdloop.model.weight_count import weight_bytes

        return weight_bytes(source, dtype)

    def loop_bytes(
        self,
        source: ModelSource,
        shape: tuple[int, int, int, int],
        guided: bool,
        device: torch.device,
        dtype: torch.dtype,
        quick: bool = False,
        keep_attention: bool = False,
    ) -> int:
        """Count the UNet."""
        from sdloop.model.sd_memory import bound_loop, count_loop

        count = bound_loop if quick else count_loop
        return count(source, shape, guided, device, dtype, keep_attention)

    def attention_shapes(
        self, source: ModelSource, latent_shape: tuple[int, int, int]
    ) -> dict[str, tuple[int, int, int]]:
        """List the resolutions at which the UNet attends to the prompt."""
        from sdloop.model.attention_names import attention_shapes

        return attention_shapes(source.unet, source.tokens, *latent_shape[1:])

    def decode_bytes(
        self,
        source: ModelSource,
        shape: tuple[int, int, int, int],
        batch_size: int | None,
        device: torch.device,
        dtype: torch.dtype,
        quick: bool = False,
        full_precision: bool = False,
    ) -> int:
        """Count the VAE's decoder."""
        from sdloop.model.sd_memory import bound_decoder, count_decoder

        count = bound_decoder if quick else count_decoder
        return count(source, shape, batch_size, device, dtype, full_precision)

    def text_cut(self, models: Models, prompt: str) -> str:
        """Spell the tokens beyond the tokenizer's limit."""
        from sdloop.model.text import text_cut

        return text_cut(models.tokenizer, prompt)

    def token_limit(self, models: Models) -> int:
        """Return the tokenizer's limit."""
        return int(models.tokenizer.model_max_length)

    def words_of(self, models: Models, prompt: str) -> list[tuple[str, tuple[int, ...]]]:
        """Find the prompt's words among its tokens."""
        from sdloop.model.words import words_of

        return words_of(models.tokenizer, prompt)

    def encode_text(
        self, models: Models, prompts: Sequence[str], negative_prompts: Sequence[str] | None
    ) -> Conditioning:
        """Take the text encoder's last hidden state."""
        from sdloop.model.text import encode_prompts

        embeddings = encode_prompts(
            models.tokenizer, models.text_encoder, prompts, negative_prompts
        )
        return Conditioning(embeddings, negative_prompts is not None)

    def predictor(
        self,
        models: Models,
        conditioning: Conditioning,
        timesteps: Sequence[float],
        shortcuts: bool = True,
        keep_attention: bool = False,
    ) -> Predictor:
        """Ask the UNet."""
        from sdloop.model.predictor import UNetPredictor

        return UNetPredictor(
            models.unet,
            conditioning.embeddings,
            timesteps,
            conditioning.guided,
            models.lock,
            shortcuts,
            keep_attention,
        )

    def decode(
        self,
        vae: AutoencoderKL,
        latents: Tensor,
        batch_size: int | None = None,
        on_frames: Callable[[int], None] | None = None,
        name_of: Callable[[int], str] = "frame {}".format,
        full_precision: bool = False,
    ) -> Iterator[Tensor]:
        """Decode by the VAE."""
        from sdloop.model.vae import decode_batches

        return decode_batches(vae, latents, batch_size, on_frames, name_of, full_precision)


STABLE_DIFFUSION: Family = StableDiffusion()


def _count_tokens(name: str, folder: Path, text: TextConfig) -> int:
    """Return the tokens of a prompt; refuse a tokenizer that is not there, or of absurd size."""
    if not folder.is_dir():
        raise UserError(f"model = {name}: has no tokenizer folder")
    config = read_part(name, folder / "tokenizer_config.json", TokenizerConfig)
    if config.model_max_length > text.max_position_embeddings:
        raise UserError(
            f"model = {name}: tokenizer has model_max_length = {config.model_max_length}; the text "
            f"encoder takes {text.max_position_embeddings} tokens"
        )
    for path in folder.iterdir():
        if path.is_file() and path.stat().st_size > LARGEST_TOKENIZER_BYTES:
            raise UserError(
                f"model = {name}: tokenizer/{path.name} is larger than "
                f"{LARGEST_TOKENIZER_BYTES} bytes"
            )
    return config.model_max_length
