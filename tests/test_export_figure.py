"""Figures of the measures, opened again."""

import imageio.v3 as iio
import numpy as np
import pytest

from sdloop.difference import viridis
from sdloop.export.figure import ColorBar, color_of, draw_color_bar, new_canvas
from sdloop.export.gif import enlarge
from sdloop.export.heat_map import CELL_PX, write_heat_map
from sdloop.export.map import write_map

from .test_export import find_in


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
