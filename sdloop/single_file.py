"""Single-file .safetensors checkpoints in the original Stable Diffusion layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdloop.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LARGEST_HEADER_BYTES = 100_000_000  # the safetensors format's own limit
PREFIXES = {
    "text_encoder": ("cond_stage_model.transformer.", "cond_stage_model.model."),
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.",),
}
OPEN_CLIP_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def check_checkpoint(path: Path) -> None:
    """Refuse a file that is not there, no safetensors, or lacks one of the networks.

    Args:
        path: A .safetensors file.

    Raises:
        UserError: Says which of these it is.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > LARGEST_HEADER_BYTES:
                raise ValueError("its header is too large")
            names = json.loads(file.read(size))
    except OSError as error:
        raise UserError(f"model = {path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"model = {path}: is not a safetensors file") from None
    for component, prefixes in PREFIXES.items():
        if not any(name.startswith(prefixes) for name in names):
            raise UserError(
                f"model = {path}: holds no {component} ({prefixes[0]}*); a single file must be a "
                "full Stable Diffusion 1.x or 2.x checkpoint"
            )


def load_from_checkpoint(path: Path, layout: Path, component: str, dtype: torch.dtype) -> Any:  # noqa: ANN401 - one of three classes
    """Load one network of a checkpoint.

    Args:
        path: The checkpoint.
        layout: A folder in diffusers' layout that holds the network's config.
        component: "text_encoder", "unet" or "vae".
        dtype: Of the network.

    Returns:
        A CLIPTextModel, UNet2DConditionModel or AutoencoderKL on the CPU.

    Raises:
        UserError: The weights do not fit the config.
    """
    try:
        if component == "text_encoder":
            return _load_text_encoder(path, layout / "text_encoder", dtype)
        from diffusers import AutoencoderKL, UNet2DConditionModel

        network = UNet2DConditionModel if component == "unet" else AutoencoderKL
        return network.from_single_file(
            str(path), config=str(layout), subfolder=component, torch_dtype=dtype
        )
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"model = {path}: {component} does not fit model_config_from: {reason}"
        ) from None


def _load_text_encoder(path: Path, config_folder: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """Load CLIP's text model (1.x) or OpenCLIP's (2.x), which a checkpoint names differently."""
    from safetensors import safe_open
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig.from_pretrained(config_folder)
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        prefix = next(
            prefix
            for prefix in PREFIXES["text_encoder"]
            if any(name.startswith(prefix) for name in names)
        )
        weights = {
            name.removeprefix(prefix): file.get_tensor(name).to(dtype)
            for name in names
            if name.startswith(prefix)
        }
    if prefix == "cond_stage_model.model.":
        weights = _from_open_clip(weights, config.num_hidden_layers)
    weights.pop("text_model.embeddings.position_ids", None)
    model = CLIPTextModel(config).to(dtype)
    if not any(name.startswith("text_model.") for name in model.state_dict()):
        weights = {name.removeprefix("text_model."): value for name, value in weights.items()}
    model.load_state_dict(weights)
    return model


def _from_open_clip(weights: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Rename OpenCLIP's text transformer to CLIP's; layers past the last used one are left out."""
    renamed = {
        "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
        "text_model.final_layer_norm.weight": weights["ln_final.weight"],
        "text_model.final_layer_norm.bias": weights["ln_final.bias"],
    }
    for layer in range(layers):
        old, new = f"transformer.resblocks.{layer}", f"text_model.encoder.layers.{layer}"
        for kind in ("weight", "bias"):
            for old_name, new_name in OPEN_CLIP_NAMES.items():
                renamed[f"{new}.{new_name}.{kind}"] = weights[f"{old}.{old_name}.{kind}"]
            stacked = weights[f"{old}.attn.in_proj_{kind}"].chunk(3)
            for projection, part in zip("qkv", stacked, strict=True):
                renamed[f"{new}.self_attn.{projection}_proj.{kind}"] = part
    return renamed
