"""The drawn shapes: what is drawn how often, where and how large, and which pixels it covers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import stats

from synthbook.generate.primitives import KINDS, Primitives, draw_shapes, layers, size_range, tops
from synthbook.generate.primitives.raster import Spans, spans, top_shapes
from synthbook.generate.primitives.shapes import CIRCLE, ELLIPSE, LINE, RECTANGLE, slices
from synthbook.randomness import numpy_generator

torch.set_num_threads(1)
MANY = 400
UNLIKELY = 1e-4  # of a test on one fixed seed


def drawn(resolution: int = 256, **recipe):
    recipe = {"variant": "Primitives"} | recipe
    return draw_shapes(Primitives(**recipe), range(MANY), resolution=resolution, seed=0)


def covered(kind: int, geometry, resolution: int = 64) -> np.ndarray:
    """Return which pixels one shape covers."""
    place = torch.tensor([kind]), torch.tensor([geometry], dtype=torch.float64)
    found = spans(*place, torch.tensor([0]), resolution)
    return top_shapes(found, torch.tensor([1]), 1, resolution)[0].numpy() > 0


def pil(draw, resolution: int = 64) -> np.ndarray:
    image = Image.new("1", (resolution, resolution))
    draw(ImageDraw.Draw(image))
    return np.array(image)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return intersection over union, 1 for two empty sets."""
    union = (first | second).sum()
    return (first & second).sum() / union if union else 1.0


def uniform(values: np.ndarray, low: float, high: float) -> bool:
    """Return whether whole numbers look uniform over low..high-1."""
    assert values.min() >= low
    assert values.max() <= high - 1
    spread = values + np.random.default_rng(0).random(values.shape)
    return stats.kstest(spread, stats.uniform(low, high - low).cdf).pvalue > UNLIKELY


@given(
    indices=st.lists(st.integers(0, 30), max_size=12),
    length=st.integers(1, 20),
    data=st.data(),
)
def test_a_slice_is_its_part_of_the_stream_in_every_order(indices, length, data):
    taken = data.draw(st.integers(1, length))
    stream = numpy_generator(3, "a purpose").random(31 * length).reshape(31, length)
    made = slices(3, "a purpose", indices, length=length, taken=taken)
    for index, generator in zip(indices, made, strict=True):
        assert (generator.random(taken) == stream[index, :taken]).all()


def test_far_slices_differ_and_come_back():
    def drawn(*indices: int) -> np.ndarray:
        made = slices(0, "far", indices, length=9024, taken=8)
        return np.stack([generator.random(8) for generator in made])

    far = drawn(2**60, 0, 2**60)
    assert (far[0] == far[2]).all()
    assert (far[0] != far[1]).all()


def test_kinds_are_drawn_as_1_2_2_2():
    counts = np.bincount(drawn().kind.ravel(), minlength=4)
    expected = counts.sum() * np.array([1, 2, 2, 2]) / 7
    assert KINDS == ("line", "circle", "ellipse", "rectangle")
    assert stats.chisquare(counts, expected).pvalue > UNLIKELY


def test_colours_are_uniform_and_independent():
    colour = drawn().colour.reshape(-1, 3).astype(float)
    for channel in colour.T:
        assert uniform(channel, 0, 256)
    assert np.abs(np.corrcoef(colour.T) - np.eye(3)).max() < 0.02


def test_largest_sizes_decay_from_53_to_3():
    low, high = size_range(Primitives(), 256)
    assert (low == 1).all()
    n = np.arange(100)
    assert (high == np.round(51 * (100 - n) / 100 + 2)).all()
    assert (high[0], high[-1]) == (53, 3)


@pytest.mark.parametrize(
    ("policy", "sizes"),
    [("Fix(1/10)", (26, 27)), ("Fix(1/5)", (51, 52)), ("Fix(1/2)", (128, 129)), ("Rand", (1, 129))],
)
def test_other_policies_have_one_range_for_all_shapes(policy, sizes):
    low, high = size_range(Primitives(size_policy=policy), 256)
    assert set(zip(low.tolist(), high.tolist(), strict=True)) == {sizes}
    shapes = drawn(size_policy=policy)
    radius = shapes.geometry[..., 2][shapes.kind == CIRCLE]
    assert uniform(radius, *sizes)


