"""Figures of the measures, opened again."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import SchedulerSettings
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.changes import Changes
from sdloop.show.difference import viridis
from sdloop.show.figure.figure import (
    INK,
    ColorBar,
    color_bar_width,
    color_of,
    draw_color_bar,
    font_of,
    new_canvas,
    text_width,
)
from sdloop.show.figure.heat_map import CELL_PX, write_heat_map
from sdloop.show.figure.map import write_map
from sdloop.show.figure.measures import stills_of, write_measures
from sdloop.show.figure.path import SMALL_PX, write_path
from sdloop.show.figure.sheet import Side, write_sheet
from sdloop.show.film.gif import enlarge
from sdloop.show.measure.path import LatentPath
from sdloop.show.measure.whole_run import measure_run
from tests.show.test_export import find_in


def test_colors_run_from_dark_to_yellow():
    np.testing.assert_array_equal(color_of(np.array([0, 1, -1, 2])), viridis()[[0, 255, 0, 255]])
    canvas, _ = new_canvas(100, 300)
    draw_color_bar(canvas, (5, 5), 256, 10, ColorBar("0", "1", "of 1"))
    np.testing.assert_array_equal(np.asarray(canvas)[5:261, 5], viridis()[::-1])


@pytest.mark.parametrize("heading", ["Short", "A heading that is a good deal wider than its map"])
def test_map_stands_beside_its_picture(tmp_path, heading):
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    shares = np.linspace(0, 1, 6).reshape(2, 3)
    path = tmp_path / "map.png"
    write_map(path, picture, shares, heading, "a caption", ColorBar("0", "9", "steps"), 2)
    figure = iio.imread(path)
    assert find_in(figure, enlarge(picture, 2))
    assert find_in(figure, enlarge(color_of(shares), 16))
    assert (figure[:, -1] == 255).all()  # the heading ends before the paper does


def test_heat_map_has_its_first_line_at_the_bottom(tmp_path):
    matrix = np.array([[1.0, 0.0, 0.2], [0.0, 0.0, 0.5]])
    path = tmp_path / "heat.png"
    write_heat_map(path, matrix, ["low", "high"], [1, 1], "Heading", ("line", "row"), "unit")
    figure = iio.imread(path)
    high, wide = CELL_PX
    for column in (0, 2):  # the marks are in column 1
        cells = color_of(matrix[::-1, [column]])
        assert find_in(figure, cells.repeat(high, axis=0).repeat(wide, axis=1)), column


def test_heat_map_of_nothing_is_dark(tmp_path):
    path = tmp_path / "heat.png"
    write_heat_map(path, np.zeros((1, 2)), ["low"], [0], "Heading", ("line", "row"), "unit")
    high, wide = CELL_PX
    assert find_in(iio.imread(path), np.tile(viridis()[0], (high, wide, 1)))


def measures_of(images, guidance=None):
    """Measure a run of these pictures whose latent never moves."""
    rows = len(images) - 1
    table = make_table(SchedulerSettings("ddim"), rows)
    latents = torch.zeros(rows + 1, 4, 8, 8)
    trajectory = Trajectory(latents, latents[1:], torch.from_numpy(table.timesteps), guidance, {})
    return measure_run(trajectory, table, 2.0, Changes.of(images))


@pytest.mark.parametrize(
    ("settled_frames", "low", "darkest"),
    [((2, 4), "1 or earlier", 2), ((0, 4), "before 0", 0), ((1, 3), "0 or earlier", 1)],
)
def test_commitment_figure_counts_steps_from_0(tmp_path, settled_frames, low, darkest):
    images = torch.zeros(5, 64, 64, 3, dtype=torch.uint8)
    images[settled_frames[0] :, :32] = 90  # the upper half settles in the one frame
    images[settled_frames[1] :, 32:] = 90  # the lower in the other
    measures = measures_of(images)
    write_measures(tmp_path, measures, images[-1].numpy(), [0])
    figure = iio.imread(tmp_path / "commitment.png")
    text_px = 12  # of the labels beside a map of 64 px
    bar = ColorBar(low, "3", "step")
    expected, _ = new_canvas(color_bar_width(text_px, bar), 64)
    draw_color_bar(expected, (0, 0), 64, text_px, bar)
    assert find_in(figure, np.asarray(expected))
    shares = (measures.commitment.settled_frame - darkest) / (4 - darkest)
    assert find_in(figure, color_of(shares))
    heading, draw = new_canvas(text_width(measures.commitment.sentence(), 15), 15)
    draw.text((0, 0), measures.commitment.sentence(), INK, font_of(15), anchor="lt")
    assert find_in(figure, np.asarray(heading))


def test_figures_of_a_run_are_its_stills(tmp_path):
    images = torch.zeros(3, 64, 64, 3, dtype=torch.uint8)
    images[1:, 5] = 200
    unguided = measures_of(images)
    write_measures(tmp_path, unguided, images[-1].numpy(), [0], guided=False)
    names = {still.file for still in stills_of(unguided)}
    assert {path.name for path in tmp_path.iterdir()} == names - {"guidance.png"} | {"steps.csv"}
    guided = measures_of(images, torch.ones(2, 4, 8, 8))
    write_measures(tmp_path, guided, images[-1].numpy(), [0])
    assert {path.name for path in tmp_path.iterdir()} == names | {"steps.csv"}
    settled, *_ = stills_of(guided)
    assert settled.caption == f"{guided.commitment.sentence()}."


def test_caption_stands_below_its_picture(tmp_path):
    cells = [[np.full((128, 128, 3), shade, dtype=np.uint8) for shade in row]
             for row in [(40, 80), (120, 160)]]  # fmt: skip
    sides = Side("", ("a", "b")), Side("k", ("1", "2"))
    write_sheet(tmp_path / "plain.png", cells, "Heading", *sides)
    write_sheet(tmp_path / "x.png", cells, "Heading", *sides, captions=[["", "0.5"], ["", ""]])
    plain, sheet = iio.imread(tmp_path / "plain.png"), iio.imread(tmp_path / "x.png")
    assert sheet.shape[0] > plain.shape[0]
    assert sheet.shape[1] == plain.shape[1]
    for shade in (40, 80, 120, 160):  # no caption covers a picture
        assert (sheet == shade).all(-1).sum() >= 128 * 128
    ys, xs = (axis[[0, -1]] for axis in np.sort(np.nonzero((sheet == 80).all(-1)), axis=1))
    below = sheet[ys[1] + 1 : ys[1] + 21]
    dark = np.nonzero((below < 128).all(-1).any(0))[0]
    assert len(dark) > 0
    assert xs[0] < dark.min() <= dark.max() < xs[1]  # and under no other picture


def test_path_figure_colours_each_frame_by_its_distance_from_the_plane(tmp_path):
    shares = np.array([0.0, 0.5, 1.0])
    path = LatentPath(shares[::-1], shares, np.array([0, 0.3, 0]), shares[::-1], shares, 0.9)
    write_path(tmp_path / "path.png", path, [0, 1])
    figure = iio.imread(tmp_path / "path.png").astype(int)
    farthest, nearest = (abs(figure - viridis()[index]).max(axis=-1) < 30 for index in (255, 0))
    bar = farthest.nonzero()[1].max() - 2 * SMALL_PX  # left of the colour bar
    middle, ends = farthest[:, :bar].nonzero(), nearest[:, :bar].nonzero()
    for axis in (0, 1):
        assert 6 < np.ptp(middle[axis]) < 14  # one dot
        assert ends[axis].min() < middle[axis].min() < middle[axis].max() < ends[axis].max()
