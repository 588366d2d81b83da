import base64
import io
import json
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

mpl.use("Agg")
import matplotlib.pyplot as plt

from synthbook.errors import InputError
from synthbook.intervals import interval
from synthbook.page import figures
from synthbook.page.looks import LOOKS, PALETTE, canonical, look
from synthbook.record.published import papers, published

REPOSITORY = Path(__file__).parents[2]


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=int)


def as_matplotlib_saves(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight")
    return pixels(stream.getvalue())


@pytest.fixture
def axes():
    with mpl.rc_context():
        figures.style()
        figure, axes = plt.subplots(figsize=(7, 3))
        yield axes
        plt.close(figure)


def draw_curves(axes):
    generator = np.random.default_rng(0)
    x = np.arange(1, 41)
    for name in ("plain", "Aug", "PG-L1", "PG-KL", "RG"):
        curves = np.sqrt(x) + generator.normal(size=(3, 40))
        figures.band(axes, x, curves, name)
    axes.legend()


def test_a_figure_is_small_white_and_the_same_twice(axes):
    draw_curves(axes)
    data = figures.png(axes.figure)
    assert len(data) < 60_000
    assert data == figures.png(axes.figure)
    assert b"matplotlib" not in data.lower()
    few, full = pixels(data), as_matplotlib_saves(axes.figure)
    assert few[0, 0].tolist() == [255, 255, 255]
    assert 600 <= few.shape[1] <= 900
    # and that it has fewer colours is not seen
    assert full.shape == few.shape
    assert np.abs(full - few).mean() < figures.VISIBLE
    assert (np.abs(full - few) > 24).mean() < 0.002


def test_colour_images_keep_their_colours(axes):
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    figures.image_grid(images, 2, 4, ax=axes)
    assert (pixels(figures.png(axes.figure)) == as_matplotlib_saves(axes.figure)).all()


def test_colours_do_not_depend_on_case_or_separators():
    for one, two in [("PG-KL", "pg_kl"), ("CT LE + CF", "ct-le+cf"), ("Baseline (Aug.)", "aug")]:
        assert figures.color(one) == figures.color(two)
    assert canonical("Baseline (Aug.)") == "baseline-aug"


def test_names_within_a_study_look_different():
    studies = [
        ["plain", "Aug", "Adp", "PG-L1", "PG-KL", "PG-R", "PG-F", "RG", "RG+PG-R+PG-F", "ASG",
         "CSG", "DANN", "ADDA", "DADA", "LTDA", "A-GEM"],
        ["real", "diffusion", "gan", "real+diffusion", "real+gan"],
        ["CLIP zero-shot", "CT B", "CT LE", "CT LE+CF", "CT LE+CF+SCE", "CT", "CT RF", "CT RG"],
        ["From scratch", "TransferGAN", "FreezeD", "DiffAugment", "DIP-Vgg16", "DIP-SimCLR",
         "BSA", "MineGAN", "SSGAN", "Self-Cond GAN"],
        ["PinkNoise", "Primitives", "Primitives-S", "Primitives-PS"],
        ["p_c = c", "p_c = c, h_c", "p_c = c, d_c", "p_c = c, h_c inside b"],
    ]  # fmt: skip
    for names in studies:
        drawn = [look(name) for name in names]
        assert len({(one.color, one.marker, one.line) for one in drawn}) == len(names)
        shapes = {(one.marker, one.line) for one in drawn}
        assert len(shapes) >= len(names) - 4  # mostly readable without colour


def test_a_mixture_looks_like_its_parts():
    mixed = look("Real+GAN")
    assert mixed == (figures.color("gan"), figures.mark("gan")["marker"], "--", "real + GAN")
    both = look("FreezeD + DIP-SimCLR")
    assert (both.color, both.marker) == (figures.color("FreezeD"), look("DIP-SimCLR").marker)
    assert both.label == "FreezeD + DIP (SimCLR)"


def test_every_look_is_of_a_name_in_rows_papers_or_chapters():
    known = {name for table in map(published, papers()) for name in (*table.method, *table.source)}
    for path in (REPOSITORY / "results").glob("*/*.jsonl"):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        known |= {row[field] for row in rows for field in ("method", "train", "test", "backbone")}
    for path in (REPOSITORY / "notebooks").glob("*.py"):
        known |= set(re.findall(r'"([^"\n]+)"', path.read_text(encoding="utf-8")))
    known |= {part for name in known for part in name.split("+")}
    assert set(LOOKS) <= set(map(canonical, known))


def test_a_new_name_has_a_look_that_stays():
    look = figures.mark("a method of tomorrow")
    assert look == figures.mark("A method of tomorrow")
    assert look["color"] in PALETTE
    assert figures.label("A method of tomorrow") == "A method of tomorrow"
    known = {figures.color(name) for name in ("real", "diffusion", "gan")}
    assert {figures.color(f"new {k}") for k in range(60)} == {*PALETTE} - known


def test_every_look_can_be_drawn_and_seen_on_white():
    for one in LOOKS.values():
        assert one.marker in mpl.lines.Line2D.markers
        assert one.line in mpl.lines.lineStyles
        assert one.label
    for color in {*PALETTE, *(one.color for one in LOOKS.values())}:
        assert min(mpl.colors.to_rgb(color)) < 0.4 or color == "#7F7F7F" or color == "#CC79A7"


def test_band_is_mean_and_deviation(axes):
    curves = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 7.0]])
    figures.band(axes, [1, 2, 3], curves, "gan")
    assert axes.lines[0].get_ydata().tolist() == [2.0, 2.0, 5.0]
    assert axes.lines[0].get_label() == "GAN"
    assert axes.lines[0].get_color() == figures.color("gan")
    edge = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert edge.max() == pytest.approx(5 + np.std([3, 7], ddof=1))
    figures.band(axes, [1, 2], np.array([1.0, 2.0]), "gan", linestyle=":", label="mine")
    assert len(axes.collections) == 1  # one seed has no band
    assert (axes.lines[1].get_linestyle(), axes.lines[1].get_label()) == (":", "mine")


