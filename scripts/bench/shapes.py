"""The models that the job benchmark runs on."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sdloop.model.find import BUNDLED

# Stable Diffusion 1.5's, from its published configs; what is left out is diffusers' default
UNET = {
    "sample_size": 64,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
}


def model_folder(shape: str, scratch: Path, device: torch.device) -> Path:
    """Return a model's folder in diffusers' layout.

    Args:
        shape: "bundled", or "sd15" for Stable Diffusion 1.5's shapes with seeded random weights
            and the bundled tokenizer.
        scratch: Where a random model is written to, in float16, 2 GB.
        device: Where its weights are drawn.

    Returns:
        The folder.
    """
    if shape == "bundled":
        return BUNDLED
    folder = scratch / "sd15"
    if (folder / "model_index.json").is_file():
        return folder
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(BUNDLED / "tokenizer", model_max_length=77)
    text = CLIPTextConfig(
        **TEXT, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    with device:
        networks = (AutoencoderKL(**VAE), CLIPTextModel(text), UNet2DConditionModel(**UNET))
    vae, text_encoder, unet = (network.half() for network in networks)
    scheduler = PNDMScheduler.from_pretrained(BUNDLED / "scheduler")  # that of 1.5, too
    StableDiffusionPipeline(
        vae, text_encoder, tokenizer, unet, scheduler, None, None, None, False
    ).save_pretrained(folder)
    return folder
