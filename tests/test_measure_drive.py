"""Each step split in three, on walks whose outputs are known."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sdloop.job.sample import denoise
from sdloop.measure.drive import Drive, split_steps
from sdloop.model.text import encode_prompts
from sdloop.sampler.loop import initial_noise
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import SchedulerSettings

SHAPE = (4, 3, 5)
SCALE = 3.5
SAMPLERS = {
    "ddim": {"kind": "ddim"},
    "plms": {"kind": "pndm", "skip_prk_steps": True},
    "prk": {"kind": "pndm", "skip_prk_steps": False},
}


def column(values):
    return torch.from_numpy(values).reshape(-1, 1, 1, 1)


def walk(sampler, prediction):
    """Walk a schedule in float64 on random outputs; return all that went into it."""
    settings = SchedulerSettings(**SAMPLERS[sampler], prediction_type=prediction)
    schedule = make_table(settings, 7)
    generator = torch.Generator().manual_seed(5)
    rows = len(schedule)
    uncond, pull = torch.randn(2, rows, *SHAPE, generator=generator, dtype=torch.float64)
    frames = [torch.randn(SHAPE, generator=generator, dtype=torch.float64)]
    slots = torch.zeros(schedule.num_slots, *SHAPE, dtype=torch.float64)
    for row in range(rows):
        slots[schedule.slot[row]] = uncond[row] + SCALE * pull[row]
        mixture = torch.tensordot(torch.from_numpy(schedule.w[row]), slots, dims=1)
        base = frames[schedule.base_frame[row]]
        frames.append(schedule.a[row] * base + schedule.b[row] * mixture)
    guidance = column(schedule.eps_from_output) * pull
    return schedule, torch.stack(frames), uncond, pull, guidance


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_parts_sum_to_the_step(sampler, prediction):
    schedule, frames, _, _, guidance = walk(sampler, prediction)
    drive = split_steps(frames, guidance, schedule, SCALE)
    assert_close(drive.rescaling + drive.uncond + drive.guidance, frames.diff(dim=0))
    for name, share in drive.shares().items():
        assert np.isfinite(share).all(), name
    np.testing.assert_allclose(sum(drive.shares().values()), 1)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_ddim_parts_are_its_own_rows_terms(prediction):
    schedule, frames, uncond, pull, guidance = walk("ddim", prediction)
    drive = split_steps(frames, guidance, schedule, SCALE)
    assert_close(drive.rescaling, (column(schedule.a) - 1) * frames[:-1])
    assert_close(drive.uncond, column(schedule.b) * uncond)
    assert_close(drive.guidance, column(schedule.b) * SCALE * pull)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_plms_parts_weigh_the_kept_outputs(prediction):
    schedule, frames, uncond, pull, guidance = walk("plms", prediction)
    drive = split_steps(frames, guidance, schedule, SCALE)
    b = schedule.b
    first = b[0] * pull[0]
    again = b[1] * (pull[0] + pull[1]) / 2  # row 1 takes row 0's step again, from frame 0
    assert_close(drive.guidance[0], SCALE * first)
    assert_close(drive.guidance[1], SCALE * (again - first))
    assert_close(drive.rescaling[1], (schedule.a[1] - schedule.a[0]) * frames[0])
    newest = b[5] * (55 * uncond[5] - 59 * uncond[4] + 37 * uncond[3] - 9 * uncond[2]) / 24
    assert_close(drive.uncond[5], newest)


def test_prk_counts_its_trial_steps_once():
    schedule, frames, _, pull, guidance = walk("prk", "epsilon")
    drive = split_steps(frames, guidance, schedule, SCALE)
    mean = (pull[0] + 2 * pull[1] + 2 * pull[2] + pull[3]) / 6
    assert_close(drive.guidance[:4].sum(dim=0), SCALE * schedule.b[3] * mean)
    assert_close(drive.rescaling[:4].sum(dim=0), (schedule.a[3] - 1) * frames[0])


@pytest.mark.parametrize("kind", ["models", "v_models"])
def test_parts_of_a_real_walk_are_those_of_its_outputs(kind, request):
    models = request.getfixturevalue(kind)
    prediction = "v_prediction" if kind == "v_models" else "epsilon"
    schedule = make_table(SchedulerSettings("ddim", prediction_type=prediction), 6)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a cat"], [""])
    denoised = denoise(
        models.unet, schedule, initial_noise([0], 4, 8, 8), embeddings, SCALE, ["eps_uncond"]
    )
    frames = denoised.latents[:, 0].double()
    drive = split_steps(denoised.latents[:, 0], denoised.guidance[:, 0], schedule, SCALE)
    eps = denoised.eps_uncond[:, 0].double()
    outputs = (eps - column(schedule.eps_from_z) * frames[:-1]) / column(schedule.eps_from_output)
    assert_close(drive.uncond, column(schedule.b) * outputs, rtol=1e-4, atol=1e-5)
    assert_close(drive.rescaling + drive.uncond + drive.guidance, frames.diff(dim=0))


def test_without_guidance_its_part_is_nothing():
    schedule, frames, uncond, pull, _ = walk("ddim", "epsilon")
    drive = split_steps(frames, None, schedule, 1.0)
    assert not drive.guidance.any()
    assert_close(drive.uncond, column(schedule.b) * (uncond + SCALE * pull))


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
