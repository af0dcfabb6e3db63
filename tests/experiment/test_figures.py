"""What is drawn is what was measured."""

import io

import numpy as np
import pytest
from PIL import Image

from common.experiment import figures
from common.experiment.results import Results


def test_a_curve_is_the_mean_with_one_deviation_around_it():
    _, axes = figures.panels("title", 1, 1)
    series = np.array([[1.0, 2.0, 4.0], [3.0, 2.0, 8.0]])
    figures.curve(axes[0, 0], series, "arm")
    x, y = axes[0, 0].lines[0].get_data()
    assert x.tolist() == [1, 2, 3]
    assert y.tolist() == [2, 2, 6]
    band = axes[0, 0].collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(6 + np.std([4, 8], ddof=1))
    assert axes[0, 0].lines[0].get_label() == "arm"


def test_one_seed_has_no_band():
    _, axes = figures.panels("title", 1, 1)
    figures.curve(axes[0, 0], np.array([[1.0, 2.0]]), "arm")
    assert not axes[0, 0].collections


def test_runs_that_ended_early_do_not_end_the_mean():
    _, axes = figures.panels("title", 1, 1)
    figures.curve(axes[0, 0], np.array([[1.0, 2.0], [3.0, np.nan]]), "arm")
    assert axes[0, 0].lines[0].get_data()[1].tolist() == [2, 2]


@pytest.mark.parametrize("joined", [True, False])
def test_published_points_are_joined_only_on_one_curve(joined):
    _, axes = figures.panels("title", 1, 1)
    figures.points(axes[0, 0], [1, 2], [3, 4], "book", joined=joined)
    line = axes[0, 0].lines[0]
    assert line.get_marker() == "o"
    assert (line.get_linestyle() == "--") is joined


def test_style_ends_with_its_context():
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    with figures.style():
        assert matplotlib.rcParams["font.size"] == figures.STYLE["font.size"]
    assert matplotlib.rcParams["font.size"] == before


def test_a_mosaic_has_a_panel_for_each_letter():
    figure, axes = figures.mosaic("title", ("AAb", "AAc"), solid="A")
    assert set(axes) == set("Abc")
    assert {letter for letter, panel in axes.items() if hasattr(panel, "plot_surface")} == {"A"}
    assert (figure.get_size_inches() * figure.dpi).tolist() == [1600, 1000]
    figure.canvas.draw()
    wide, narrow = (axes[letter].get_position() for letter in "Ab")
    assert wide.width > 1.2 * narrow.width
    assert wide.height > 1.2 * narrow.height


def test_labels_and_size():
    figure, axes = figures.panels("title", 2, 3)
    assert axes.shape == (2, 3)
    assert (figure.get_size_inches() * figure.dpi).tolist() == [1600, 1000]
    figures.label(axes[1, 2], "panel", "epoch", "cost")
    assert axes[1, 2].get_xlabel() == "epoch"
    assert axes[1, 2].get_ylabel() == "cost"
    assert figure.get_suptitle() == "title"


def test_every_seed_has_its_line_and_all_one_name():
    _, axes = figures.panels("title", 1, 1)
    series = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    figures.lines(axes[0, 0], series, "net", "red", every=10)
    drawn = axes[0, 0].lines
    assert [line.get_ydata().tolist() for line in drawn] == series.tolist()
    assert all(line.get_xdata().tolist() == [10, 20, 30] for line in drawn)
    assert axes[0, 0].get_legend_handles_labels()[1] == ["net"]


def test_a_sheet_that_is_not_full_has_blank_cells():
    sheet = figures.grid(np.zeros((3, 40, 40)), columns=2)
    assert sheet.shape == (84, 84)  # each with its white line around it
    np.testing.assert_array_equal(sheet[42:, 42:], 1)
    for cell in (sheet[:42, :42], sheet[:42, 42:], sheet[42:, :42]):
        np.testing.assert_array_equal(cell[1:-1, 1:-1], 0)


def test_a_png_has_at_most_256_colors():
    figure, axes = figures.panels("title", 1, 1)
    axes[0, 0].imshow(np.random.default_rng(0).uniform(size=(100, 100, 3)))
    with Image.open(io.BytesIO(figures.png(figure))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "P", (1600, 1000))
        assert 100 < len(picture.getcolors()) <= 256


@pytest.mark.parametrize("shape", [(0, 28, 28), (0, 32, 32, 3)])
def test_where_nothing_is_to_be_shown_nothing_is_drawn(shape):
    figure, axes = figures.panels("title", 1, 1)
    figures.triptychs(axes[0, 0], np.zeros(shape), np.zeros(shape), [])
    assert not axes[0, 0].images
    assert figures.png(figure)


def test_curves_draw_each_arm_that_is_named_in_the_color_of_its_place():
    arms = {name: {"seeds": [0], "metrics": {}, "history": {"cost": [[1, 2]]}} for name in "abc"}
    found = Results({"arms": arms})
    _, axes = figures.panels("title", 1, 1)
    figures.curves(axes[0, 0], found, "cost", {"a": "first", "c": "last"}, every=5)
    lines = axes[0, 0].lines
    assert [line.get_label() for line in lines] == ["first", "last"]
    assert [line.get_color() for line in lines] == list(figures.COLORS[:2])
    assert lines[0].get_xdata().tolist() == [5, 10]
    assert axes[0, 0].get_ylabel() == "cost"


def test_rows_of_pictures_are_named_at_their_middle():
    _, axes = figures.panels("title", 1, 1)
    figures.show(axes[0, 0], np.zeros((6, 32, 32)), 2, said=[("a",), ("b",), ("c", "d")])
    words = {text.get_text(): text.get_position()[1] for text in axes[0, 0].texts}
    assert words == pytest.approx({"a": 5 / 6, "b": 1 / 2, "c": 1 / 6, "d": 1 / 6})
