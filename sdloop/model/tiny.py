"""A small decoder -> its network, which stands in for the VAE where a preview will do.

`decode_latents` and `decode_batches` of `vae.py` take it like a VAE:

    tiny = load_tiny(find_tiny(source), device, dtype)
    pictures = decode_latents(tiny, z0_hat)  # (n, channels, h, w) -> uint8 (n, H, W, 3)
"""

from __future__ import annotations

import hashlib
import json
from inspect import signature
from typing import TYPE_CHECKING

import torch

from sdloop.machine.documents import opened
from sdloop.machine.errors import UserError, reason_of
from sdloop.machine.tensor_file import read_header
from sdloop.model.config_keys import check_known
from sdloop.model.linear_end import with_linear_end
from sdloop.model.tiny_source import PART, TINY_KEY, TINY_WEIGHTS, fetch_tiny
from sdloop.model.weight_files import BUNDLED_SUMS, SHA256
from sdloop.model.weights import check_weights, read_weights

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny

    from sdloop.model.hub import Watch
from sdloop.model.tiny_source import TinySource

DECODER = "decoder."  # what names of its weights begin with


def load_tiny(
    tiny: TinySource,
    device: torch.device,
    dtype: torch.dtype,
    watch: Watch | None = None,
) -> AutoencoderTiny:
    """Load a small decoder, as safely as a model: a checked config, weights from safetensors.

    Args:
        tiny: What `find_tiny` returned.
        device: Where to.
        dtype: Of its weights; a frame that is not finite is decoded once more in float32.
        watch: Called with the bytes fetched so far, if there are any to fetch.

    Returns:
        The network, in eval mode and without an encoder. It takes latents in the model's scale.

    Raises:
        UserError: The weights cannot be had, are damaged, or do not fit the config.
    """
    fetch_tiny(tiny, watch)
    named = f"{TINY_KEY} = {tiny.name}"
    header = read_header(tiny.weights, f"{named}: {TINY_WEIGHTS}")
    names = [name for name in header.tensors if name.startswith(DECODER)]
    check_weights(header, names, named)
    network = make_outline(tiny)
    shapes = {name: header.tensors[name].shape for name in names}
    try:
        # their shapes are compared before any weight is read
        network.load_state_dict(
            {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}, assign=True
        )
    except RuntimeError as error:
        raise UserError(f"{named}: {reason_of(error)}") from None
    weights = read_weights(tiny.weights, names, device, dtype, named)
    network.load_state_dict(weights, assign=True)
    if device.type == "cpu":  # elsewhere not measured
        network.decoder.layers = with_linear_end(network.decoder.layers)
    network.to(device, memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)


def make_outline(tiny: TinySource) -> AutoencoderTiny:
    """Make a small decoder's network without memory for its weights.

    Args:
        tiny: What `find_tiny` returned.

    Returns:
        The network on the meta device, without an encoder, which no run calls.

    Raises:
        UserError: Values of the config do not go together, or only a newer library knows a key.
    """
    from diffusers import AutoencoderTiny

    parameters = signature(AutoencoderTiny.__init__).parameters
    defaults = {key: each.default for key, each in parameters.items()}
    check_known(tiny.name, PART, tiny.config, defaults, TINY_KEY)
    try:
        with torch.device("meta"):
            network = AutoencoderTiny(**tiny.config.arguments())
    except Exception as error:  # values that do not go together raise whatever comes of it
        raise UserError(f"{TINY_KEY} = {tiny.name}: {reason_of(error)}") from None
    network.encoder = None
    return network


def hash_tiny(tiny: TinySource) -> str:
    """Name a small decoder's weights by their content.

    Args:
        tiny: What `find_tiny` returned; its weights are here.

    Returns:
        SHA-256 in hexadecimal.

    Raises:
        UserError: Weights that came with sdloop or from the hub are not what was published.
    """
    with opened(tiny.weights, str(tiny.weights)) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    blob, expected = tiny.weights.resolve().name, found
    if tiny.is_bundled:
        sums = json.loads((tiny.folder.parent / BUNDLED_SUMS).read_text(encoding="utf-8"))
        expected = sums[f"{PART}/{TINY_WEIGHTS}"]
    elif tiny.from_hub and SHA256.fullmatch(blob):
        expected = blob
    if found != expected:
        cure = f"; remove {tiny.weights.resolve()}, and it is fetched anew" if tiny.from_hub else ""
        raise UserError(
            f"{TINY_KEY} = {tiny.name}: {TINY_WEIGHTS} is damaged: its sha256 is {found}, not "
            f"{expected}{cure}"
        )
    return found