def test_sizes_are_uniform_up_to_the_largest():
    shapes, (_, high) = drawn(), size_range(Primitives(), 256)
    for n in (0, 50):
        kind, geometry = shapes.kind[:, n], shapes.geometry[:, n]
        assert uniform(geometry[kind == CIRCLE, 2], 1, high[n])
        assert uniform(geometry[kind == ELLIPSE, 3], 1, high[n])
        assert uniform(geometry[kind == RECTANGLE, 2], 1, high[n])
        assert uniform(geometry[kind == LINE, 4], 1, high[n])
    ellipse = shapes.geometry[shapes.kind == ELLIPSE]
    assert uniform(ellipse[:, 4], 0, 180)
    circle = shapes.geometry[shapes.kind == CIRCLE]
    assert (circle[:, 2] == circle[:, 3]).all()
    assert (circle[:, 4] == 0).all()


@pytest.mark.parametrize("resolution", [32, 256])
def test_places_are_relative_to_the_resolution(resolution):
    shapes = drawn(resolution)
    for axis in (0, 1):
        place = shapes.geometry[..., axis]
        assert uniform(place[(shapes.kind == CIRCLE) | (shapes.kind == ELLIPSE)], 0, resolution)
        assert uniform(place[shapes.kind == LINE], 0, resolution - 1)
        box = (shapes.kind == RECTANGLE)[:, 7]
        _, high = size_range(Primitives(), resolution)
        assert uniform(place[:, 7][box], 0, resolution - 1 - high[7])


def test_shapes_look_alike_at_every_resolution():
    small, large = (drawn(resolution) for resolution in (64, 256))
    assert (small.kind == large.kind).all()
    assert (small.colour == large.colour).all()
    assert np.abs(small.geometry[..., :2] / 64 - large.geometry[..., :2] / 256).max() < 0.07


def test_the_large_shape_is_near_the_middle():
    shapes = drawn(variant="Primitives-PS")
    kind, geometry = shapes.kind[:, -1], shapes.geometry[:, -1]
    assert stats.chisquare(np.bincount(kind, minlength=4)[1:]).pvalue > UNLIKELY
    assert (kind != LINE).all()
    round_ = kind != RECTANGLE
    for axis in (0, 1):
        assert uniform(geometry[round_, axis], 103, 153)
        assert uniform(geometry[kind == ELLIPSE, 2 + axis], 64, 96)
        assert uniform(geometry[~round_, axis], 32, 128)
        assert uniform(geometry[~round_, 2 + axis], 96, 192)
    assert (geometry[round_, 4] == 0).all()


def test_the_fixed_canvas_loses_lines_and_rectangles_of_small_images():
    """1.6 % of rectangles and, falling as they do there, 5.5 % of lines touch 32 pixels."""
    shapes = drawn(32, quirks=("fixed_canvas", "falling_lines"))

    def touching(kind: int) -> float:
        image, place = np.nonzero(shapes.kind == kind)
        alone = shapes.part(image[:, None], place[:, None])
        return (tops(alone, 32) > 0).flatten(1).any(1).float().mean().item()

    assert abs(touching(RECTANGLE) - 0.016) < 0.005
    assert abs(touching(LINE) - 0.055) < 0.01
    assert touching(CIRCLE) == 1
    same = drawn(256, quirks=("fixed_canvas",))
    assert (same.geometry == drawn(256).geometry).all()


# --- which pixels a shape covers -----------------------------------------------------------------


def test_circles_are_those_of_pil():
    for radius in range(1, 10):
        box = (30 - radius, 31 - radius, 30 + radius, 31 + radius)
        assert (
            covered(CIRCLE, (30, 31, radius, radius, 0))
            == pil(lambda draw, box=box: draw.ellipse(box, fill=1))
        ).all()


def test_rectangles_are_those_of_pil_also_across_the_border():
    for box in ((3, 4, 9, 6), (50, 60, 30, 9), (0, 0, 63, 63), (63, 63, 5, 5)):
        x, y, w, h = box
        theirs = pil(lambda draw, b=(x, y, x + w, y + h): draw.rectangle(b, fill=1))
        assert (covered(RECTANGLE, (*box, 0)) == theirs).all()


