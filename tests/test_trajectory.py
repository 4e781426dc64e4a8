"""trajectory.safetensors."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdloop.errors import UserError
from sdloop.trajectory import FORMAT_VERSION, METADATA_KEY, Trajectory


@pytest.fixture
def trajectory():
    def tensor(*shape):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    return Trajectory(
        tensor(4, 4, 8, 8), tensor(3, 4, 8, 8), torch.tensor([9, 5, 1]), tensor(3, 4, 8, 8),
        None, tensor(3, 4, 8, 8), {"prompt": "ü"},
    )  # fmt: skip


def test_saved_reads_back_to_the_bit(tmp_path, trajectory):
    path = tmp_path / "trajectory.safetensors"
    trajectory.save(path)
    again = Trajectory.load(path)
    for name in ("latents", "z0_hat", "timesteps", "guidance", "eps_cond"):
        assert torch.equal(getattr(again, name), getattr(trajectory, name))
    assert again.eps_uncond is None
    assert again.config == {"prompt": "ü"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["trajectory.safetensors"]


def test_saving_twice_gives_the_same_bytes(tmp_path, trajectory):
    trajectory.save(tmp_path / "a.safetensors")
    trajectory.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        Trajectory.load(tmp_path / "trajectory.safetensors")


@pytest.mark.parametrize("keep", [0, 7, 100, 2000])
def test_truncated_file_is_refused(tmp_path, trajectory, keep):
    path = tmp_path / "trajectory.safetensors"
    trajectory.save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="is damaged"):
        Trajectory.load(path)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("z0_hat", torch.zeros(2, 4, 8, 8), "z0_hat is"),
        ("latents", torch.zeros(4, 4, 8, 8, dtype=torch.float16), "latents is"),
        ("guidance", torch.zeros(3, 4, 8, 7), "guidance is"),
    ],
)
def test_wrong_shapes_and_dtypes_are_refused(tmp_path, trajectory, name, tensor, said):
    path = tmp_path / "trajectory.safetensors"
    trajectory.save(path)
    metadata = {METADATA_KEY: json.dumps({"format_version": FORMAT_VERSION, "config": {}})}
    save_file({**load_file(path), name: tensor}, path, metadata)
    with pytest.raises(UserError, match=said):
        Trajectory.load(path)


@pytest.mark.parametrize("metadata", [None, {METADATA_KEY: '{"format_version": 99}'}])
def test_other_format_versions_are_refused(tmp_path, trajectory, metadata):
    path = tmp_path / "trajectory.safetensors"
    trajectory.save(path)
    save_file(load_file(path), path, metadata)
    with pytest.raises(UserError, match="format_version"):
        Trajectory.load(path)
