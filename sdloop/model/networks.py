"""A model that was found -> its networks: the only loader."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdloop.machine.device import is_half
from sdloop.machine.errors import UserError, check_type, reason_of
from sdloop.model.fetch import fetch_weights
from sdloop.model.single_file import check_checkpoint, check_vae_file, rename_weights
from sdloop.model.source import ModelSource
from sdloop.model.tokenizer import load_tokenizer
from sdloop.model.weight_files import weight_names
from sdloop.model.weights import read_weights

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch import Tensor
    from transformers import CLIPTextModel, CLIPTokenizer

OLD_ATTENTION_NAMES = {  # of VAEs saved before diffusers 0.13, Stable Diffusion 1.5's among them
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}
ENCODER = ("encoder", "quant_conv")  # of a VAE; no run calls it


@dataclass(frozen=True)
class Models:
    """The loaded networks, in eval mode, on one device, in one dtype.

    Attributes:
        source: What they were loaded from.
        tokenizer: The model's.
        text_encoder: The model's.
        unet: The model's.
        vae: The model's; in float32 where its config says that float16 is not enough.
        lock: Held while a call swaps modules of the UNet, so that threads may share it.
    """

    source: ModelSource
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

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

    Nothing is initialised first, and nothing of the folder runs: networks are made from checked
    configs, and weights are read from safetensors once their names and shapes are known to fit.

    Args:
        source: What `find` returned.
        device: Where to.
        dtype: Of all three networks; see `Models.vae` for the exception.

    Returns:
        The networks, in eval mode.

    Raises:
        UserError: The weights cannot be had or do not fit their configs.
    """
    check_type(source, ModelSource, "source", '; find("bundled") makes one')
    fetch_weights(source, is_half(dtype))
    tokenizer = load_tokenizer(source)
    with ThreadPoolExecutor() as pool:
        finish = {part: _begin(source, part, device, dtype, pool) for part in source.family.parts}
        text_encoder, unet, vae = finish["text_encoder"](), finish["unet"](), finish["vae"]()
    return Models(source, tokenizer, text_encoder, unet, vae)


def load_vae(source: ModelSource, device: torch.device, dtype: torch.dtype) -> AutoencoderKL:
    """Load the VAE alone; arguments and errors as `load`."""
    fetch_weights(source, is_half(dtype), ("vae",))
    with ThreadPoolExecutor() as pool:
        return _begin(source, "vae", device, dtype, pool)()


def dtype_of(source: ModelSource, part: str, dtype: torch.dtype) -> torch.dtype:
    """Choose a part's dtype.

    Args:
        source: The model.
        part: "text_encoder", "unet" or "vae".
        dtype: That the model is loaded in.

    Returns:
        The model's, unless the part's config says that float16 is not enough.
    """
    import torch

    upcast = part == "vae" and dtype == torch.float16 and source.vae.overflows_in_half
    return torch.float32 if upcast else dtype


def compile_networks(models: Models) -> None:
    """Let torch.compile translate the UNet and the VAE's decoder when they are first called.

    Worth its time for many runs in one process. What was compiled is kept for later processes in
    torch's own cache (TORCHINDUCTOR_CACHE_DIR; by default in the temporary folder).

    Args:
        models: Its networks are changed in place.
    """
    models.unet.compile(dynamic=False)
    models.vae.decoder.compile(dynamic=False)


def weights_of(
    source: ModelSource, part: str, half: bool
) -> dict[Path, dict[str, tuple[int, ...]]]:
    """Read the headers of a part's files, wherever they are.

    Args:
        source: The model.
        part: "text_encoder", "unet" or "vae".
        half: Whether to prefer files of half precision.

    Returns:
        File -> name of a weight -> its shape.

    Raises:
        UserError: A file cannot be read, or lacks the part.
    """
    single = source.file_of(part)
    if single is None:
        return weight_names(source, part, half)
    if single == source.vae_place:
        return {single: check_vae_file(single, f"vae = {single}")}
    return {single: check_checkpoint(single, [part])[part]}


def _begin(
    source: ModelSource,
    component: str,
    device: torch.device,
    dtype: torch.dtype,
    pool: ThreadPoolExecutor,
) -> Callable[[], Any]:
    """Make a network, check that its weights fit and begin to read them.

    Returns a function that waits for them and returns the network, ready to run.
    """
    import torch

    files = weights_of(source, component, is_half(dtype))
    network = source.family.make_network(source, component)
    outlines = {
        name: torch.empty(shape, device="meta")
        for shapes in files.values()
        for name, shape in shapes.items()
    }
    _fill(network, source, component, outlines)
    dtype = dtype_of(source, component, dtype)
    named = f"model = {source.name}: {component}"
    reads = [
        pool.submit(read_weights, path, names, device, dtype, named)
        for path, names in files.items()
    ]

    def finish() -> Any:  # noqa: ANN401 - one of three classes, which Models names
        weights = {name: weight for read in reads for name, weight in read.result().items()}
        _fill(network, source, component, weights)
        if component == "text_encoder":  # the one buffer that no file holds
            positions = torch.arange(source.text.max_position_embeddings, device=device)
            network.embeddings.position_ids = positions[None]
        return _place(network, device)

    return finish


def _fill(network: Any, source: ModelSource, component: str, weights: dict[str, Tensor]) -> None:  # noqa: ANN401
    """Put weights into a network, whatever names their files gave them."""
    try:
        renamed = _rename(network, source, component, weights)
        if component == "vae":  # some files hold the decoder alone
            for part in ENCODER:
                if not any(name.startswith(f"{part}.") for name in renamed):
                    setattr(network, part, None)
        network.load_state_dict(renamed, assign=True)
    except Exception as error:  # a file's names can mislead their translation in any way
        raise _misfit(source, component, error) from None


def _rename(
    network: Any,  # noqa: ANN401 - one of three classes
    source: ModelSource,
    component: str,
    weights: Mapping[str, Tensor],
) -> Mapping[str, Tensor]:
    """Name weights as the network does."""
    if source.file_of(component) is not None:
        weights = rename_weights(source, component, weights)
    if component == "vae":
        for old, new in OLD_ATTENTION_NAMES.items():
            weights = {name.replace(old, new): tensor for name, tensor in weights.items()}
    if component == "text_encoder":  # files may hold a prefix, and projections beside the encoder
        bare = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
        weights = {name: bare[name] for name in network.state_dict() if name in bare}
    return weights


def _place(network: Any, device: torch.device) -> Any:  # noqa: ANN401 - one of three classes
    """Move a network to its device, ready to run.

    Convolutions are faster with the channels innermost, on the CPU too.
    """
    import torch

    return network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def _misfit(source: ModelSource, component: str, error: Exception) -> UserError:
    """Say in one line which part of a model cannot be used, and why."""
    return UserError(f"model = {source.name}: {component}: {reason_of(error)}")
