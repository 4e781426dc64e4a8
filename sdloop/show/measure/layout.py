"""A picture's luma, its detail and its object; maps blurred and compared."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sdloop.machine.tf32 import full_float32

LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709, of sRGB's primaries
BORDER_SHARE = 16  # the border is 1/16 of the shorter side wide
LEAST_SPREAD = 5.0  # levels; the covariance of a border of one flat colour has no inverse
COARSE_CELLS = 16  # along the shorter side


def luma(images: Tensor) -> Tensor:
    """Turn colours into brightness.

    Y' = 0.2126 R' + 0.7152 G' + 0.0722 B' of the gamma-coded values (ITU-R BT.709).

    Args:
        images: uint8 or float32 (..., 3), in 8-bit levels.

    Returns:
        float32 (...), in 8-bit levels.
    """
    red, green, blue = (images[..., channel].float() for channel in range(3))
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def local_detail(image: Tensor) -> Tensor:
    """Measure how steeply brightness changes around each pixel, by Sobel's operator.

        |g| = sqrt((S_x * Y')^2 + (S_y * Y')^2),   S_x = [1 2 1]^T [-1 0 1] / 8,  S_y = S_x^T

    Args:
        image: uint8 or float32 (H, W, 3), in 8-bit levels; padded with its own edge pixels.

    Returns:
        float32 (H, W), in levels per pixel; the slope, on a linear ramp.
    """
    padded = F.pad(luma(image)[None, None], (1, 1, 1, 1), mode="replicate")
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=image.device) / 8
    with full_float32(image.device):
        gradient = F.conv2d(padded, torch.stack([sobel, sobel.T])[:, None])
    return gradient[0].square().sum(dim=0).sqrt()


def object_mask(image: Tensor) -> Tensor:
    """Guess where the object is: where the colours differ from those along the border.

        d(x) = sqrt((I(x) - m)^T (C + e^2 1)^-1 (I(x) - m))

    m and C are the mean and covariance of the border's colours (the border is 1/16 of the shorter
    side wide) and e is 5 levels. The object is where d exceeds Otsu's threshold (Otsu 1979); gaps
    that it surrounds are filled. This is a simple guess, the same for every picture: a tree, a
    cloud or the sun counts as object too, and what has the background's colour is missed.

    Args:
        image: uint8 or float32 (H, W, 3), in 8-bit levels.

    Returns:
        bool (H, W); false everywhere in a picture of one colour.
    """
    colors = image.float()
    width = max(1, min(image.shape[:2]) // BORDER_SHARE)
    on_border = torch.ones(image.shape[:2], dtype=torch.bool, device=image.device)
    on_border[width:-width, width:-width] = False
    border = colors[on_border]
    mean = border.mean(dim=0)
    spread = torch.eye(3, device=image.device) * LEAST_SPREAD**2
    offset = colors - mean
    with full_float32(image.device):
        covariance = (border - mean).T @ (border - mean) / len(border) + spread
        # on the CPU, as nine numbers are not worth loading CUDA's solver library
        inverse = torch.linalg.inv(covariance.cpu()).to(image.device)
        distance = ((offset @ inverse) * offset).sum(dim=-1).sqrt()
    return _fill(distance > _otsu_threshold(distance))


def coarse(maps: Tensor) -> Tensor:
    """Blur maps: average them over cells, 16 along the shorter side.

    Args:
        maps: float32 (..., H, W).

    Returns:
        float32 (..., cells down, cells across).
    """
    side = min(maps.shape[-2:])
    down, across = (max(1, round(COARSE_CELLS * size / side)) for size in maps.shape[-2:])
    stack = maps.reshape(-1, 1, *maps.shape[-2:])
    if maps.device.type == "mps":  # there, a side must be a multiple of its cells (torch 2.13)
        stack = stack.cpu()
    cells = F.adaptive_avg_pool2d(stack, (down, across)).to(maps.device)
    return cells.reshape(*maps.shape[:-2], down, across)


def correlate(maps: Tensor, others: Tensor) -> Tensor:
    """Correlate every one of the maps with every one of the others (Pearson, over pixels).

        r = sum_x (m - mean m)(o - mean o) / (|m - mean m| |o - mean o|)

    Args:
        maps: float32 (count, H, W).
        others: float32 (other count, H, W).

    Returns:
        float32 (count, other count), -1 to 1; NaN where a map is constant.
    """
    # not a matrix product, whose rounding over so many pixels is a hundred times coarser
    return (_standardise(maps)[:, None] * _standardise(others)).sum(dim=-1)


def _standardise(maps: Tensor) -> Tensor:
    """Flatten maps to vectors of mean 0 and length 1; NaN where a map is constant."""
    vectors = maps.flatten(1)
    vectors = vectors - vectors.mean(dim=1, keepdim=True)
    lengths = vectors.square().sum(dim=1, keepdim=True).sqrt()
    return vectors / torch.where(lengths > 0, lengths, float("nan"))


def _otsu_threshold(values: Tensor) -> float:
    """Return the value that splits values in two with the largest variance between the halves."""
    ascending = values.flatten().sort().values.cpu().double()
    below = torch.arange(1, len(ascending))
    above = len(ascending) - below
    sums = ascending.cumsum(dim=0)
    gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    return ascending[(below * above * gap.square()).argmax()].item()


def _fill(mask: Tensor) -> Tensor:
    """Fill what the mask surrounds: pixels with mask to the left and right, above and below."""
    filled = torch.ones_like(mask)
    for dim in (0, 1):
        filled &= mask.cumsum(dim) > 0
        filled &= mask.flip(dim).cumsum(dim).flip(dim) > 0
    return filled
