"""trajectory.safetensors."""

import json
import math
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sdloop.machine.errors import UserError
from sdloop.sampler.trajectory import (
    METADATA_KEY,
    OPTIONAL,
    READABLE,
    REQUIRED,
    Trajectory,
    digest_of,
)


@pytest.fixture
def trajectory():
    def tensor(*shape):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    return Trajectory(
        tensor(4, 4, 8, 8), tensor(3, 4, 8, 8), torch.tensor([9, 5.25, 1], dtype=torch.float64),
        tensor(3, 4, 8, 8), {"prompt": "ü"}, tensor(3),
    )  # fmt: skip


def test_saved_reads_back_to_the_bit(tmp_path, trajectory):
    path = tmp_path / "trajectory.safetensors"
    trajectory.save(path)
    again = Trajectory.load(path)
    for name in ("latents", "z0_hat", "timesteps", "guidance", "guidance_factor"):
        assert torch.equal(getattr(again, name), getattr(trajectory, name))
    assert again.config == {"prompt": "ü"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["trajectory.safetensors"]


def test_a_file_of_format_3_reads_with_its_whole_timesteps(saved):
    save_again(saved, {"timesteps": torch.tensor([9, 5, 1])}, format_version=3)
    timesteps = Trajectory.load(saved).timesteps
    assert timesteps.dtype == torch.float64
    assert timesteps.tolist() == [9, 5, 1]


def test_saving_twice_gives_the_same_bytes(tmp_path, trajectory):
    trajectory.save(tmp_path / "a.safetensors")
    trajectory.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        Trajectory.load(tmp_path / "trajectory.safetensors")


@pytest.fixture
def saved(tmp_path, trajectory):
    """Return a good file."""
    path = tmp_path / "trajectory.safetensors"
    trajectory.save(path)
    return path


def refusal(path, *arguments):
    """Load a file that is refused, and return the one line."""
    with pytest.raises(UserError) as error:
        Trajectory.load(path, *arguments)
    assert str(error.value).startswith(str(path))
    return str(error.value)


def save_again(path, changed, **facts):
    """Write a good file's tensors and facts with changes, and a hash that fits them."""
    tensors = {name: value for name, value in (load_file(path) | changed).items() if len(value)}
    with safe_open(path, "pt") as file:
        before = json.loads(file.metadata()[METADATA_KEY])
    before.pop("sha256")
    known = {name: tensors[name] for name in (*REQUIRED, *OPTIONAL) if name in tensors}
    written = before | facts
    written["sha256"] = digest_of(written, known)
    save_file(tensors, path, {METADATA_KEY: json.dumps(written)})


@pytest.mark.parametrize("keep", [0, 7, 8, 100, 2000, -1])
def test_truncated_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    assert "is cut short, damaged or not a safetensors file" in refusal(saved)


def test_longer_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    assert "is cut short, damaged or not a safetensors file" in refusal(saved)


@pytest.mark.parametrize(
    ("step", "data_step"), [(9, 801), pytest.param(1, 97, marks=pytest.mark.slow)]
)
def test_every_flipped_bit_is_refused(saved, step, data_step):
    whole = saved.read_bytes()
    header_bits = 8 * (8 + int.from_bytes(whole[:8], "little"))
    for bit in (*range(0, header_bits, step), *range(header_bits, 8 * len(whole), data_step)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(damaged)
        refusal(saved)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("z0_hat", torch.zeros(2, 4, 8, 8), "z0_hat is F32 [2, 4, 8, 8], not F32 [3, 4, 8, 8]"),
        ("latents", torch.zeros(4, 4, 8, 8, dtype=torch.float16), "latents is F16"),
        ("latents", torch.zeros(1, 4, 8, 8), "latents is [1, 4, 8, 8]: not a run's shape"),
        ("latents", torch.zeros(4), "latents is [4]: not a run's shape"),
        ("guidance", torch.zeros(3, 4, 8, 7), "guidance is"),
        ("timesteps", torch.zeros(3), "timesteps is F32 [3], not F64 [3]"),
        ("timesteps", torch.zeros(0), "has no timesteps"),
        ("extra", torch.zeros(1), "holds 'extra', which is not part of a run"),
        ("z0_hat", torch.full((3, 4, 8, 8), torch.nan), "z0_hat holds values that are not finite"),
        ("latents", torch.full((4, 4, 8, 8), torch.inf), "latents holds values that are not"),
    ],
)
def test_wrong_tensors_are_refused_though_the_hash_fits(saved, name, tensor, said):
    save_again(saved, {name: tensor})
    assert said in refusal(saved)


def test_shapes_are_held_against_what_the_run_must_have(saved):
    assert Trajectory.load(saved, (4, 4, 8, 8)).latents.shape == (4, 4, 8, 8)
    for shape in ((5, 4, 8, 8), (4, 4, 8, 16), (4, 8, 8, 8)):
        assert f"not F32 {list(shape)}" in refusal(saved, shape)


def test_absurd_sizes_are_refused_before_a_tensor_is_read(tmp_path):
    # 100,000 steps at 10,000 px: a file without content that claims and, on the disk, has 64 TB
    rows, shape = 100_000, [100_000, 4, 1250, 1250]
    size = 4 * math.prod(shape)
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
    header = json.dumps({"latents": entry}).encode()
    path = tmp_path / "trajectory.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "is cut short, damaged or not a safetensors file" in refusal(path)
    latents = {"dtype": "F32", "shape": [rows + 1, 1, 8, 8], "data_offsets": [0, 25_600_256]}
    z0_hat = {"dtype": "F32", "shape": [rows, 1, 8, 8], "data_offsets": [25_600_256, 51_200_256]}
    times = {"dtype": READABLE[4], "shape": [rows], "data_offsets": [51_200_256, 52_000_256]}
    facts = {METADATA_KEY: json.dumps({"format_version": 4, "config": {}})}
    entries = {"latents": latents, "z0_hat": z0_hat, "timesteps": times, "__metadata__": facts}
    header = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 52_000_256)
    assert "latents is F32 [100001, 1, 8, 8], not F32 [51" in refusal(path, (51, 4, 16, 16))


@pytest.mark.parametrize("version", [None, 0, 2, 6, 99, "3", 3.0, True, [], {}])
def test_other_format_versions_are_refused_by_name(saved, version):
    save_again(saved, {}, format_version=version)
    said = refusal(saved)
    assert f"format_version = {version!r}; this version of sdloop reads 3 and 4" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its metadata is not JSON"),
        ("[]", "its metadata is not a JSON object"),
        ("[" * 50_000, "its metadata is not JSON"),
        ('{"format_version": 4}', "its metadata is not what sdloop writes"),
        ('{"format_version": 4, "config": []}', "its metadata is not what sdloop writes"),
        ('{"config":{},"format_version":4}', "its metadata is not what sdloop writes"),
        ('{"format_version": 4, "config": {}}', "not what its sha256 says"),
        ('{"format_version": 4, "config": {}, "sha256": 1}', "not what its sha256 says"),
    ],
)
def test_hostile_metadata_is_refused(saved, text, said):
    save_file(load_file(saved), saved, {METADATA_KEY: text})
    assert said in refusal(saved)


def test_file_without_metadata_is_refused(saved):
    save_file(load_file(saved), saved)
    assert "format_version = None" in refusal(saved)


def test_what_is_no_file_is_refused(tmp_path):
    assert "not a regular file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in refusal(tmp_path / "fifo")
