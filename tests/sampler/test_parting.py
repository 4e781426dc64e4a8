"""Where two runs part."""

import torch

from sdloop.sampler.parting import parting_frame


def test_parting_is_the_first_frame_beyond_a_share_of_the_largest_latent():
    ours = torch.zeros(5, 1, 2, 2)
    ours[0, 0, 0, 0] = -8.0
    theirs = ours.clone()
    theirs[2, 0, 1, 1] = 0.007
    theirs[3, 0, 1, 0] = -0.07
    theirs[4] = 0.009  # they come together again, but have parted
    assert parting_frame(ours, theirs, 1e-4) == 2
    assert parting_frame(ours, theirs, 8e-3) == 3
    assert parting_frame(ours, theirs, 1e-2) is None
    assert parting_frame(ours, ours, 0) is None
    theirs[0, 0, 0, 0] = -7.9
    assert parting_frame(ours, theirs, 1e-2) == 0
