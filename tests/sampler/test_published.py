"""The sums that diffusers' own tests publish of each scheduler's full loop.

Source: huggingface/diffusers, tests/schedulers/test_scheduler_*.py (`test_full_loop_*`): the mean
of the last sample's absolute values, or their sum, after 10 steps from a known sample through
`sample * t / (t + 1)` as a network. DDIM's is published with clip_sample, which clips nothing here;
DDPM's, which it does clip, is left out. Flows have none.
"""

import dataclasses

import pytest
import torch

from sdloop.sampler.loop import walk
from sdloop.sampler.methods import METHODS, make_table
from sdloop.sampler.scheduler_config import override, read_settings

SHAPE, COUNT = (4, 3, 8, 8), 768
LINEAR = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
LONG = {**LINEAR, "num_train_timesteps": 1100}
DISTILLED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
V, KARRAS = {"prediction_type": "v_prediction"}, {"use_karras_sigmas": True}
ONE, NOT_ONE = ({"set_alpha_to_one": each, "beta_start": 0.01} for each in (True, False))
TO_LEAST = {**LINEAR, "final_sigmas_type": "sigma_min"}
MULTI = {**TO_LEAST, "lower_order_final": False}


def sums_to(published):
    """Say what the mean of all values is, and how close, where their sum is published."""
    return pytest.approx(published / COUNT, abs=1e-2 / COUNT, rel=1e-5)


def averages(published):
    """Say how close a mean is that is published, as diffusers' tests do."""
    return pytest.approx(published, abs=1e-3)


PUBLISHED = [
    ("DDIM", LINEAR, sums_to(172.0067)),
    ("DDIM", LINEAR | V, sums_to(52.5302)),
    ("DDIM", LINEAR | ONE, sums_to(149.8295)),
    ("DDIM", LINEAR | NOT_ONE, sums_to(149.0784)),
    ("PNDM", LINEAR, sums_to(198.1318)),
    ("PNDM", LINEAR | V, sums_to(67.3986)),
    ("PNDM", LINEAR | ONE, sums_to(230.0399)),
    ("PNDM", LINEAR | NOT_ONE, sums_to(186.9482)),
    ("EulerDiscrete", LONG, sums_to(10.0807)),
    ("EulerDiscrete", LONG | V, sums_to(0.0002)),
    ("EulerDiscrete", LONG | KARRAS, sums_to(124.52299499511719)),
    ("EulerAncestralDiscrete", LONG, sums_to(152.3192)),
    ("EulerAncestralDiscrete", LONG | V, sums_to(108.4439)),
    ("HeunDiscrete", LONG, sums_to(0.1233)),
    ("HeunDiscrete", LONG | V, sums_to(4.6934e-07)),
    ("HeunDiscrete", LONG | KARRAS, sums_to(0.00015)),
    ("KDPM2Discrete", LONG, sums_to(20.4125)),
    ("KDPM2Discrete", LONG | V, sums_to(4.6934e-07)),
    ("KDPM2AncestralDiscrete", LONG, sums_to(13979.9433)),
    ("KDPM2AncestralDiscrete", LONG | V, sums_to(331.8133)),
    ("LMSDiscrete", LONG, sums_to(1006.388)),
    ("LMSDiscrete", LONG | V, sums_to(0.0017)),
    ("LMSDiscrete", LONG | KARRAS, sums_to(3812.9927)),
    ("DPMSolverMultistep", MULTI, averages(0.3301)),
    ("DPMSolverMultistep", MULTI | V, averages(0.2251)),
    ("DPMSolverSinglestep", TO_LEAST, averages(0.2791)),
    ("DPMSolverSinglestep", TO_LEAST | V, averages(0.1453)),
    ("UniPCMultistep", TO_LEAST, averages(0.2464)),
    ("UniPCMultistep", TO_LEAST | KARRAS, averages(0.2925)),
    ("UniPCMultistep", TO_LEAST | V, averages(0.1014)),
    ("UniPCMultistep", TO_LEAST | V | KARRAS, averages(0.1966)),
    ("DEISMultistep", LINEAR, averages(0.23916)),
    ("DEISMultistep", LINEAR | V, averages(0.091)),
    ("LCM", DISTILLED, sums_to(197.7616)),
    ("TCD", DISTILLED, sums_to(181.2040)),
]


def told(case):
    return ",".join(map(str, case.values())) if isinstance(case, dict) else None


@pytest.mark.parametrize(("scheduler", "config", "published"), PUBLISHED, ids=told)
def test_full_loop_is_what_diffusers_publishes(scheduler, config, published):
    settings = read_settings(
        {**config, "clip_sample": False, "_class_name": f"{scheduler}Scheduler"}
    )
    settings = override(settings, {"eta": 0.0 if scheduler == "TCD" else None})
    table = make_table(settings, 10)
    if METHODS[settings.kind].scales_noise:  # whose published loops step on from scaled samples
        table = dataclasses.replace(table, a=table.a * table.signal_from, p=table.p * table.signal)
    sample = (torch.arange(COUNT).reshape(3, 8, 8, 4) / COUNT).permute(3, 0, 1, 2)
    generator = torch.Generator().manual_seed(0)
    noise = torch.zeros(len(table), *SHAPE)
    for row in table.c.nonzero()[0]:
        noise[row] = torch.randn(SHAPE, generator=generator)

    def network(z, row):
        t = table.timesteps[row]
        return z * (t / (t + 1))

    *_, last = walk(network, table, table.init * sample, noise=noise)
    assert float(last.z.abs().mean()) == published
