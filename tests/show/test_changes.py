"""What is kept of pictures that come batch by batch, against float64 on unrounded pictures."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from sdloop.job.config_file import load_config
from sdloop.job.plan import prepare
from sdloop.job.runner import Runner
from sdloop.model.networks import load_vae
from sdloop.model.vae import decode_batches
from sdloop.sampler.loop import collect, initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.show.changes import Changes
from sdloop.show.difference import Reduction, difference_maps, viridis
from sdloop.show.measure.frequency import frequency_timeline

REDUCTIONS: dict[Reduction, object] = {
    "mean": lambda changes: changes.mean(axis=-1),
    "max": lambda changes: changes.max(axis=-1),
    "rms": lambda changes: np.sqrt(np.square(changes).mean(axis=-1)),
}


@pytest.fixture
def pictures():
    """Five pictures that differ by less than a level, after a first that differs by many."""
    generator = torch.Generator().manual_seed(4)
    first, base = (255 * torch.rand(2, 24, 16, 3, generator=generator)).unbind()
    small = 0.6 * torch.randn(4, 24, 16, 3, generator=generator)
    return torch.stack([first, *(base + small.cumsum(dim=0))]).clamp(0, 255)


def in_float64(pictures, reduce):
    """Return the differences' values, without rounding anything."""
    return REDUCTIONS[reduce](np.abs(np.diff(pictures.double().numpy(), axis=0)))


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("sizes", [(5,), (1, 1, 1, 1, 1), (2, 3)])
def test_differences_are_those_of_pictures_that_are_not_rounded(pictures, reduce, sizes):
    changes = Changes(len(pictures), reduce)
    for batch in pictures.split(sizes):
        changes.take(batch)
    np.testing.assert_allclose(changes.values, in_float64(pictures, reduce), atol=1e-4)
    assert torch.equal(changes.images, pictures.round().to(torch.uint8))
    assert torch.equal(changes.first, pictures[0])
    assert torch.equal(changes.final, pictures[-1])
    np.testing.assert_allclose(changes.frequency().energy, frequency_timeline(pictures).energy)
    for scale in ("image", "global"):
        expected = difference_maps(pictures, reduce, scale)
        ours = changes.maps(scale)
        assert torch.equal(ours.indices, expected.indices)
        assert torch.equal(ours.full_scale, expected.full_scale)


def test_what_is_kept_does_not_keep_a_batch_alive(pictures):
    changes = Changes.of(pictures)
    for kept in (changes.first, changes.final):
        assert kept.untyped_storage().nbytes() == kept.nbytes


def test_a_row_can_be_put_right(pictures):
    changes = Changes.of(pictures)
    before, after = torch.rand(2, 24, 16, 3) * 255
    changes.put(2, before, after)
    pair = torch.stack([before, after])
    np.testing.assert_allclose(changes.values[2], in_float64(pair, "mean")[0], atol=1e-4)
    expected = frequency_timeline(pair).energy[:, 0]
    np.testing.assert_allclose(changes.frequency().energy[:, 2], expected, rtol=1e-6)
    others = [0, 1, 3]
    np.testing.assert_allclose(
        changes.values[others], in_float64(pictures, "mean")[others], atol=1e-4
    )


@pytest.mark.parametrize("error", [0.02, 0.1, 0.4])
def test_rows_that_an_error_blurs_are_found(error):
    spreads = torch.logspace(-1, 1, 40)  # of each row's difference, in levels
    generator = torch.Generator().manual_seed(0)
    changes = Changes.of(torch.zeros(len(spreads) + 1, 64, 64, 3))
    changes.values[:] = spreads[:, None, None] * torch.randn(64, 64, generator=generator)
    noise = 2**0.5 * error * torch.randn(changes.values.shape, generator=generator)
    blurred = set(changes.rows_blurred_by(error, 0.99))
    assert 0 < len(blurred) < len(spreads)
    for row, exact in enumerate(changes.values.flatten(1)):
        correlation = np.corrcoef(exact, exact + noise[row].flatten())[0, 1]
        if abs(correlation - 0.99) > 0.002:  # the formula is one of many draws
            assert (row in blurred) == (correlation < 0.99)


def correlations(values, expected):
    """Correlate two stacks of maps row by row."""
    return [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(values, expected, strict=True)]


def test_every_map_of_a_tiny_model_is_the_exact_one(models):
    table = make_table(read_settings(models.source.scheduler), 6)  # PNDM: row 1 corrects
    z = initial_noise([0], 4, 8, 8)
    answer = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    denoised = collect(walk(lambda z, row: answer + 0.01 * z, table, z), z, len(table))
    changes = Changes(len(table) + 1)
    for batch in decode_batches(models.vae, denoised.latents[:, 0]):
        changes.take(batch)
    exact = torch.cat(list(decode_batches(models.vae, denoised.latents[:, 0])))
    expected = in_float64(exact, "mean")
    assert min(correlations(changes.values.numpy(), expected)) >= 0.999
    rounded = in_float64(exact.round(), "mean")
    assert min(correlations(rounded, expected)) < 0.98  # so that the test can fail


@pytest.mark.slow
def test_every_map_of_the_bundled_model_is_the_exact_one(tmp_path):
    """The indices that difference.gif shows, against float64 on float32's pictures."""
    config = load_config(
        "configs/astronaut.yaml", [f"output={tmp_path}/run", "export.scale=1", "device=cpu"]
    )
    prepared = prepare(config)
    run = Runner().run(prepared)
    vae = load_vae(prepared.source, torch.device("cpu"), torch.float32)
    exact = torch.cat(list(decode_batches(vae, run.trajectory.latents)))
    expected = in_float64(exact, "mean")
    colors = iio.imread(run.folder / "difference.gif", index=None)[..., :3].astype(int)
    keys = viridis().astype(int) @ (1, 256, 65536)
    order = np.argsort(keys)
    shown = order[np.searchsorted(keys[order], colors @ (1, 256, 65536))]
    assert shown.shape == expected.shape
    assert min(correlations(shown, expected)) >= 0.999
