"""What will run, settled from a config."""

import pickle

import pytest

from sdloop.job.config import RunConfig
from sdloop.job.config_file import load_config
from sdloop.job.plan import Plan, prepare, settle, spread_stages


@pytest.mark.parametrize(("rows", "stages"), [(51, (0, 12, 25, 38, 50)), (2, (0, 1)), (1, (0,))])
def test_spread_stages_reach_from_first_to_last(rows, stages):
    assert spread_stages(rows) == stages


def test_plan_leaves_nothing_open(tiny_config):
    plan = settle(prepare(load_config(tiny_config)))
    assert isinstance(plan, Plan)
    assert (plan.size, plan.latent_shape) == ((64, 64), (4, 8, 8))
    assert (plan.scale, plan.stages, plan.guided, plan.half) == (4, (0, 2, 5), True, False)
    assert (str(plan.device), plan.config.device, plan.config.dtype) == ("cpu", "cpu", "float32")
    assert plan.config.scheduler.type == "pndm"
    assert plan.config.height == plan.config.width == 64


def test_identity_is_what_the_rows_depend_on(tiny_config):
    def identity(*overrides):
        return settle(prepare(load_config(tiny_config, overrides))).identity

    plain = identity()
    shown = ("difference.scale=global", "export.scale=2", "decode.z0_hat=off", "output=elsewhere")
    assert identity(*shown) == plain
    for change in ("seed=4", "prompt=a dog", "guidance_scale=2", "guidance_rescale=1"):
        assert identity(change) != plain


def test_prepared_run_can_be_sent_to_another_process():
    prepared = prepare(RunConfig(prompt="a cat", device="cpu"))
    again = pickle.loads(pickle.dumps(prepared))
    assert again.source == prepared.source
    assert again.table.equals(prepared.table)
    assert len(pickle.dumps(prepared)) < 200_000
