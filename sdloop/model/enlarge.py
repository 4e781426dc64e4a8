"""Doubling a picture and convolving it, at the size that it has before.

A pixel and its copies meet a 3 x 3 kernel's weights together, so these can be added up first: what
the kernel makes of the doubled picture are four pictures, one for each pixel of a 2 x 2 block, and
each is made by a 2 x 2 kernel from the small one. That is 16 products for 36, and no doubled input.
The same idea: Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?"
(arXiv:1609.07009).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Enlarging(nn.Module):
    """`conv(upsample(x))`, up to the rounding of sums."""

    def __init__(self, conv: nn.Conv2d) -> None:
        """Add up a 3 x 3 convolution's weights; they are summed in float32.

        Args:
            conv: Without a bias, with a padding of one.
        """
        super().__init__()
        kernel = conv.weight.detach().float()
        quarters = [_halved(rows, 3) for rows in _halved(kernel, 2)]
        phases = torch.cat([phase for pair in quarters for phase in pair])
        phases = phases.to(conv.weight.dtype, memory_format=torch.channels_last)
        self.weight = nn.Parameter(phases, requires_grad=False)
        self.channels = conv.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Make (n, channels, 2 h, 2 w) of (n, channels, h, w)."""
        samples, _, height, width = x.shape
        made = F.conv2d(x, self.weight, padding=1)
        shape = (samples, self.channels, 2 * height, 2 * width)
        large = made.new_empty(shape).contiguous(memory_format=torch.channels_last)
        for phase, part in enumerate(made.split(self.channels, dim=1)):
            down, right = divmod(phase, 2)
            own = part[..., down : down + height, right : right + width]
            large[..., down::2, right::2] = own
        return large


def _halved(kernel: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Add up what meets the same pixel: for the first of a pair of pixels, and for the second."""
    before, here, after = kernel.unbind(dim)
    return (
        torch.stack([before, here + after], dim),
        torch.stack([before + here, after], dim),
    )


def enlarge_at_once(layers: nn.Sequential) -> nn.Sequential:
    """Put `Enlarging` in the place of each nearest doubling and the convolution after it.

    Args:
        layers: Is left as it is.

    Returns:
        The layers that compute the same.
    """
    found = list(layers)
    for place, (one, next_one) in reversed(list(enumerate(pairwise(found)))):
        if _doubles(one) and isinstance(next_one, nn.Conv2d) and _is_plain(next_one):
            found[place : place + 2] = [Enlarging(next_one)]
    return nn.Sequential(*found)


def _doubles(layer: nn.Module) -> bool:
    """Tell whether a layer repeats each pixel in both directions."""
    return isinstance(layer, nn.Upsample) and layer.mode == "nearest" and layer.scale_factor == 2


def _is_plain(layer: nn.Conv2d) -> bool:
    """Tell whether a layer is a convolution that `Enlarging` knows."""
    return (
        layer.kernel_size == (3, 3)
        and layer.padding == (1, 1)
        and layer.stride == (1, 1)
        and layer.bias is None
        and layer.groups == 1
    )
