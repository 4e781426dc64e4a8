"""What the runs of one command share."""

import pytest
import torch
from PIL import Image

from sdloop import run as run_module
from sdloop.job import engine as engine_module
from sdloop.job.config import RunConfig
from sdloop.job.engine import Engine
from sdloop.job.plan import prepare, settle
from sdloop.model.find import find
from sdloop.model.weight_files import hash_weights
from sdloop.sampler.trajectory import Trajectory


@pytest.fixture
def loads(monkeypatch):
    """Return the list of models that were loaded so far."""
    loaded, real = [], engine_module.load

    def counting(source, device, dtype):
        loaded.append((source.name, dtype))
        return real(source, device, dtype)

    monkeypatch.setattr(engine_module, "load", counting)
    return loaded


def write_configs(tmp_path, model_folder, **differing):
    """Write two configs that differ in one key; return their paths."""
    paths = []
    for index in range(2):
        path = tmp_path / f"{index}.yaml"
        lines = [f"{key}: {values[index]}" for key, values in differing.items()]
        path.write_text(
            "\n".join(
                [
                    "prompt: a cat",
                    f"model: {model_folder}",
                    f"output: {tmp_path / 'runs' / str(index)}",
                    "scheduler: {num_steps: 3}",
                    "device: cpu",
                    *lines,
                ]
            )
        )
        paths.append(str(path))
    return paths


def test_runs_of_one_command_share_the_loaded_model(tmp_path, model_folder, loads):
    assert run_module.main(write_configs(tmp_path, model_folder, seed=(1, 2))) == 0
    assert len(loads) == 1
    first, second = (
        Trajectory.load(tmp_path / f"runs/{index}/trajectory.safetensors") for index in range(2)
    )
    assert not torch.equal(first.latents, second.latents)


def test_another_dtype_loads_again(tmp_path, model_folder, loads):
    dtypes = ("float32", "bfloat16")
    assert run_module.main(write_configs(tmp_path, model_folder, dtype=dtypes)) == 0
    assert [dtype for _, dtype in loads] == [torch.float32, torch.bfloat16]


def test_a_shared_model_gives_what_a_fresh_one_gives(tmp_path, model_folder):
    paths = write_configs(tmp_path, model_folder, seed=(1, 2))
    assert run_module.main(paths) == 0
    together = (tmp_path / "runs/1/trajectory.safetensors").read_bytes()
    assert run_module.main([paths[1], "--overwrite"]) == 0
    assert (tmp_path / "runs/1/trajectory.safetensors").read_bytes() == together


def test_hashes_are_those_of_the_weights(model_folder):
    config = RunConfig(prompt="a cat", model=str(model_folder), device="cpu")
    engine = Engine.start(settle(prepare(config)))
    assert engine.weights_sha256.result() == hash_weights(find(str(model_folder)), half=False)


@pytest.mark.slow
def test_compiled_networks_give_the_same_pictures(tmp_path, tiny_config, monkeypatch):
    compiled, real = [], torch.nn.Module.compile

    def by_tracing_alone(module, **options):  # the compiler itself would take minutes
        compiled.append((type(module).__name__, options))
        real(module, backend="eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", by_tracing_alone)
    assert run_module.main([str(tiny_config)]) == 0
    expected = Trajectory.load(tmp_path / "run/trajectory.safetensors").latents
    assert not compiled
    assert run_module.main([str(tiny_config), "compile=true", "--overwrite"]) == 0
    assert {name for name, _ in compiled} == {"UNet2DConditionModel", "Decoder"}
    ours = Trajectory.load(tmp_path / "run/trajectory.safetensors").latents
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    with Image.open(tmp_path / "run/frames.gif") as animation:
        assert animation.n_frames == len(ours)


def test_no_memory_for_the_loop_is_one_line(tiny_config, monkeypatch, capsys):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Engine, "walk", full)
    assert run_module.main([str(tiny_config)]) == 1
    said = capsys.readouterr().err
    assert "denoise: cpu has no memory for 64 x 64 px in float32; 56 x 56 px would fit" in said
