"""One row's arithmetic on buffers, with the row's number on the device: what a CUDA graph repeats.

The same sums as in loop.denoise: guidance, the table's step, z0_hat, what is kept.
"""

from importlib.util import find_spec

import torch
from torch import Tensor

from sdloop.row_buffers import COEFFICIENTS, RowBuffers


def update_row(buffers: RowBuffers, output: Tensor) -> None:
    """Take the step that the next row says, and go on to the row after it.

    Nothing is read back to the host. On CUDA one Triton kernel does it, where Triton is there.

    Args:
        buffers: Are written to.
        output: (2 batch or batch, 4, h, w), what the UNet made of `buffers.unet_input`.
    """
    buffers.returned.index_copy_(0, buffers.row, output[None])
    if output.is_cuda and find_spec("triton") is not None:
        from sdloop.row_kernel import update_row_in_one_kernel

        update_row_in_one_kernel(buffers, output)
    else:
        update_row_in_torch(buffers, output)
    buffers.row.add_(1)


def update_row_in_torch(buffers: RowBuffers, output: Tensor) -> None:
    """Do a row's arithmetic with torch alone; arguments as `update_row`."""

    def write(stack: Tensor | None, values: Tensor) -> None:
        if stack is not None:
            stack.index_copy_(0, buffers.row, values[None])

    coefficients = buffers.table.index_select(0, buffers.row)[0]
    a, b, z0_from_z, z0_from_output, eps_from_z, eps_from_output = coefficients[: len(COEFFICIENTS)]
    z = buffers.latents.index_select(0, buffers.row)[0]
    halves = output.float().unflatten(0, (-1, len(z)))
    uncond, cond = halves[0], halves[-1]  # without guidance these are the same
    guided = uncond + buffers.guidance_scale * (cond - uncond)

    buffers.outputs.index_copy_(0, buffers.slot.index_select(0, buffers.row), guided[None])
    mixture = torch.tensordot(coefficients[len(COEFFICIENTS) :], buffers.outputs, dims=1)
    base_frame = buffers.base_frame.index_select(0, buffers.row)
    z_next = a * buffers.latents.index_select(0, base_frame)[0] + b * mixture
    buffers.latents.index_copy_(0, buffers.row + 1, z_next[None])
    buffers.feed(z_next)

    write(buffers.z0_hat, z0_from_z * z + z0_from_output * guided)
    write(buffers.guidance, eps_from_output * (cond - uncond))
    write(buffers.eps_uncond, eps_from_z * z + eps_from_output * uncond)
    write(buffers.eps_cond, eps_from_z * z + eps_from_output * cond)
