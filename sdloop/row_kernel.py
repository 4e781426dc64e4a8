"""row_update.update_row_in_torch as one Triton kernel: a thread for each latent value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl
from torch import Tensor

if TYPE_CHECKING:
    from sdloop.row_buffers import RowBuffers

BLOCK = 256


def update_row_in_one_kernel(buffers: RowBuffers, output: Tensor) -> None:
    """Launch the kernel; arguments as row_update.update_row."""
    _, _, channels, height, width = buffers.latents.shape
    count = buffers.latents[0].numel()
    unused = buffers.z0_hat  # stands for a stack that is not kept; never written to
    _update[(triton.cdiv(count, BLOCK),)](
        output,
        buffers.unet_input,
        buffers.row,
        buffers.table,
        buffers.base_frame,
        buffers.slot,
        buffers.guidance_scale,
        buffers.latents,
        buffers.outputs,
        buffers.z0_hat,
        unused if buffers.guidance is None else buffers.guidance,
        unused if buffers.eps_uncond is None else buffers.eps_uncond,
        unused if buffers.eps_cond is None else buffers.eps_cond,
        count,
        channels,
        height,
        width,
        *output.stride(),
        *buffers.unet_input.stride(),
        BATCH=buffers.latents.shape[1],
        SLOTS=len(buffers.outputs),
        GUIDED=buffers.guidance is not None,
        KEEPS_UNCOND=buffers.eps_uncond is not None,
        KEEPS_COND=buffers.eps_cond is not None,
        BLOCK=BLOCK,
    )


@triton.jit
def _update(
    output,
    unet_input,
    row_number,
    table,
    base_frames,
    slots,
    guidance_scale,
    latents,
    outputs,
    z0_hat,
    guidance,
    eps_uncond,
    eps_cond,
    count,
    channels,
    height,
    width,
    output_sample,
    output_channel,
    output_y,
    output_x,
    input_sample,
    input_channel,
    input_y,
    input_x,
    BATCH: tl.constexpr,
    SLOTS: tl.constexpr,
    GUIDED: tl.constexpr,
    KEEPS_UNCOND: tl.constexpr,
    KEEPS_COND: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Update one block of values; the names are those of update_row_in_torch."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    x = place % width
    y = place // width % height
    channel = place // (width * height) % channels
    sample = place // (width * height * channels)

    row = tl.load(row_number)
    coefficients = table + row * (6 + SLOTS)
    a = tl.load(coefficients)
    b = tl.load(coefficients + 1)
    z0_from_z = tl.load(coefficients + 2)
    z0_from_output = tl.load(coefficients + 3)
    eps_from_z = tl.load(coefficients + 4)
    eps_from_output = tl.load(coefficients + 5)
    here = row * count + place

    z = tl.load(latents + here, inside)
    seen = output + sample * output_sample + channel * output_channel + y * output_y + x * output_x
    uncond = tl.load(seen, inside).to(tl.float32)
    guided = uncond
    if GUIDED:
        cond = tl.load(seen + BATCH * output_sample, inside).to(tl.float32)
        guided = uncond + tl.load(guidance_scale) * (cond - uncond)
        tl.store(guidance + here, eps_from_output * (cond - uncond), inside)
    else:
        cond = uncond

    slot = tl.load(slots + row)
    mixture = tl.zeros([BLOCK], tl.float32)
    for k in tl.static_range(SLOTS):
        kept = tl.load(outputs + k * count + place, inside)
        mixture += tl.load(coefficients + 6 + k) * tl.where(slot == k, guided, kept)
    tl.store(outputs + slot * count + place, guided, inside)
    base = tl.load(latents + tl.load(base_frames + row) * count + place, inside)
    z_next = a * base + b * mixture
    tl.store(latents + here + count, z_next, inside)
    fed = unet_input + sample * input_sample + channel * input_channel + y * input_y + x * input_x
    tl.store(fed, z_next.to(unet_input.dtype.element_ty), inside)
    if GUIDED:
        tl.store(fed + BATCH * input_sample, z_next.to(unet_input.dtype.element_ty), inside)

    tl.store(z0_hat + here, z0_from_z * z + z0_from_output * guided, inside)
    if KEEPS_UNCOND:
        tl.store(eps_uncond + here, eps_from_z * z + eps_from_output * uncond, inside)
    if KEEPS_COND:
        tl.store(eps_cond + here, eps_from_z * z + eps_from_output * cond, inside)
