"""Networks without memory for their weights, from checked configs."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from sdloop.machine.errors import UserError, reason_of
from sdloop.model.config_keys import check_known
from sdloop.model.libraries import (
    AutoencoderKL,
    CLIPTextConfig,
    CLIPTextModel,
    UNet2DConditionModel,
)

if TYPE_CHECKING:
    from sdloop.model.source import ModelSource

# only the pooled output, which nobody uses, asks for tokens by number
TOKENS = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)


def make_network(source: ModelSource, part: str) -> Any:  # noqa: ANN401 - one of three
    """Make one of Stable Diffusion's networks on the meta device.

    Args:
        source: The model.
        part: "text_encoder", "unet" or "vae".

    Returns:
        The network, as its library makes it of the config.

    Raises:
        UserError: Values do not go together, or only a newer library knows a key.
    """
    config = getattr(source, "text" if part == "text_encoder" else part)
    check_known(source.name, part, config, _defaults(part))
    try:
        with torch.device("meta"):
            if part == "text_encoder":
                arguments = config.arguments() | TOKENS
                return CLIPTextModel(CLIPTextConfig(**arguments, attn_implementation="sdpa"))
            kind = UNet2DConditionModel if part == "unet" else AutoencoderKL
            return kind(**config.arguments())
    except Exception as error:  # values that do not go together raise whatever comes of it
        raise UserError(f"model = {source.name}: {part}: {reason_of(error)}") from None


def _defaults(part: str) -> dict[str, Any]:
    """List the keys that the installed library reads of a part's config, with their defaults."""
    if part == "text_encoder":
        values = vars(CLIPTextConfig()).items()
        return {key: value for key, value in values if not key.startswith("_")}
    kind = UNet2DConditionModel if part == "unet" else AutoencoderKL
    return {key: each.default for key, each in signature(kind.__init__).parameters.items()}
