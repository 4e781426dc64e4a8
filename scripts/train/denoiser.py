"""The networks that diffusion trains: a text encoder and a UNet."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .settings import Settings


class Denoiser(torch.nn.Module):
    """The text encoder and the UNet, trained as one."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, z: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The noise in `z` (batch, 4, h, w), given tokens (batch, length)."""
        return self.unet(z, t, self.text_encoder(tokens).last_hidden_state).sample


def build_denoiser(settings: Settings, tokenizer: CLIPTokenizer) -> Denoiser:
    """An untrained text encoder and UNet."""
    part = settings.diffusion
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=part.text_width,
            intermediate_size=4 * part.text_width,
            projection_dim=part.text_width,
            num_hidden_layers=part.text_layers,
            num_attention_heads=part.text_width // 64,
            max_position_embeddings=part.text_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # Words must stand out from positions at the start: with both alike they are learnt late.
    for name, weight in text_encoder.named_parameters():
        if name.endswith("token_embedding.weight"):
            torch.nn.init.normal_(weight, std=0.05)
        elif name.endswith("position_embedding.weight"):
            torch.nn.init.normal_(weight, std=0.01)
    down = tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in part.attention)
    up = tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(part.attention))
    unet = UNet2DConditionModel(
        sample_size=settings.size_px // 8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=part.channels,
        down_block_types=down,
        up_block_types=up,
        cross_attention_dim=part.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    return Denoiser(text_encoder, unet)