def test_dots_and_interval_show_every_seed_and_the_interval_of_their_mean(axes):
    values = [1.0, 4.0, 2.5]
    assert figures.dots_and_interval(axes, 3, values, "#0072B2", "^") == interval(values)
    dots, bar, mean = axes.lines
    assert dots.get_xdata().tolist() == values
    assert set(dots.get_ydata()) != {3}
    assert tuple(bar.get_xdata()) == interval(values)[1:]
    assert (mean.get_xdata(), mean.get_ydata(), mean.get_marker()) == ([2.5], [3], "^")
    figures.dots_and_interval(axes, 4, [7.0], "#0072B2")
    assert np.isnan(axes.lines[4].get_xdata()).all()  # one seed has no interval


def test_seeds_lie_as_far_below_their_bar_as_is_asked(axes):
    figures.dots_and_interval(axes, 3, [1.0, 4.0], "#0072B2", below=0.125)
    assert axes.lines[0].get_ydata().tolist() == [3.125, 3.125]


def test_differences_are_told_by_the_side_of_zero_on_which_their_interval_lies():
    found = {"a": [-2.0, -2.1, -1.9], "b": [-1.0, 2.0, 0.1], "c": [3.0], "d": [], "e": [-5, -5.5]}
    assert figures.sides(found, "less", "more") == "less for a, e, open for b, c"
    assert figures.sides({"a": [2.0, 2.1, 1.9]}, "less", "more") == "more for a"
    assert figures.sides({}, "less", "more") == ""


def test_a_level_stands_in_the_band_of_its_interval(axes):
    figures.level(axes, [])
    figures.level(axes, [2.0], linestyle=":", label="mine")
    (line,) = axes.lines
    assert (line.get_ydata()[0], line.get_linestyle(), line.get_label()) == (2, ":", "mine")
    assert not axes.patches  # one seed has no band
    figures.level(axes, [1.0, 4.0, 2.5])
    band = axes.patches[0].get_bbox()
    assert (band.y0, band.y1) == pytest.approx(interval([1.0, 4.0, 2.5])[1:])


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([2050, 4300], ["2100", "2400", "2700", "3000", "3300", "3600", "3900", "4200"]),
        ([980, 4800], ["1000", "1500", "2000", "3000", "5000"]),
        ([0.9, 1200], ["1", "2", "5", "10", "20", "50", "100", "200", "500", "1000"]),
        ([0.001, 0.01], ["0.001", "0.0015", "0.002", "0.003", "0.005", "0.007", "0.01"]),
    ],
)
def test_a_logarithmic_axis_has_numbers_within_a_decade_too(axes, values, numbers):
    axes.set_yscale("log")
    axes.plot(values)
    figures.numbers_along(axes)
    low, high = axes.get_ylim()
    axes.figure.canvas.draw()
    axis = axes.yaxis
    told = zip(axis.get_ticklocs(), axis.get_majorticklabels(), strict=True)
    assert [text.get_text() for at, text in told if low <= at <= high] == numbers
    assert not axis.get_ticklocs(minor=True).size


def test_differences_have_a_panel_a_source_and_a_line_a_comparison():
    panels = {
        "diffusion": {"a − b": [1.0, 4.0, 2.5], "c − b": [0.0]},
        "gan": {"a − b": [-1.0, -1.0], "c − b": []},
    }
    figure = figures.differences(panels, "points")
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("diffusion", "GAN")
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["a − b", "c − b"]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first comparison is on top
    assert [text.get_text() for text in left.texts] == [
        figures.interval_text(*interval([1.0, 4.0, 2.5])),
        "+0.0",
    ]
    assert [text.get_text() for text in right.texts] == ["−1.0 [−1.0, −1.0]"]
    assert len(right.lines) == 3 + 1  # no line of a comparison without values; and zero
    two = figures.differences(panels, "points", decimals=2)
    assert two.axes[1].texts[0].get_text() == "−1.00 [−1.00, −1.00]"
    plt.close("all")


