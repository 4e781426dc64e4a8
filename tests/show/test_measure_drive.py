"""Each step split in three, on walks whose outputs are known."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.sampler.loop import collect, initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import SchedulerSettings
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.measure.drive import Drive, split_steps

SHAPE = (4, 3, 5)
SCALE = 3.5
SAMPLERS = {
    "ddim": {"kind": "ddim"},
    "plms": {"kind": "pndm", "skip_prk_steps": True},
    "prk": {"kind": "pndm", "skip_prk_steps": False},
}


def column(values):
    return torch.from_numpy(values).reshape(-1, 1, 1, 1)


def walk_on(sampler, prediction):
    """Walk a table on random outputs; return it, the frames, and all that went into them."""
    table = make_table(SchedulerSettings(**SAMPLERS[sampler], prediction_type=prediction), 7)
    generator = torch.Generator().manual_seed(5)
    uncond, pull = torch.randn(2, len(table), *SHAPE, generator=generator)
    z = torch.randn(1, *SHAPE, generator=generator)

    def predict(z, row):
        return torch.stack([uncond[row], uncond[row] + pull[row]])

    denoised = collect(walk(predict, table, z, SCALE), z, len(table))
    return table, denoised.latents[:, 0], uncond, pull, denoised.guidance[:, 0]


def close(actual, expected):
    """Compare within the float32 rounding of the frames, which grow to some hundreds."""
    assert_close(actual, expected.double(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_parts_sum_to_the_step(sampler, prediction):
    table, frames, _, _, guidance = walk_on(sampler, prediction)
    drive = split_steps(frames, guidance, table, SCALE)
    assert_close(drive.rescaling + drive.uncond + drive.guidance, frames.double().diff(dim=0))
    for name, share in drive.shares().items():
        assert np.isfinite(share).all(), name
    np.testing.assert_allclose(sum(drive.shares().values()), 1)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_ddim_parts_are_its_own_rows_terms(prediction):
    table, frames, uncond, pull, guidance = walk_on("ddim", prediction)
    drive = split_steps(frames, guidance, table, SCALE)
    close(drive.rescaling, (column(table.a) - 1) * frames[:-1])
    close(drive.uncond, column(table.b) * uncond)
    close(drive.guidance, column(table.b) * SCALE * pull)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_plms_parts_weigh_the_kept_outputs(prediction):
    table, frames, uncond, pull, guidance = walk_on("plms", prediction)
    drive = split_steps(frames, guidance, table, SCALE)
    b = table.b
    first = b[0] * pull[0]
    again = b[1] * (pull[0] + pull[1]) / 2  # row 1 takes row 0's step again, from frame 0
    close(drive.guidance[0], SCALE * first)
    close(drive.guidance[1], SCALE * (again - first))
    close(drive.rescaling[1], (table.a[1] - table.a[0]) * frames[0])
    newest = b[5] * (55 * uncond[5] - 59 * uncond[4] + 37 * uncond[3] - 9 * uncond[2]) / 24
    close(drive.uncond[5], newest)


def test_prk_counts_its_trial_steps_once():
    table, frames, _, pull, guidance = walk_on("prk", "epsilon")
    drive = split_steps(frames, guidance, table, SCALE)
    mean = (pull[0] + 2 * pull[1] + 2 * pull[2] + pull[3]) / 6
    close(drive.guidance[:4].sum(dim=0), SCALE * table.b[3] * mean)
    close(drive.rescaling[:4].sum(dim=0), (table.a[3] - 1) * frames[0])


@pytest.mark.parametrize("rescale", [0.0, 0.7])
@pytest.mark.parametrize("kind", ["models", "v_models"])
def test_parts_of_a_real_walk_are_those_of_its_outputs(kind, rescale, request):
    models = request.getfixturevalue(kind)
    prediction = "v_prediction" if kind == "v_models" else "epsilon"
    table = make_table(SchedulerSettings("ddim", prediction_type=prediction), 6)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a cat"], [""])
    predict = UNetPredictor(models.unet, embeddings, table.timesteps.tolist(), guided=True)
    z = initial_noise([0], 4, 8, 8)
    steps = list(walk(predict, table, z, SCALE, guidance_rescale=rescale))
    trajectory = Trajectory.of_sample(collect(steps, z, len(table)), torch.zeros(6), {})
    frames, factor = trajectory.latents, trajectory.guidance_factor
    drive = split_steps(frames, trajectory.guidance, table, SCALE, None, factor)
    uncond, cond = torch.stack([step.returned for step in steps], dim=1)
    whole = uncond + SCALE * (cond - uncond)
    spread = cond.flatten(1).std(dim=1) / whole.flatten(1).std(dim=1)
    f = (rescale * spread + 1 - rescale).reshape(-1, 1, 1, 1)
    assert (factor is None) == (rescale == 0)
    close(drive.uncond, column(table.b) * f * uncond)
    close(drive.guidance, column(table.b) * f * SCALE * (cond - uncond))
    assert_close(drive.rescaling + drive.uncond + drive.guidance, frames.double().diff(dim=0))


def test_without_guidance_its_part_is_nothing():
    table, frames, uncond, pull, _ = walk_on("ddim", "epsilon")
    drive = split_steps(frames, None, table, 1.0)
    assert not drive.guidance.any()
    close(drive.uncond, column(table.b) * (uncond + SCALE * pull))


def test_shares_and_sizes_of_known_parts():
    one = torch.ones(1, *SHAPE, dtype=torch.float64)
    drive = Drive(-one, 4 * one, one, 0 * one)
    assert {name: share.tolist() for name, share in drive.shares().items()} == {
        "rescaling": [-0.25], "uncond": [1.0], "guidance": [0.25], "noise": [0.0],
    }  # fmt: skip
    assert [float(rms[0]) for rms in drive.rms().values()] == [1, 4, 1, 0]
    still = Drive(one, -one, 0 * one, 0 * one)
    assert np.isnan(list(still.shares().values())).all()


def test_guidance_map_shows_the_place_that_it_moved():
    guidance = torch.zeros(2, *SHAPE, dtype=torch.float64)
    guidance[1, :2, 1, 4] = 3.0  # in two of four channels
    maps = Drive(guidance, guidance, guidance, guidance).guidance_maps()
    expected = np.zeros((2, 3, 5))
    expected[1, 1, 4] = 3 / 2**0.5
    np.testing.assert_allclose(maps, expected, rtol=1e-6)
