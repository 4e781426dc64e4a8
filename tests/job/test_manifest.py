"""What the manifest says a run was made with."""

from dataclasses import replace

import pytest
import torch

from sdloop.job import manifest
from sdloop.job.config_file import load_config
from sdloop.job.manifest import made_with
from sdloop.job.plan import prepare, settle


@pytest.fixture
def plan(tiny_config, monkeypatch):
    of_cuda = {"cuda": "13.0", "cudnn": "91501", "driver": "580.65.06"}
    monkeypatch.setattr(manifest, "library_versions", lambda: of_cuda)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a card, {device}")
    return settle(prepare(load_config(tiny_config)))


def test_cuda_is_part_of_what_a_run_on_it_was_made_with(plan):
    facts = made_with(replace(plan, device=torch.device("cuda:1")), {})
    assert facts["device_name"] == "a card, cuda:1"
    assert facts["versions"].items() >= {"cudnn": "91501", "driver": "580.65.06"}.items()
    assert facts["versions"]["cuda"] == "13.0"
    assert facts["versions"]["torch"] == torch.__version__


def test_cuda_is_no_part_of_a_run_on_the_cpu(plan):
    versions = made_with(plan, {})["versions"]
    assert versions["torch"] == torch.__version__
    assert not versions.keys() & {"cuda", "cudnn", "driver"}
