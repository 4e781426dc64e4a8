"""A model that was found -> its networks: the only loader."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdloop.errors import UserError
from sdloop.model_source import ModelSource, fetch_weights, weight_files

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch import Tensor
    from transformers import CLIPTextModel, CLIPTokenizer

COMPONENTS = ("text_encoder", "unet", "vae")
OLD_ATTENTION_NAMES = {  # of VAEs saved before diffusers 0.13, Stable Diffusion 1.5's among them
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


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

    Weights are read from safetensors straight to the device while the libraries are imported, and
    nothing is initialised first.

    Args:
        source: What `find` returned.
        device: Where to.
        dtype: Of all three networks.

    Returns:
        The networks, in eval mode.

    Raises:
        UserError: The weights cannot be had or do not fit their configs.
    """
    if source.from_hub:
        for component in COMPONENTS:
            fetch_weights(source, component, dtype.itemsize == 2)
    with ThreadPoolExecutor() as pool:
        reads = {
            component: pool.submit(_read_weights, source, component, device, dtype)
            for component in ("unet", "vae")
            if source.checkpoint is None
        }
        from transformers import CLIPTokenizer

        tokenizer = CLIPTokenizer.from_pretrained(source.folder / "tokenizer")
        text_encoder = _load_text_encoder(source, device, dtype)
        unet, vae = (
            _build(source, component, reads[component].result())
            if component in reads
            else _load_from_checkpoint(source, component, device, dtype)
            for component in ("unet", "vae")
        )
    return Models(source, tokenizer, text_encoder, unet, vae)


def load_vae(source: ModelSource, device: torch.device, dtype: torch.dtype) -> AutoencoderKL:
    """Load the VAE alone; arguments and errors as `load`."""
    if source.checkpoint is not None:
        return _load_from_checkpoint(source, "vae", device, dtype)
    if source.from_hub:
        fetch_weights(source, "vae", dtype.itemsize == 2)
    return _build(source, "vae", _read_weights(source, "vae", device, dtype))


def compile_networks(models: Models) -> None:
    """Let torch.compile translate the UNet and the VAE's decoder when they are first called.

    Worth its time for many runs in one process. What was compiled is kept for later processes in
    torch's own cache (TORCHINDUCTOR_CACHE_DIR; by default in the temporary folder).

    Args:
        models: Its networks are changed in place.
    """
    models.unet.compile(dynamic=False)
    models.vae.decoder.compile(dynamic=False)


def _load_text_encoder(source: ModelSource, device: torch.device, dtype: torch.dtype) -> Any:  # noqa: ANN401 - a CLIPTextModel
    """Load the text encoder."""
    if source.checkpoint is not None:
        return _load_from_checkpoint(source, "text_encoder", device, dtype)
    from transformers import CLIPTextModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    _, variant = weight_files(source, "text_encoder", dtype.itemsize == 2)
    try:
        network, found = CLIPTextModel.from_pretrained(
            source.folder / "text_encoder",
            use_safetensors=True,
            variant=variant,
            local_files_only=True,
            dtype=dtype,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise _misfit(source, "text_encoder", error) from None
    if found["missing_keys"]:  # transformers would draw them at random and only warn
        names = ", ".join(sorted(found["missing_keys"]))
        raise _misfit(source, "text_encoder", ValueError(f"has no {names}"))
    return _place(network, device)


def _load_from_checkpoint(
    source: ModelSource, component: str, device: torch.device, dtype: torch.dtype
) -> Any:  # noqa: ANN401 - one of three classes, which Models names
    """Load one network of a single-file checkpoint."""
    from sdloop.single_file import load_from_checkpoint

    assert source.checkpoint is not None
    network = load_from_checkpoint(source.checkpoint, source.folder, component, dtype)
    return _place(network, device)


def _read_weights(
    source: ModelSource, component: str, device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Read a component's safetensors to the device; copies, so that the files may go."""
    from safetensors import SafetensorError, safe_open

    weights = {}
    try:
        for path in weight_files(source, component, dtype.itemsize == 2)[0]:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no mapping
                    weights[name] = file.get_tensor(name).to(device, dtype, copy=True)
    except (OSError, SafetensorError) as error:
        raise _misfit(source, component, error) from None
    return weights


def _build(source: ModelSource, component: str, weights: dict[str, Tensor]) -> Any:  # noqa: ANN401 - one of two classes
    """Make the UNet or the VAE around its weights, without initialising any."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    network_class = UNet2DConditionModel if component == "unet" else AutoencoderKL
    if component == "vae":
        for old, new in OLD_ATTENTION_NAMES.items():
            weights = {name.replace(old, new): tensor for name, tensor in weights.items()}
    device = next(iter(weights.values())).device
    try:
        with torch.device("meta"):
            network = network_class.from_config(
                network_class.load_config(source.folder / component, local_files_only=True)
            )
        network.load_state_dict(weights, assign=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise _misfit(source, component, error) from None
    return _place(network, device)


def _place(network: Any, device: torch.device) -> Any:  # noqa: ANN401 - one of three classes
    """Move a network to its device, ready to run.

    Convolutions are faster with the channels innermost, on the CPU too.
    """
    import torch

    return network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def _misfit(source: ModelSource, component: str, error: Exception) -> UserError:
    """Say in one line which component's weights cannot be used, and why."""
    return UserError(f"model = {source.name}: {component}: {' '.join(str(error).split())[:300]}")
