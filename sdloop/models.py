"""A model that was found -> its networks: the only loader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdloop.errors import UserError
from sdloop.model_source import ModelSource, fetch_weights, weight_files

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer


@dataclass(frozen=True)
class Models:
    """The loaded networks, in eval mode, on one device, in one dtype."""

    source: ModelSource
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL

    @property
    def device(self) -> torch.device:
        """Return where the networks are."""
        return self.unet.device

    @property
    def dtype(self) -> torch.dtype:
        """Return the networks' dtype."""
        return self.unet.dtype


def load(source: ModelSource, device: torch.device, dtype: torch.dtype) -> Models:
    """Load all parts of a model.

    Args:
        source: What `find` returned.
        device: Where to.
        dtype: Of all three networks.

    Returns:
        The networks, in eval mode.

    Raises:
        UserError: The weights cannot be had or do not fit their configs.
    """
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(source.folder / "tokenizer")
    text_encoder, unet, vae = (
        _load_component(source, component, device, dtype)
        for component in ("text_encoder", "unet", "vae")
    )
    return Models(source, tokenizer, text_encoder, unet, vae)


def load_vae(source: ModelSource, device: torch.device, dtype: torch.dtype) -> AutoencoderKL:
    """Load the VAE alone; arguments and errors as `load`."""
    return _load_component(source, "vae", device, dtype)


def _load_component(
    source: ModelSource, component: str, device: torch.device, dtype: torch.dtype
) -> Any:  # noqa: ANN401 - one of three classes, which Models names
    """Load one network, in eval mode."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel
    from transformers.utils.logging import disable_progress_bar

    if source.checkpoint is not None:
        from sdloop.single_file import load_from_checkpoint

        network = load_from_checkpoint(source.checkpoint, source.folder, component, dtype)
        return _place(network, device)
    if source.from_hub:
        fetch_weights(source, component, dtype.itemsize == 2)
    classes = {"text_encoder": CLIPTextModel, "unet": UNet2DConditionModel, "vae": AutoencoderKL}
    _, variant = weight_files(source, component, dtype.itemsize == 2)
    if component == "text_encoder":
        options: dict[str, Any] = {"dtype": dtype}
    else:  # what diffusers falls back to without accelerate, said aloud so that it stays quiet
        options = {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    disable_progress_bar()
    try:
        network = classes[component].from_pretrained(
            source.folder / component,
            use_safetensors=True,
            variant=variant,
            local_files_only=True,
            **options,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"model = {source.name}: {component}: {' '.join(str(error).split())[:300]}"
        ) from None
    return _place(network, device)


def _place(network: Any, device: torch.device) -> Any:  # noqa: ANN401 - as _load_component
    """Move a network to its device, ready to run.

    Convolutions are faster with the channels innermost, on the CPU too.
    """
    import torch

    return network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
