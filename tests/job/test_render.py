"""Saved runs whose model is elsewhere today."""

import shutil

import imageio.v3 as iio
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from sdloop.render import main as render
from sdloop.run import main as run


@pytest.fixture
def moved(tiny_config, tmp_path, model_folder):
    """Make a run with a model, and move the model away; return where it is."""
    shutil.copytree(model_folder, tmp_path / "model")
    assert run([str(tiny_config), f"model={tmp_path / 'model'}"]) == 0
    return (tmp_path / "model").rename(tmp_path / "moved")


def test_run_whose_model_has_moved_is_rendered(moved, tmp_path, capsys):
    before = iio.imread(tmp_path / "run/frames.gif")
    assert render([str(tmp_path / "run")]) == 2
    assert "if the model has moved, set model=<where it is>" in capsys.readouterr().err
    (tmp_path / "run/frames.gif").unlink()
    assert render([str(tmp_path / "run"), f"model={moved}"]) == 0
    np.testing.assert_array_equal(iio.imread(tmp_path / "run/frames.gif"), before)
    assert render([str(tmp_path / "run")]) == 0  # the config knows the place now


def test_another_vae_is_refused(moved, tmp_path, capsys):
    path = moved / "vae/diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 1.5 for name, tensor in load_file(path).items()}, path)
    assert render([str(tmp_path / "run"), f"model={moved}"]) == 2
    assert "is not the VAE that the run was made with" in capsys.readouterr().err
