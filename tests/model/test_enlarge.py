"""Enlarging at once computes what doubling and convolving compute."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sdloop.model.enlarge import Enlarging, enlarge_at_once


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 4, 7)])
def test_enlarging_is_doubling_and_convolving(shape):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    x = torch.randn(shape)
    expected = conv(nn.Upsample(scale_factor=2)(x))
    assert_close(Enlarging(conv)(x), expected, rtol=1e-5, atol=1e-6)


def test_only_what_is_known_is_replaced():
    conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)
    layers = nn.Sequential(
        nn.Upsample(scale_factor=2), conv,
        nn.Upsample(scale_factor=2, mode="bilinear"), conv,
        nn.Upsample(scale_factor=4), conv,
        nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3, padding=1),
        nn.ReLU(), conv,
    )  # fmt: skip
    x = torch.randn(1, 2, 2, 2)
    at_once = enlarge_at_once(layers)
    assert [type(layer) for layer in at_once].count(Enlarging) == 1
    assert len(at_once) == len(layers) - 1
    assert_close(at_once(x), layers(x), rtol=1e-5, atol=1e-6)
