"""The distances of scripts/steps_matter.py."""

import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import sdloop

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts_on_the_path(monkeypatch):
    """Find the script as it is found when it is called."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    sys.modules.pop("steps_matter", None)


@pytest.fixture
def run_of(models, model_folder):
    """Return a function that runs DDIM, to no noise at all, on the small random model."""
    saved = dict(sdloop.find(str(model_folder)).scheduler)
    settings = sdloop.read_settings(saved | {"set_alpha_to_one": True}, "ddim")
    embeddings = sdloop.encode_prompts(models.tokenizer, models.text_encoder, ["a cat"], [""])
    z = sdloop.initial_noise([3], 4, 8, 8)

    def run(steps):
        table = sdloop.make_table(settings, num_steps=steps)
        predict = sdloop.UNetPredictor(models.unet, embeddings, table.timesteps, guided=True)
        with torch.inference_mode():
            denoised = sdloop.collect(sdloop.walk(predict, table, z, guidance_scale=3.5), z, steps)
        return sdloop.Trajectory.of_sample(denoised, torch.from_numpy(table.timesteps), {})

    return run


def made(frames, z0_hat):
    """Return a trajectory of constant latents."""
    frames, z0_hat = (
        torch.tensor(values)[:, None, None, None].expand(-1, 4, 2, 2) for values in (frames, z0_hat)
    )
    return sdloop.Trajectory(frames, z0_hat, torch.zeros(len(z0_hat)).double(), None, {})


def test_distances_of_known_latents():
    from steps_matter import compare

    long = made([9.0, 8.0, 6.0, 2.0], [5.0, 3.0, 2.0])
    stop = compare(made([9.0, 7.0, 3.5], [1.0, 1.0]), long)
    assert stop.latents[:, 0, 0, 0].tolist() == [3.5, 3.0, 6.0]
    assert stop.distances == pytest.approx((0.75, 0.5, 2.0))
    assert stop.as_near == 2  # after one step z0_hat is 1.5 off
    assert compare(made([9.0, 2.0], [2.0]), made([9.0, 8.0, 2.0], [5.0, 3.0])).as_near is None


def test_z0_hat_that_leaves_again_is_not_as_near_yet():
    from steps_matter import compare

    long = made([9.0, 8.0, 6.0, 2.0], [2.0, 9.0, 2.0])
    assert compare(made([9.0, 3.0], [1.0]), long).as_near == 3


def test_whole_run_is_no_distance_from_itself(run_of):
    from steps_matter import compare

    run = run_of(4)
    whole = compare(run, run)
    assert whole.distances[0] == whole.distances[2] == 0
    assert whole.distances[1] < 1e-6
    assert_close(run.z0_hat[-1], run.latents[-1], rtol=0, atol=1e-6)


def test_run_of_fewer_steps_is_held_against_the_same_number_of_steps(run_of):
    from steps_matter import compare

    short, long = run_of(2), run_of(4)
    stop = compare(short, long)
    assert_close(stop.latents, torch.stack([short.latents[2], long.z0_hat[1], long.latents[2]]))
    rms = (stop.latents - long.latents[-1]).square().mean((1, 2, 3)).sqrt()
    expected = rms / long.latents[-1].square().mean().sqrt()
    assert_close(torch.tensor(stop.distances), expected, rtol=1e-5, atol=0)
    assert min(stop.distances) > 0.01


def test_sheet_shows_every_picture_with_its_distance(tmp_path, monkeypatch):
    import numpy as np
    import steps_matter

    drawn = []
    monkeypatch.setattr(steps_matter, "write_sheet", lambda *given, **more: drawn.append(
        (given, more)
    ))  # fmt: skip
    long = made([9.0, 8.0, 6.0, 2.0], [5.0, 3.0, 2.0])
    stop = steps_matter.compare(long, long)
    stops = {name: [stop] * 4 for name in steps_matter.SAMPLERS}
    shades = np.arange(24, dtype=np.uint8).reshape(8, 3, 1, 1, 1)
    steps_matter.draw(tmp_path / "x.png", stops, np.broadcast_to(shades, (8, 3, 4, 4, 3)).copy())
    ((_, cells, heading, rows, columns), more) = drawn[0]
    assert np.array(cells)[:, :, 0, 0, 0].T.tolist() == shades.reshape(8, 3).tolist()
    assert more["captions"] == [["0.000"] * 8] * 3
    assert "10" in heading
    assert (len(rows.labels), len(columns.labels)) == (3, 8)
