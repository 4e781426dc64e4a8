"""A linear last stage computes what its layers compute, at every edge and size."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sdloop.model.linear_end import LinearEnd, with_linear_end


def make_end(mode="nearest"):
    torch.manual_seed(0)
    return [
        nn.Upsample(scale_factor=2, mode=mode),
        nn.Conv2d(4, 5, 3, padding=1, bias=False),
        nn.Conv2d(5, 3, 3, padding=1),
    ]


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (6, 7)])
def test_one_convolution_computes_what_the_last_stage_does(size):
    before = nn.Conv2d(2, 4, 3, padding=1)
    layers = nn.Sequential(before, nn.ReLU(), *make_end()).requires_grad_(False)
    x = torch.randn(2, 2, *size)
    expected = layers(x)
    ours = with_linear_end(layers)
    assert isinstance(ours[-1], LinearEnd)
    assert_close(ours(x), expected, rtol=1e-5, atol=1e-6)


def test_stage_that_is_not_linear_stays_as_it_is():
    double, conv, last = make_end()
    for layers in (
        nn.Sequential(double, conv, nn.ReLU(), last),
        nn.Sequential(nn.Identity(), *make_end("bilinear")),
    ):
        assert with_linear_end(layers) is layers
