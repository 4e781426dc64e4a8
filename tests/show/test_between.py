"""How two runs' pictures differ."""

import numpy as np
import torch

from sdloop.show.between import Between


def test_differences_are_taken_before_rounding_and_in_any_batches():
    rng = torch.Generator().manual_seed(0)
    ours, theirs = 255 * torch.rand((2, 5, 4, 6, 3), generator=rng)
    theirs[0] = ours[0]
    theirs[1] = ours[1] + 0.01  # a fraction of a level
    between = Between("mean")
    between.keep(ours[:3])
    between.keep(ours[3:])
    for picture in theirs:
        between.compare(picture[None])
    expected = (ours.double() - theirs.double()).abs().mean(dim=-1)
    np.testing.assert_allclose(between.values, expected, atol=1e-4)
    assert not between.values[0].any()
    assert 0.009 < between.values[1].min() <= between.values[1].max() < 0.011


def test_runs_of_another_shape_have_no_difference():
    for shape in ((3, 4, 6, 3), (5, 4, 6, 3), (4, 6, 4, 3)):
        between = Between()
        between.keep(torch.zeros(4, 4, 6, 3))
        between.compare(torch.zeros(shape))
        assert between.values is None
    assert Between().values is None