def test_ellipses_and_lines_agree_with_pil_and_with_their_formulas():
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    y, x = np.mgrid[:64, :64]
    ellipses, lines = [], []
    for _ in range(150):
        cx, cy, a, b, angle = *rng.integers(10, 54, 2), *rng.integers(3, 14, 2), rng.integers(180)
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        u, v = (x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s
        ours = covered(ELLIPSE, (cx, cy, a, b, angle))
        assert ((u / (a + 0.4)) ** 2 + (v / (b + 0.4)) ** 2 <= 1 + 1e-9).sum() == ours.sum()
        px = cx + a * np.cos(turn) * c - b * np.sin(turn) * s
        py = cy + a * np.cos(turn) * s + b * np.sin(turn) * c
        corners = np.floor(np.stack([px, py], -1) + 0.5).ravel().tolist()
        ellipses.append(overlap(ours, pil(lambda draw, at=corners: draw.polygon(at, fill=1))))

        ends, width = rng.integers(0, 64, 4), int(rng.integers(1, 14))
        ours = covered(LINE, (*ends, width))
        corners = tuple(ends.tolist())
        line = pil(lambda draw, at=corners, w=width: draw.line(at, fill=1, width=w))
        lines.append(overlap(ours, line))
        length = np.hypot(*(ends[2:] - ends[:2]))
        if length > 0 and width > 1:
            step = (ends[2:] - ends[:2]) / length
            along = (x - ends[0]) * step[0] + (y - ends[1]) * step[1] + 1e-6
            across = (y - ends[1]) * step[0] - (x - ends[0]) * step[1] + 1e-6
            inside = (along >= -0.5) & (along <= length + 0.5)
            inside &= (across >= -width / 2) & (across <= width / 2)
            assert (inside == ours).all()
    assert np.mean(ellipses) > 0.95
    assert np.mean(lines) > 0.88


@pytest.mark.parametrize("ends", [(3, 4, 40, 4), (3, 4, 3, 60), (2, 50, 47, 9), (0, 0, 63, 63)])
def test_thin_lines_have_one_pixel_a_step_and_no_holes(ends):
    line = covered(LINE, (*ends, 1))
    steps = max(abs(ends[2] - ends[0]), abs(ends[3] - ends[1]))
    assert line.sum() == steps + 1
    assert line[ends[1], ends[0]]
    assert line[ends[3], ends[2]]


def test_a_line_from_a_point_to_itself_is_a_dot():
    assert covered(LINE, (5, 6, 5, 6, 1)).sum() == 1
    assert covered(LINE, (5, 6, 5, 6, 1))[6, 5]


def test_an_even_thickness_is_that_many_pixels():
    for width in (2, 4, 6):
        assert (covered(LINE, (10, 30, 50, 30, width)).sum(0)[10:51] == width).all()


@pytest.mark.parametrize("count", [1, 100, 255, 256, 1000])
def test_the_last_shape_is_on_top(count):
    """Painter's algorithm, one shape after the other, also beyond the numbers of a byte."""
    recipe = Primitives("Primitives", shapes=count, size_policy="Rand")
    shapes = draw_shapes(recipe, [0, 1], resolution=32, seed=0)
    expected = np.zeros((2, 32, 32), int)
    for image in range(2):
        for n in range(count):
            ours = covered(int(shapes.kind[image, n]), shapes.geometry[image, n].tolist(), 32)
            expected[image][ours] = n + 1
    assert (layers(recipe, 2, resolution=32, seed=0) == expected).all()


def test_spans_of_every_length_and_place_cover_just_their_pixels():
    start, stop = torch.triu_indices(17, 17, offset=0)  # all runs of 16 columns, empty ones too
    owner = torch.arange(len(start))
    image = owner // 16
    images = int(image[-1]) + 1
    found = Spans(owner, owner, start, stop)  # a row each, in images of 16 rows
    top = top_shapes(found, owner % 300 + 1, images, 16).flatten(0, 1)[: len(start)]
    columns = torch.arange(16)
    inside = (columns >= start[:, None]) & (columns < stop[:, None])
    assert (top == torch.where(inside, (owner % 300 + 1)[:, None], 0)).all()
