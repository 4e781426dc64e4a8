"""The networks that diffusion trains: a text encoder and a UNet."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .settings import DenoiserSettings, Settings

LATENT_PX = 16
WORDS = "token_embedding.weight"


class Denoiser(torch.nn.Module):
    """The text encoder and the UNet, trained as one."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, z: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The noise in `z` (batch, 4, h, w) at timesteps (batch,) for tokens (batch, length)."""
        return self.unet(z, t, self.text_encoder(tokens).last_hidden_state).sample


def build_denoiser(part: DenoiserSettings, tokenizer: CLIPTokenizer) -> Denoiser:
    """An untrained text encoder and UNet."""
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=part.text_width,
            intermediate_size=4 * part.text_width,
            projection_dim=part.text_width,
            num_hidden_layers=part.text_layers,
            num_attention_heads=max(1, part.text_width // 64),
            max_position_embeddings=part.text_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # Words must stand out from positions at the start: with both alike they are learnt late.
    for name, weight in text_encoder.named_parameters():
        if name.endswith(WORDS):
            torch.nn.init.normal_(weight, std=0.05)
        elif name.endswith("position_embedding.weight"):
            torch.nn.init.normal_(weight, std=0.01)
    unet = UNet2DConditionModel(
        sample_size=LATENT_PX,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=part.channels,
        down_block_types=tuple(
            "CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in part.attention
        ),
        up_block_types=tuple(
            "CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(part.attention)
        ),
        cross_attention_dim=part.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    return Denoiser(text_encoder, unet)


def take_over(denoiser: Denoiser, tokenizer: CLIPTokenizer, model: Path) -> None:
    """Start from a model folder's weights.

    Words that both vocabularies have keep their embeddings; new ones start as random as the
    others are spread.
    """
    old = CLIPTextModel.from_pretrained(model / "text_encoder", dtype=torch.float32).state_dict()
    known = CLIPTokenizer.from_pretrained(model / "tokenizer").get_vocab()
    name = next(key for key in old if key.endswith(WORDS))
    words = torch.randn(len(tokenizer), old[name].shape[1]) * old[name].std()
    for word, index in tokenizer.get_vocab().items():
        if word in known:
            words[index] = old[name][known[word]]
    denoiser.text_encoder.load_state_dict(old | {name: words})
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32)
    denoiser.unet.load_state_dict(unet.state_dict())


def load_average(settings: Settings, checkpoint: Path) -> Denoiser:
    """The averaged weights of a checkpoint or of a snapshot."""
    tokenizer = CLIPTokenizer.from_pretrained(settings.work / "tokenizer")
    denoiser = build_denoiser(settings.denoiser, tokenizer)
    if checkpoint.suffix == ".safetensors":
        weights = load_file(checkpoint)
    else:
        weights = torch.load(checkpoint, mmap=True, map_location="cpu")["average"]
    denoiser.load_state_dict(weights)
    denoiser.unet.to(memory_format=torch.contiguous_format)
    return denoiser.eval()


def make_fast(denoiser: Denoiser, device: torch.device) -> Denoiser:
    """Lay the weights out for fast convolutions; files and results stay the same.

    On a CPU plain products beat the fused attention, whose backward pass is slow for so few
    tokens.
    """
    denoiser.unet.to(memory_format=torch.channels_last)
    if device.type == "cpu":
        denoiser.unet.set_attn_processor(AttnProcessor())
    return denoiser.to(device)
