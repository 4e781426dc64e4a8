"""Latents -> pictures, in batches that fit the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdloop.machine.device import free_bytes
from sdloop.machine.errors import OutOfMemory, UserError
from sdloop.machine.memory import is_out_of_memory, size_that_fits
from sdloop.model.bound import decoder_at_most, widest_at_most
from sdloop.model.decode_batch import choose_batch, ignores_batch
from sdloop.model.frame import decode_batch, factor_of, frame_of

if TYPE_CHECKING:
    from sdloop.model.frame import Decoder


class DecodeError(UserError):
    """The VAE made values that are not finite."""


def decode_batches(
    vae: Decoder,
    latents: Tensor,
    batch_size: int | None = None,
    on_frames: Callable[[int], None] | None = None,
    name_of: Callable[[int], str] = "frame {}".format,
    full_precision: bool = False,
) -> Iterator[Tensor]:
    """Decode every latent, and hand out each batch of pictures as soon as it is there.

    A batch for which the device has no memory is halved and tried again. A frame that is not
    finite in half precision is decoded once more in float32. The host waits for the device once a
    batch.

    Args:
        vae: Or a small decoder. Its device and dtype are used. In `full_precision`, it is in
            float32 until the last batch is asked for, and then in its own dtype again.
        latents: (frames, 4, h, w), in the UNet's scale, on any device.
        batch_size: Frames at once; None takes batches of equal size that fit half of the free
            memory. It has no effect on a CPU, which takes the frames one by one.
        on_frames: Called with the number of frames of each batch.
        name_of: What an error calls the latent of an index.
        full_precision: Compute in float32, whatever the VAE's dtype.

    Yields:
        (frames of the batch, H, W, 3), float32, sRGB in 8-bit levels, 0 to 255 but not rounded, on
        the VAE's device.

    Raises:
        OutOfMemory: Not even one frame fits; it says what would.
        DecodeError: A frame is not finite, in float32 either.
    """
    with _in_float32(vae) if full_precision else nullcontext():
        (frames, _, height, width), start = latents.shape, 0
        size = min(_fitting_batch(vae, latents, batch_size), frames)
        while start < frames:
            # on CUDA kernels are chosen for each new size, which costs more than a few frames
            padded_to = size if vae.device.type == "cuda" else 0
            batch = slice(start, min(start + size, frames))
            decoded = _decode_if_it_fits(vae, latents[batch], padded_to)
            if decoded is None:
                if size == 1:
                    raise _no_room(vae, height, width)
                size = size // 2
                if vae.device.type == "cuda":
                    torch.cuda.empty_cache()  # what is left of the larger batch is in pieces
                continue
            pictures, finite = decoded
            bad = [index for index, is_finite in enumerate(finite.tolist()) if not is_finite]
            if bad:
                names = {index: name_of(start + index) for index in bad}
                _decode_in_float32(vae, latents[batch], pictures, names)
            start = batch.stop
            if on_frames is not None:
                on_frames(len(pictures))
            yield pictures
            del decoded, pictures  # before the next batch takes its memory


def round_pictures(batches: Iterable[Tensor], frames: int) -> Tensor:
    """Round pictures to 8 bits and put them together.

    Args:
        batches: Of `decode_batches`.
        frames: How many pictures they hold in all.

    Returns:
        (frames, H, W, 3), uint8.

    Raises:
        ValueError: There is no batch.
    """
    images, start = None, 0
    for pictures in batches:
        if images is None:
            shape = (frames, *pictures.shape[1:])
            images = torch.empty(shape, dtype=torch.uint8, device=pictures.device)
        images[start : start + len(pictures)] = pictures.round()
        start += len(pictures)
        del pictures  # before the next batch takes its memory
    if images is None:
        raise ValueError("latents: there are none")
    return images


def decode_latents(
    vae: Decoder,
    latents: Tensor,
    batch_size: int | None = None,
    on_frames: Callable[[int], None] | None = None,
    name_of: Callable[[int], str] = "frame {}".format,
) -> Tensor:
    """Decode every latent to a picture of 8 bits; arguments and errors as `decode_batches`.

    Returns:
        (frames, H, W, 3), uint8, sRGB, on the VAE's device.
    """
    batches = decode_batches(vae, latents, batch_size, on_frames, name_of)
    return round_pictures(batches, len(latents))


def _fitting_batch(vae: Decoder, latents: Tensor, wanted: int | None) -> int:
    """Choose how many frames to decode at once; one is counted only where a bound will not do."""
    if ignores_batch(vae.device.type):
        return 1
    frames, _, height, width = latents.shape
    widths, free = vae.config.block_out_channels, free_bytes(vae.device)
    pixels = height * width * factor_of(vae) ** 2
    most = decoder_at_most(widths, pixels, unfolds=False) * vae.dtype.itemsize
    bounded = choose_batch(frames, most, widest_at_most(widths, pixels), free, wanted)
    if bounded == choose_batch(frames, 1, 1, None, wanted):  # as many as there may be at all
        return bounded
    frame = frame_of(vae, height, width)
    return choose_batch(frames, frame.needed_bytes, frame.widest, free, wanted)


def _no_room(vae: Decoder, height: int, width: int) -> OutOfMemory:
    """Say what would fit, where one frame of these latents does not."""
    factor = factor_of(vae)
    size = (height * factor, width * factor)

    def needed_bytes(high: int, wide: int) -> int:
        return frame_of(vae, high // factor, wide // factor).needed_bytes

    fitting = size_that_fits(*size, factor, needed_bytes, free_bytes(vae.device))
    return OutOfMemory(
        f"decode: {vae.device} has no memory for one frame of {size[1]} x {size[0]} px; {fitting}"
    )


@torch.inference_mode()
def _decode_if_it_fits(
    vae: Decoder, latents: Tensor, padded_to: int
) -> tuple[Tensor, Tensor] | None:
    """Decode one batch; None if there is no memory for it, and then nothing of it is held."""
    try:
        return decode_batch(vae, latents, padded_to)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


@torch.inference_mode()
def _decode_in_float32(
    vae: Decoder, latents: Tensor, pictures: Tensor, names: Mapping[int, str]
) -> None:
    """Decode some latents of a batch again, one by one; in float32 they must be finite."""
    with _in_float32(vae):
        for index, name in names.items():
            pictures[index : index + 1], is_finite = decode_batch(vae, latents[index, None])
            if not is_finite.item():
                raise DecodeError(f"decode: {name} has values that are not finite, in float32 too")


@contextmanager
def _in_float32(vae: Decoder) -> Iterator[None]:
    """Let a VAE compute in float32; it has its dtype, and the same weights, again afterwards."""
    dtype = vae.dtype
    # the class's own `to` warns of modules that it would rather cast itself; there are none
    torch.nn.Module.to(vae, torch.float32)
    try:
        yield
    finally:
        torch.nn.Module.to(vae, dtype)
