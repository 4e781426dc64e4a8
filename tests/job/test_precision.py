"""In which precision frames are decoded, and which maps are taken once more in float32."""

import json
from types import SimpleNamespace

import pytest
import torch

from sdloop import run as run_module
from sdloop.job import precision as precision_module
from sdloop.job.precision import LEAST_CORRELATION, make_exact, needs_float32
from sdloop.model.find import find
from sdloop.model.networks import load_vae
from sdloop.model.vae import decode_batches
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.changes import Changes
from sdloop.show.difference import absolute_difference

STILL, SMALL = 2, 3  # rows: one changes nothing, one very little


@pytest.mark.parametrize(
    ("device_type", "dtype", "expected"),
    [
        ("cpu", torch.float32, False),
        ("cpu", torch.float16, True),
        ("cpu", torch.bfloat16, True),
        ("cuda", torch.float32, False),
        ("cuda", torch.float16, False),
        ("cuda", torch.bfloat16, True),
        ("mps", torch.float16, False),
    ],
)
def test_frames_are_decoded_in_float32_where_half_precision_blurs_or_gains_nothing(
    device_type, dtype, expected
):
    assert needs_float32(device_type, dtype) is expected


def test_a_run_in_half_precision_says_in_which_its_maps_were_decoded(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "dtype=bfloat16"]) == 0
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["dtype"] == "bfloat16"
    expected = {"decoded_in": "float32", "picture_error": None, "again_in_float32": []}
    assert manifest["difference_maps"] == expected
    half = load_vae(find(manifest["model"]), torch.device("cpu"), torch.bfloat16)
    latents = Trajectory.load(tmp_path / "run/trajectory.safetensors").latents
    pictures = torch.cat(list(decode_batches(half, latents, full_precision=True)))
    rows = (tmp_path / "run/steps.csv").read_text().splitlines()
    column = rows[0].split(",").index("difference_mean")
    means = [float(row.split(",")[column]) for row in rows[1:]]
    expected = absolute_difference(pictures, "mean").mean(dim=(1, 2)).tolist()
    assert means == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def latents():
    """Six frames whose rows change much, but for two."""
    latents = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    latents[STILL + 1] = latents[STILL]
    small = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(2))
    latents[SMALL + 1] = latents[SMALL] + 1e-4 * small
    return latents


def test_small_changes_are_decoded_once_more_in_float32(model_folder, latents, monkeypatch):
    monkeypatch.setattr(precision_module, "needs_float32", lambda *_: False)  # as on CUDA
    source = find(str(model_folder))
    vae = load_vae(source, torch.device("cpu"), torch.float16)
    assert vae.dtype == torch.float16
    exact = torch.cat(list(decode_batches(vae, latents, full_precision=True)))
    rough = torch.cat(list(decode_batches(vae, latents)))
    changes = Changes.of(rough)
    found = make_exact(SimpleNamespace(source=source), vae, latents, changes)
    ends = [(rough[end] - exact[end]).square().mean().sqrt().item() for end in (0, -1)]
    assert found.decoded_in == "float16"
    assert found.picture_error == pytest.approx(max(ends), rel=1e-4)
    assert found.again_in_float32 == (STILL, SMALL)
    expected = absolute_difference(exact, "mean")
    again, others = list(found.again_in_float32), [0, 1, 4]
    torch.testing.assert_close(changes.values[again], expected[again], rtol=0, atol=1e-4)
    assert torch.equal(changes.values[others], absolute_difference(rough, "mean")[others])
    for row in (SMALL, *others):
        pair = torch.stack([changes.values[row].flatten(), expected[row].flatten()])
        assert torch.corrcoef(pair)[0, 1] >= LEAST_CORRELATION
    assert [found.map_error(row) > 0 for row in range(5)] == [True, True, False, False, True]
    assert vae.dtype == torch.float16
    assert torch.equal(changes.images, rough.round().to(torch.uint8))


def test_float32_leaves_nothing_to_put_right(models, latents):
    changes = Changes.of(torch.cat(list(decode_batches(models.vae, latents))))
    before = changes.values.clone()
    found = make_exact(SimpleNamespace(source=models.source), models.vae, latents, changes)
    assert (found.decoded_in, found.picture_error, found.again_in_float32) == ("float32", None, ())
    assert found.map_error(0) == 0
    assert torch.equal(changes.values, before)
