"""Measures of pictures and their differences, where the answer is known in closed form."""

import numpy as np
import pytest
import torch

from sdloop.machine.tf32 import full_float32
from sdloop.show.measure import layout
from sdloop.show.measure.commitment import measure_commitment
from sdloop.show.measure.first_look import first_look
from sdloop.show.measure.frequency import frequency_timeline
from sdloop.show.measure.layout import coarse, correlate, local_detail, luma, object_mask
from sdloop.show.measure.placement import measure_placement


def grey(*levels, size=(1, 1)):
    """Return one grey picture a level."""
    return torch.tensor(levels, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, *size, 3)


def test_a_pixel_settles_where_it_stays_near_its_end():
    paths = {
        (100, 100, 100, 100, 100): 0,  # never left
        (0, 108, 92, 101, 100): 1,  # within the tolerance from frame 1
        (100, 100, 0, 100, 100): 3,  # left again
        (0, 0, 0, 91, 100): 4,  # nine levels off until the end
        (255, 250, 100, 109, 100): 4,
    }
    images = torch.stack([grey(*path)[:, 0, 0] for path in paths], dim=1)[:, None]
    commitment = measure_commitment(images, tolerance=8)
    assert commitment.settled_frame.tolist() == [list(paths.values())]
    np.testing.assert_allclose(commitment.curve, [0.2, 0.4, 0.4, 0.6, 1])
    assert [commitment.frame_of(share) for share in (0.2, 0.21, 0.6, 0.61, 1)] == [0, 1, 3, 4, 4]
    assert [commitment.step_of(share) for share in (0.2, 0.21, 0.6, 0.61)] == [None, 0, 2, 3]
    assert commitment.sentence(0.6) == "60% of the picture had settled by step 2 (steps 0 to 3)"
    assert commitment.sentence(0.2) == "20% of the picture had settled before step 0 (steps 0 to 3)"


def test_one_channel_is_enough_to_be_unsettled_and_nothing_wraps():
    images = torch.zeros(3, 1, 2, 3, dtype=torch.uint8)
    images[0, 0, 0, 2] = 255  # 255 - 0, and 0 - 255, are far apart
    images[-1, 0, 1, 1] = 255
    assert measure_commitment(images).settled_frame.tolist() == [[1, 2]]
    assert measure_commitment(images, tolerance=255).settled_frame.tolist() == [[0, 0]]


@pytest.mark.parametrize("size", [(64, 64), (63, 64), (64, 63), (48, 80)])
def test_bands_sum_to_the_mean_square_of_the_difference(size):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (20, *size, 3), dtype=torch.uint8, generator=generator)
    energy = frequency_timeline(images).energy.sum(axis=0)
    expected = luma(images).double().diff(dim=0).square().mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(energy, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("cycles", "band"),
    [((0, 0), "below 1"), ((0, 1), "1 to 2"), ((3, 0), "2 to 4"), ((3, 3), "4 to 8"),
     ((8, 0), "8 to 16"), ((0, 16), "16 up"), ((32, 32), "16 up")],
)  # fmt: skip
def test_a_wave_lies_in_the_band_of_its_frequency(cycles, band):
    y, x = np.mgrid[:64, :64] / 64
    wave = 100 * np.cos(2 * np.pi * (cycles[0] * y + cycles[1] * x))
    before = np.full((64, 64, 3), 120, dtype=np.uint8)
    after = np.rint(before + wave[..., None]).astype(np.uint8)
    timeline = frequency_timeline(torch.from_numpy(np.stack([before, after, after])))
    assert timeline.names == ("below 1", "1 to 2", "2 to 4", "4 to 8", "8 to 16", "16 up")
    shares = timeline.energy[:, 0] / timeline.energy[:, 0].sum()
    assert shares[timeline.names.index(band)] > 0.999
    np.testing.assert_array_equal(timeline.energy[:, 1], 0)


def test_frequency_is_counted_along_the_shorter_side():
    wave = np.rint(128 + 100 * np.cos(2 * np.pi * np.arange(128) / 32))  # four in 128, two in 64
    images = np.stack([np.full((64, 128, 3), 128.0), np.broadcast_to(wave[:, None], (64, 128, 3))])
    timeline = frequency_timeline(torch.from_numpy(images.astype(np.uint8)))
    assert timeline.names[timeline.energy[:, 0].argmax()] == "2 to 4"


def test_half_rows_are_where_half_of_a_band_is_spent():
    images = grey(0, 10, 20, 20, 30, 30, size=(8, 8))
    timeline = frequency_timeline(images)
    np.testing.assert_allclose(timeline.energy[0], [100, 100, 0, 100, 0], rtol=1e-5)
    assert timeline.half_rows()[0] == 1


def test_detail_of_a_ramp_is_its_slope():
    ramp = torch.arange(0, 60, 3, dtype=torch.uint8)[None, :, None].expand(9, 20, 3)
    for image in (ramp, ramp.transpose(0, 1)):
        np.testing.assert_allclose(local_detail(image)[1:-1, 1:-1], 3, rtol=1e-5)


