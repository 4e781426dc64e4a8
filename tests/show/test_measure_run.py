"""All measures of a run together, in its folder too."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from sdloop import render as render_module
from sdloop import run as run_module
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import SchedulerSettings
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.changes import Changes
from sdloop.show.measure.whole_run import measure_run


def test_columns_and_facts_of_a_known_run():
    table = make_table(SchedulerSettings("ddim"), 3)
    trajectory = Trajectory(
        torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 4, 1, 1), torch.zeros(3, 4, 1, 1),
        torch.from_numpy(table.timesteps), None, {},
    )  # fmt: skip
    images = torch.zeros(4, 8, 8, 3, dtype=torch.uint8)
    images[1:, :4] = 90  # settled by frame 1 above,
    images[3, 4:] = 50  # by frame 3 below
    mask = np.zeros((8, 8), dtype=bool)
    mask[:2] = True
    measures = measure_run(trajectory, table, 1.0, Changes.of(images), mask)
    columns = measures.columns()
    assert {len(column) for column in columns.values()} == {3}
    np.testing.assert_allclose(columns["settled_share"], [0.5, 0.5, 1])
    np.testing.assert_allclose(columns["object_share"], [0.5, np.nan, 0])
    np.testing.assert_allclose(columns["object_enrichment"], [2, np.nan, 0])
    np.testing.assert_array_equal(columns["guidance_part_rms"], 0)
    bands = [column for name, column in columns.items() if name.startswith("energy_")]
    np.testing.assert_allclose(sum(bands), [90**2 / 2, 0, 50**2 / 2], rtol=1e-5)
    assert list(columns)[-3:] == ["base_frame", "tries", "corrects"]
    assert [columns[name].tolist() for name in list(columns)[-3:]] == [[0, 1, 2], [0] * 3, [0] * 3]
    facts = measures.facts()
    assert facts["settled"] == "90% of the picture had settled by step 2 (steps 0 to 2)"
    assert facts["settled_90_step"] == 2
    assert facts["object_area"] == 0.25
    assert facts["half_energy_row"]["below 1"] == 0


def test_a_change_in_one_step_bears_the_same_number_everywhere():
    table = make_table(SchedulerSettings("ddim"), 4)
    latents = torch.zeros(5, 4, 1, 1)
    trajectory = Trajectory(latents, latents[1:], torch.from_numpy(table.timesteps), None, {})
    images = torch.zeros(5, 8, 8, 3, dtype=torch.uint8)
    images[3:] = 90  # step 2 leads to frame 3
    measures = measure_run(trajectory, table, 1.0, Changes.of(images))
    columns, facts = measures.columns(), measures.facts()
    at = columns["row"].tolist().index(2)
    assert columns["difference_mean"].nonzero()[0].tolist() == [at]
    assert columns["settled_share"].tolist() == [0, 0, 1, 1]
    assert facts["settled_90_step"] == facts["half_energy_row"]["below 1"] == 2


def read_columns(folder):
    with (folder / "steps.csv").open() as file:
        lines = list(csv.DictReader(file))
    return {name: [line[name] for line in lines] for name in lines[0]}


def test_mask_and_tolerance_reach_the_measures_and_the_manifest(tiny_config, tmp_path):
    folder = tmp_path / "run"
    assert run_module.main([str(tiny_config)]) == 0
    before = json.loads((folder / "manifest.json").read_text())
    assert before["measures"]["settled"].endswith(" (steps 0 to 5)")
    picture = Image.new("L", (64, 64))
    picture.paste(255, (0, 0, 64, 16))
    picture.save(tmp_path / "mask.png")
    changes = [f"measure.mask={tmp_path / 'mask.png'}", "measure.tolerance=255"]
    assert render_module.main([str(folder), *changes]) == 0
    after = json.loads((folder / "manifest.json").read_text())
    assert after["measures"]["object_area"] == 0.25
    assert after["measures"]["settled_90_step"] is None  # no pixel ever was so far from its end
    assert {**after, "measures": None} == {**before, "measures": None}
    columns = read_columns(folder)
    assert set(columns["settled_share"]) == {"1"}
    quarter = [4 * float(share) for share in columns["object_share"]]
    np.testing.assert_allclose([float(e) for e in columns["object_enrichment"]], quarter)


def test_without_guidance_there_is_no_map_of_it(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "guidance_scale=1"]) == 0
    assert not (tmp_path / "run/guidance.png").exists()
    assert (tmp_path / "run/commitment.png").exists()
    assert set(read_columns(tmp_path / "run")["guidance_part_share"]) == {"0"}


def test_maps_are_the_size_of_the_enlarged_picture(tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), "height=96", "width=64", "export.scale=2"]) == 0
    for name in ("commitment.png", "guidance.png"):
        with Image.open(tmp_path / "run" / name) as figure:
            assert figure.width > 2 * 128
            assert figure.height > 192


@pytest.mark.parametrize(
    ("kind", "told"),
    [("missing", "no such file"), ("text", "is not a picture"), ("size", "allowed: the run's")],
)
def test_a_wrong_mask_is_refused_in_one_line(tiny_config, tmp_path, capsys, kind, told):
    path = tmp_path / "mask.png"
    if kind == "text":
        path.write_text("no picture")
    if kind == "size":
        Image.new("L", (64, 63)).save(path)
    assert run_module.main([str(tiny_config), f"measure.mask={path}", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: measure.mask = {path}: ")
    assert told in error
    assert error.count("\n") == 1
