"""Single-file .safetensors checkpoints in the original Stable Diffusion layout."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.machine.errors import UserError
from sdloop.machine.tensor_file import read_header
from sdloop.model.weights import check_weights

if TYPE_CHECKING:
    from torch import Tensor

    from sdloop.model.source import ModelSource

MOST_WEIGHTS = 3000  # of one network; Stable Diffusion's UNet has 686
VAE_PREFIX = "first_stage_model."
PREFIXES = {
    "text_encoder": ("cond_stage_model.transformer.", "cond_stage_model.model."),
    "unet": ("model.diffusion_model.",),
    # beside these lie the loss that a VAE was trained with, its discriminator's counters among them
    "vae": tuple(
        f"first_stage_model.{part}."
        for part in ("decoder", "encoder", "post_quant_conv", "quant_conv")
    ),
}
CONTEXT = re.compile(r"model\.diffusion_model\..*\.attn2\.to_k\.weight")
SDXL = "conditioner.embedders."
OPEN_CLIP_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def check_checkpoint(
    path: Path, parts: Collection[str] = tuple(PREFIXES)
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Refuse a file that is not there, no safetensors, or lacks one of the networks.

    Args:
        path: A .safetensors file.
        parts: The networks that it must hold.

    Returns:
        Component -> name of a weight -> its shape.

    Raises:
        UserError: Says which of these it is.
    """
    named = f"model = {path}"
    header = read_header(path, named)
    found = {}
    for component in parts:
        prefixes = PREFIXES[component]
        names = [name for name in header.tensors if name.startswith(prefixes)]
        if not names:
            is_xl = any(name.startswith(SDXL) for name in header.tensors)
            kind = "; it is of Stable Diffusion XL" if is_xl else ""
            cure = "; say vae=<a VAE's folder or file>" if component == "vae" and not is_xl else ""
            raise UserError(
                f"{named}: holds no {component} ({prefixes[0]}*){kind}; a single file must be a "
                f"full Stable Diffusion 1.x or 2.x checkpoint{cure}"
            )
        if len(names) > MOST_WEIGHTS:
            raise UserError(
                f"{named}: holds {len(names)} weights of the {component}; allowed: {MOST_WEIGHTS}"
            )
        weights = [name for name in names if not name.endswith(".position_ids")]
        check_weights(header, weights, named)
        found[component] = {name: header.tensors[name].shape for name in weights}
    return found


def check_vae_file(path: Path, named: str) -> dict[str, tuple[int, ...]]:
    """Refuse a file that holds no VAE, named as in a checkpoint, with its prefix or not, or ours.

    Args:
        path: A .safetensors file.
        named: What a message calls it.

    Returns:
        Name of a weight -> its shape.

    Raises:
        UserError: Says what is wrong.
    """
    header = read_header(path, named)
    prefixes = (*PREFIXES["vae"], *(each.removeprefix(VAE_PREFIX) for each in PREFIXES["vae"]))
    names = [name for name in header.tensors if name.startswith(prefixes)]
    if not any("decoder." in name for name in names):
        raise UserError(f"{named}: holds no VAE (decoder.*)")
    check_weights(header, names, named)
    return {name: header.tensors[name].shape for name in names}


def context_width(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return how wide the text is that a checkpoint's UNet attends to.

    Args:
        shapes: Of the UNet's weights, by the checkpoint's names.

    Returns:
        768 for Stable Diffusion 1.x, 1024 for 2.x; None if it attends to none.
    """
    return next(
        (shape[1] for name, shape in shapes.items() if CONTEXT.fullmatch(name) and len(shape) == 2),
        None,
    )


def rename_weights(
    source: ModelSource, component: str, weights: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Name one network's weights as diffusers and transformers do.

    Args:
        source: A model with a checkpoint.
        component: "text_encoder", "unet" or "vae".
        weights: By the checkpoint's names.

    Returns:
        By the network's names; some are reshaped or cut in parts.

    Raises:
        KeyError: A weight that is to be renamed is missing.
    """
    from diffusers.loaders import single_file_utils

    if component == "unet":
        layers = {"layers_per_block": source.unet.layers_per_block}
        return single_file_utils.convert_ldm_unet_checkpoint(dict(weights), layers)
    if component == "vae":
        if not any(".mid.block_1." in name for name in weights):  # named as diffusers does
            return {name.removeprefix(VAE_PREFIX): weight for name, weight in weights.items()}
        weights = {
            VAE_PREFIX + name.removeprefix(VAE_PREFIX): weight for name, weight in weights.items()
        }
        blocks = source.vae.model_dump(include=set(type(source.vae).model_fields))
        return single_file_utils.convert_ldm_vae_checkpoint(dict(weights), blocks)
    clip, open_clip = PREFIXES["text_encoder"]
    if any(name.startswith(clip) for name in weights):
        return {name.removeprefix(clip): weight for name, weight in weights.items()}
    bare = {name.removeprefix(open_clip): weight for name, weight in weights.items()}
    return _from_open_clip(bare, source.text.num_hidden_layers)


def _from_open_clip(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Rename OpenCLIP's text transformer to CLIP's; layers past the last used one are left out."""
    renamed = {
        "embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "embeddings.position_embedding.weight": weights["positional_embedding"],
        "final_layer_norm.weight": weights["ln_final.weight"],
        "final_layer_norm.bias": weights["ln_final.bias"],
    }
    for layer in range(layers):
        old, new = f"transformer.resblocks.{layer}", f"encoder.layers.{layer}"
        for kind in ("weight", "bias"):
            for old_name, new_name in OPEN_CLIP_NAMES.items():
                renamed[f"{new}.{new_name}.{kind}"] = weights[f"{old}.{old_name}.{kind}"]
            stacked = weights[f"{old}.attn.in_proj_{kind}"].chunk(3)
            for projection, part in zip("qkv", stacked, strict=True):
                renamed[f"{new}.self_attn.{projection}_proj.{kind}"] = part
    return renamed