def disk(size=96, hole=0):
    """Return a dark red disk, with a hole in it, before a blue gradient; and where it is."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    radius = ((y - 50) ** 2 + (x - 45) ** 2).sqrt()
    picture = torch.stack([60 + y // 4, 120 + y // 4, 200 - x // 8], dim=-1)
    picture[(radius < 25) & (radius >= hole)] = torch.tensor([140, 20, 30])
    return picture.to(torch.uint8), radius < 25


@pytest.mark.parametrize("hole", [0, 9])
def test_object_is_found_before_a_gradient_and_filled(hole):
    picture, expected = disk(hole=hole)
    assert torch.equal(object_mask(picture), expected)


def test_tf32_is_off_where_float32_is_convolved_and_multiplied(monkeypatch):
    seen, convolve, multiply = [], torch.nn.functional.conv2d, torch.Tensor.__matmul__

    def noting(function):
        def note(*arguments):
            seen.append((function, torch.backends.cudnn.conv.fp32_precision))
            return function(*arguments)

        return note

    monkeypatch.setattr(layout, "full_float32", lambda device: full_float32(torch.device("cuda")))
    monkeypatch.setattr(torch.nn.functional, "conv2d", noting(convolve))
    monkeypatch.setattr(torch.Tensor, "__matmul__", noting(multiply))
    picture, _ = disk()
    local_detail(picture)
    object_mask(picture)
    assert seen == [(convolve, "ieee"), (multiply, "ieee"), (multiply, "ieee")]
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


def test_a_flat_picture_has_no_object():
    assert not object_mask(grey(77, size=(32, 32))[0]).any()


def test_share_on_the_object_against_its_area():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, :4] = True  # a quarter
    differences = torch.zeros(4, 8, 8)
    differences[0] = 5  # even
    differences[1, :4, :4] = 2  # on the object alone
    differences[2, 4:] = 1  # beside it
    placement = measure_placement(differences, disk(8)[0], mask)
    assert placement.area == 0.25
    np.testing.assert_allclose(placement.object_share, [0.25, 1, 0, np.nan])
    np.testing.assert_allclose(placement.object_enrichment, [1, 4, 0, np.nan])
    empty = measure_placement(differences, disk(8)[0], torch.zeros_like(mask))
    assert np.isnan(empty.object_enrichment).all()


def test_a_difference_like_the_detail_correlates_with_it():
    final, mask = disk()
    detail = local_detail(final)
    differences = torch.stack([2 * detail + 1, -detail, torch.full_like(detail, 3)])
    placement = measure_placement(differences, final, mask)
    np.testing.assert_allclose(placement.detail_correlation, [1, -1, np.nan], atol=1e-5)
    np.testing.assert_allclose(placement.layout_correlation, [1, -1, np.nan], atol=1e-5)


def test_blur_keeps_the_layout_and_loses_the_grain():
    grain = torch.tensor([1.0, -1.0]).repeat(32).expand(64, 64)
    ramp = torch.linspace(0, 1, 64).expand(64, 64)
    maps = coarse(torch.stack([ramp, ramp + grain, ramp.T]))
    assert maps.shape == (3, 16, 16)
    assert coarse(torch.zeros(2, 32, 64)).shape == (2, 16, 32)
    assert coarse(torch.zeros(64, 32)).shape == (32, 16)
    correlations = correlate(maps, maps)
    np.testing.assert_allclose(correlations[0], [1, 1, 0], atol=1e-5)


def test_first_look_of_runs_that_show_their_own_layout():
    generator = torch.Generator().manual_seed(2)
    layouts = torch.rand(6, 32, 32, generator=generator)
    signs = torch.tensor([1, 1, -1, 1, -1, 1]).reshape(-1, 1, 1)
    look = first_look(layouts * 3 * signs + 1, layouts)
    np.testing.assert_allclose(look.own, 1, rtol=1e-5)
    np.testing.assert_array_equal(look.beaten, 1)
    assert np.abs(look.others).max() < 0.2


def test_first_look_of_equal_runs_is_chance():
    generator = torch.Generator().manual_seed(4)
    layouts = torch.rand(1, 32, 32, generator=generator).expand(4, 32, 32)
    look = first_look(layouts, layouts)
    np.testing.assert_array_equal(look.beaten, 0.5)
    np.testing.assert_allclose(look.others, look.own)


def test_first_look_counts_the_controls_alone():
    generator = torch.Generator().manual_seed(3)
    layouts = torch.rand(3, 32, 32, generator=generator)
    differences = layouts[[1, 1, 0]]  # run 1 alone shows its own; run 0 shows run 1's
    control = np.array([[False, False, True], [False, False, True], [True, False, False]])
    look = first_look(differences, layouts, control)
    # run 0's control shows run 0's very layout, better than run 0 does itself
    np.testing.assert_array_equal(look.beaten[:2], [0, 1])
    np.testing.assert_allclose(look.others[0], 1, rtol=1e-5)
