"""A small decoder's last stage in one convolution, where it has no block, and so is linear.

Such a stage doubles the picture, convolves it and turns it into colours. Together that is one
3 x 3 kernel on the small picture for each pixel of a 2 x 2 block (Shi et al. 2016, "Real-time
single image and video super-resolution by sub-pixel convolution", arXiv:1609.05158): a twelfth of
the products. On the outermost pixels, where the second convolution sees zeros, the layers
themselves compute.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIP = 2  # small pixels from an edge on which the outermost pixels depend


class LinearEnd(nn.Module):
    """Computes what `layers` compute, up to the rounding of sums."""

    def __init__(self, double: nn.Upsample, conv: nn.Conv2d, last: nn.Conv2d) -> None:
        """Find the kernels by what the layers make of single pixels.

        Args:
            double: Repeats each pixel in both directions.
            conv: 3 x 3, without a bias.
            last: 3 x 3, with a bias.
        """
        super().__init__()
        self.layers = layers = nn.Sequential(double, conv, last)
        channels, dtype = conv.in_channels, conv.weight.dtype
        layers.float()
        dots = torch.zeros((channels, channels, 5, 5), device=conv.weight.device)
        dots[range(channels), range(channels), 2, 2] = 1
        with torch.inference_mode():
            nothing = layers(torch.zeros_like(dots[:1]))
            made = layers(dots) - nothing
        layers.to(dtype)
        # around the dot: the kernels are turned, as a convolution looks where the dot went
        around = F.pixel_unshuffle(made, 2)[..., 1:4, 1:4].flip(-1, -2)
        self.weight = nn.Parameter(around.transpose(0, 1).to(dtype).clone(), requires_grad=False)
        bias = nothing[0, :, 4, 4].to(dtype).repeat_interleave(4)
        self.bias = nn.Parameter(bias.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Make (n, colours, 2 h, 2 w) of (n, channels, h, w)."""
        large = F.pixel_shuffle(F.conv2d(x, self.weight, self.bias, padding=1), 2)
        large[..., 0, :] = self.layers(x[..., :STRIP, :])[..., 0, :]
        large[..., -1, :] = self.layers(x[..., -STRIP:, :])[..., -1, :]
        large[..., 0] = self.layers(x[..., :STRIP])[..., 0]
        large[..., -1] = self.layers(x[..., -STRIP:])[..., -1]
        return large


def with_linear_end(layers: nn.Sequential) -> nn.Sequential:
    """Put `LinearEnd` in the place of a last stage that has no block.

    Args:
        layers: Of an AutoencoderTiny's decoder.

    Returns:
        Layers that compute the same; the given ones where the last stage has a block.
    """
    *before, double, conv, last = layers
    if not (
        isinstance(double, nn.Upsample)
        and double.mode == "nearest"
        and isinstance(conv, nn.Conv2d)
        and isinstance(last, nn.Conv2d)
    ):
        return layers
    return nn.Sequential(*before, LinearEnd(double, conv, last))
