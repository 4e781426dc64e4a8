"""The public functions take what people pass, and name an argument of a wrong type."""

from pathlib import Path

import numpy as np
import pytest

import sdloop


def test_texts_are_paths(tiny_config, tmp_path, images):
    config = sdloop.load_config(str(tiny_config))
    assert config == sdloop.load_config(tiny_config)
    assert sdloop.RunFolder("x").folder == Path("x")
    assert sdloop.RunFolder(sdloop.RunFolder("x")).folder == Path("x")
    assert sdloop.find(Path(config.model)) == sdloop.find(config.model)
    sdloop.write_frames(str(tmp_path / "frames"), images)
    sdloop.write_gif(str(tmp_path / "x.gif"), list(images), [100] * len(images))
    sdloop.write_strip(str(tmp_path / "x.png"), images, sdloop.difference_maps(images), [0, 4])
    sdloop.write_steps(str(tmp_path / "x.csv"), {"a": np.ones(2)})
    assert {path.name for path in tmp_path.iterdir()} >= {"frames", "x.gif", "x.png", "x.csv"}


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: sdloop.load_config(3), "path"),
        (lambda: sdloop.load_config(None), "path"),
        (lambda: sdloop.load_config(b"x.yaml"), "path"),
        (lambda: sdloop.load_config("x.yaml", "seed=3"), "overrides"),
        (lambda: sdloop.load_config("x.yaml", [3]), "overrides"),
        (lambda: sdloop.RunFolder(3), "folder"),
        (lambda: sdloop.find(3), "name"),
        (lambda: sdloop.find("bundled", 3), "config_from"),
        (lambda: sdloop.prepare("x.yaml"), "config"),
        (lambda: sdloop.settle(sdloop.RunConfig(prompt="a")), "prepared"),
        (lambda: sdloop.Runner().run("runs/a"), "prepared"),
        (lambda: sdloop.load("bundled", None, None), "source"),
        (lambda: sdloop.render_run(3, []), "folder"),
        (lambda: sdloop.render_page(3, ["a"], []), "path"),
        (lambda: sdloop.render_page("a.html", [3], []), "folders"),
        (lambda: sdloop.write_gif(3, [], []), "path"),
        (lambda: sdloop.write_strip(3, np.zeros((2, 8, 8, 3), np.uint8), None, []), "path"),
        (lambda: sdloop.write_frames(3, []), "folder"),
        (lambda: sdloop.write_steps(3, {}), "path"),
        (lambda: sdloop.read_settings("x"), "config"),
        (lambda: sdloop.make_table("ddim", 5), "settings"),
        (lambda: sdloop.Trajectory.load(3), "path"),
    ],
)
def test_argument_of_a_wrong_type_is_named(call, argument):
    with pytest.raises(TypeError, match=f"^{argument}: must be "):
        call()