def test_means_have_their_intervals_as_error_bars(axes):
    groups = [[1.0, 2.0, 6.0], [4.0]]
    figures.means_and_intervals(axes, [10, 20], groups, color="black", label="x")
    (container,) = axes.containers
    assert container.lines[0].get_ydata().tolist() == [3.0, 4.0]
    first, second = container.lines[2][0].get_segments()
    assert tuple(first[:, 1]) == pytest.approx(interval(groups[0])[1:])
    assert np.ptp(second[:, 1]) == 0
    figures.means_and_intervals(axes, [10], [[4.0]])
    assert not axes.containers[1].lines[2]
    figures.means_and_intervals(axes, [], [])
    assert len(axes.containers) == 2


def test_an_interval_in_words():
    assert figures.interval_text(1.04, -0.2, 2.06) == "+1.0 [−0.2, +2.1]"
    assert figures.interval_text(-0.04, float("nan"), float("nan")) == "+0.0"
    assert figures.interval_text(-0.04, -1, 0) == "+0.0 [−1.0, +0.0]"


def test_a_light_sheet_has_few_colours_and_looks_the_same():
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    image = np.stack([4 * x, 4 * y, 2 * (x + y)], -1).astype(np.uint8)
    light = figures.light(image[None] // k for k in (1, 2))
    assert light.shape == (2, 64, 64, 3)
    assert len(np.unique(light.reshape(-1, 3), axis=0)) <= 192
    assert np.abs(light[0].astype(int) - image).mean() < 8
    np.testing.assert_array_equal(figures.light(image[None, ..., :1]), image[None, ..., :1])


def test_a_sheet_is_a_row_of_images_for_each_name():
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    axes = figures.sheet([("gan", images), ("mine", images[::-1])], 3)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["GAN", "mine"]
    shown = axes.images[0].get_array()
    assert shown.shape[1] / shown.shape[0] == pytest.approx(3 / 2, abs=0.1)
    plt.close(axes.figure)


def test_a_sheet_of_nothing_says_so():
    axes = figures.sheet([], 12)
    assert [text.get_text() for text in axes.texts] == ["This run makes none of these images."]
    assert not axes.axison
    plt.close(axes.figure)


def test_the_grid_holds_the_images_in_reading_order(axes):
    images = np.stack([np.full((4, 4, 1), 20 * k, np.uint8) for k in range(5)])
    figures.image_grid(images, 2, 3, titles=["a", "b", "c"], row_titles=["x", "y"], ax=axes)
    sheet = axes.images[0].get_array()
    seen = [tuple(sheet[int(y), int(x)]) for y in axes.get_yticks() for x in axes.get_xticks()]
    assert seen == [(v, v, v) for v in (0, 20, 40, 60, 80, 255)]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["x", "y"]


def test_pixels_are_blown_up_without_new_values(axes):
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3) * 5
    figures.image_grid(image, 1, 1, ax=axes)
    sheet = axes.images[0].get_array()
    assert sheet.shape == (64, 64, 3)
    assert (sheet[8::16, 8::16] == image[0]).all()
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) == 16


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4), np.uint8), np.zeros((2, 3, 4, 4), np.uint8)],
)
def test_other_images_are_refused(images, axes):
    with pytest.raises(InputError, match="give uint8"):
        figures.image_grid(images, 1, 2, ax=axes)


def luminance(color):
    rgb = np.asarray(mpl.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_heatmap_numbers_can_be_read_on_every_cell(axes):
    names = ["real", "gan", "x", "y"]
    matrix = pd.DataFrame(np.linspace(0, 100, 16).reshape(4, 4), names, names)
    matrix.iloc[1, 2] = np.nan
    figures.heatmap(matrix, axes)
    faces = axes.collections[0].get_facecolors()
    shown = [number for number in range(16) if number != 6]  # a gap stays empty
    assert [text.get_text() for text in axes.texts] == [f"{100 / 15 * n:.1f}" for n in shown]
    for text, face in zip(axes.texts, faces[shown], strict=True):
        light, dark = sorted([luminance(text.get_color()), luminance(face)], reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.5, text.get_text()
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks][:2] == ["real", "GAN"]


@pytest.mark.slow
def test_a_kernel_draws_small_plain_pngs():
    import nbformat
    from nbclient import NotebookClient

    source = """
from synthbook.page import figures
figures.style()
import matplotlib.pyplot as plt
import numpy as np
figure, axes = plt.subplots(figsize=(7, 3))
for k, name in enumerate(["real", "gan", "diffusion"]):
    figures.band(axes, range(20), np.random.default_rng(k).normal(size=(3, 20)), name)
axes.legend();
"""
    cells = [nbformat.v4.new_code_cell(text) for text in (source, source)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    pictures = []
    for cell in notebook.cells:
        (output,) = cell.outputs
        assert output["output_type"] == "display_data"
        pictures.append(base64.b64decode(output["data"]["image/png"]))
    assert pictures[0] == pictures[1]
    assert b"Software" not in pictures[0]
    assert len(pictures[0]) < 60_000
