"""What the networks of a Stable Diffusion that was found hold, without loading it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from sdloop.machine.device import room_bytes
from sdloop.machine.errors import UserError, reason_of
from sdloop.model.attention import AttentionSums
from sdloop.model.attention_names import attention_shapes
from sdloop.model.bound import attention_at_most, decoder_at_most, unet_at_most
from sdloop.model.decode_batch import LARGEST_BATCH, choose_batch, ignores_batch
from sdloop.model.networks import dtype_of
from sdloop.model.shortcuts import Swaps, count_attention, fix_prompt
from sdloop.model.weight_count import number_of_weights

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from torch import Tensor

    from sdloop.model.source import ModelSource

Shape = tuple[int, int, int, int]


def count_loop(
    source: ModelSource,
    shape: Shape,
    guided: bool,
    device: torch.device,
    dtype: torch.dtype,
    keep_attention: bool = False,
) -> int:
    """Count what a call of the UNet holds; see `Family.loop_bytes`."""
    from sdloop.model.activations import count

    unet, text = source.family.make_network(source, "unet"), source.text
    samples = _doubled(shape[0], guided)
    prompt = (samples, source.tokens, text.hidden_size)
    outline = partial(torch.empty, device="meta", dtype=dtype)
    try:
        held = count(
            unet,
            partial(_call_counting, unet, shape) if keep_attention else unet,
            outline((samples, *shape[1:])),
            outline((), dtype=torch.float32),
            dtype=dtype,
            device_type=device.type,
            encoder_hidden_states=outline(prompt),
        )
    except Exception as error:  # values that do not go together raise whatever comes of it
        raise _misfit(source, "unet", error) from None
    return held.needed_bytes


def bound_loop(
    source: ModelSource,
    shape: Shape,
    guided: bool,
    device: torch.device,
    dtype: torch.dtype,
    keep_attention: bool = False,
) -> int:
    """Bound what `count_loop` counts; arguments as there."""
    samples, _, height, width = shape
    each = unet_at_most(source.unet, height * width, source.tokens)
    held = _doubled(samples, guided) * each * dtype.itemsize
    if not keep_attention:
        return held
    shapes = attention_shapes(source.unet, source.tokens, height, width)
    return held + samples * attention_at_most(source.unet, list(shapes.values()))


def count_decoder(
    source: ModelSource,
    shape: Shape,
    batch_size: int | None,
    device: torch.device,
    dtype: torch.dtype,
    full_precision: bool = False,
) -> int:
    """Count what a batch of the VAE's decoder holds; see `Family.decode_bytes`."""
    from sdloop.model.frame import count_frame

    frames, _, height, width = shape
    vae = source.family.make_network(source, "vae")
    dtype, growth_bytes = _decoded_in(source, dtype, full_precision)
    try:
        frame = count_frame(vae, height, width, dtype, device.type)
    except Exception as error:  # values that do not go together raise whatever comes of it
        raise _misfit(source, "vae", error) from None
    if ignores_batch(device.type):
        return frame.needed_bytes + growth_bytes
    room = room_bytes(device)  # no less than what is free once the run decodes
    batch = choose_batch(frames, frame.needed_bytes, frame.widest, room, batch_size)
    return batch * frame.needed_bytes + growth_bytes


def bound_decoder(
    source: ModelSource,
    shape: Shape,
    batch_size: int | None,
    device: torch.device,
    dtype: torch.dtype,
    full_precision: bool = False,
) -> int:
    """Bound what `count_decoder` counts; arguments as there."""
    frames, _, height, width = shape
    dtype, growth_bytes = _decoded_in(source, dtype, full_precision)
    item, alone = dtype.itemsize, ignores_batch(device.type)
    pixels, widths = height * width * source.vae_factor**2, source.vae.block_out_channels
    frame = decoder_at_most(widths, pixels, unfolds=alone and item == 2)
    batch = 1 if alone else batch_size or min(frames, LARGEST_BATCH)
    return batch * frame * item + growth_bytes


def _decoded_in(
    source: ModelSource, dtype: torch.dtype, full_precision: bool
) -> tuple[torch.dtype, int]:
    """Return the dtype that the VAE computes in, and by how many bytes its weights grow for it."""
    loaded = dtype_of(source, "vae", dtype)
    if not full_precision or loaded == torch.float32:
        return loaded, 0
    numbers = number_of_weights(source, "vae", loaded)
    return torch.float32, numbers * (torch.float32.itemsize - loaded.itemsize)


def _call_counting(
    unet: UNet2DConditionModel,
    shape: Shape,
    z: Tensor,
    timestep: Tensor,
    encoder_hidden_states: Tensor,
) -> object:
    """Call a UNet as a walk does that keeps its attention."""
    samples, _, *size = shape
    swaps = Swaps()
    prompts = fix_prompt(unet, encoder_hidden_states, swaps)
    shapes = attention_shapes(unet.config, encoder_hidden_states.shape[1], *size)
    sums = AttentionSums(shapes, samples, z.device)
    count_attention(unet, prompts, sums, (size[0], size[1]))
    with swaps:
        output = unet(z, timestep, encoder_hidden_states=encoder_hidden_states).sample
    sums.store()
    return output


def _doubled(samples: int, guided: bool) -> int:
    """Return the UNet's batch."""
    return 2 * samples if guided else samples


def _misfit(source: ModelSource, part: str, error: Exception) -> UserError:
    """Say in one line which part of a model cannot run, and why."""
    return UserError(f"model = {source.name}: {part}: {reason_of(error)}")
