"""What drawn images are like: rows of chapter 51 against what is known of noise and shapes."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from synthbook.data.named import crops, photographs
from synthbook.errors import InputError
from synthbook.generate.primitives import (
    QUIRKS,
    VARIANTS,
    Primitives,
    PrimitivesDataset,
    layers,
    synthesize,
)
from synthbook.record.parameters import check_values
from synthbook.studies import drawn

SMALL = {"resolution": 64, "measured": 10, "exponent_steps": 2}
WHERE = {"resolution": 64, "seed": 0}


def parameters(**values):
    return check_values("51_synthesizer", SMALL | values)


def by(rows, *names):
    """Return the values of rows by some of their fields."""
    return {tuple(row[name] for name in names): row["value"] for row in rows}


def test_no_two_rows_of_a_seed_are_of_the_same_number(distinct) -> None:
    p = parameters(data="digits")
    rows = distinct([*drawn.synthesizer_rows(p, 0), *drawn.quirk_rows(0)])
    assert len(rows) > 50
    assert {row["method"] for row in rows} == {
        "spectrum", "phase swap", "layers", "visibility", "quirk",
    }  # fmt: skip


def test_real_images_come_first_and_are_of_the_data_that_were_asked_for() -> None:
    images = drawn.measured_images(parameters(variants=["PinkNoise"]), 0, "cpu")
    assert list(images) == [("real", "china"), ("real", "flower"), ("PinkNoise", "drawn")]
    given = drawn.measured_images(parameters(data="digits", variants=["PinkNoise"]), 0, "cpu")
    assert list(given) == [("real", "digits"), ("PinkNoise", "drawn")]
    assert {len(some) for some in [*images.values(), *given.values()]} == {10}


def test_kurtosis_without_phases_is_that_of_noise() -> None:
    kinds = {(name, "drawn"): synthesize(Primitives(name), 10, **WHERE) for name in VARIANTS}
    values = by(drawn.spectrum_rows(kinds, 0), "train", "metric")
    assert all(abs(values[name, "edge_kurtosis_shuffled"] - 3) < 0.3 for name in VARIANTS)
    assert values["PinkNoise", "edge_kurtosis"] < 6 < 10 < values["Primitives", "edge_kurtosis"]
    assert all(-3.5 < values[name, "spectral_slope"] < -0.5 for name in VARIANTS)


def test_the_slope_of_exact_noise_is_its_exponent_and_the_worst_error_is_the_largest() -> None:
    exponents = (0.5, 1.0, 2.0, 3.5)
    *slopes, worst = drawn.slope_rows(exponents, 8, resolution=256, seed=0)
    values = by(slopes, "exponent", "noise")
    errors = [abs(values[a, "exact"] + a) for a in exponents]
    assert worst["value"] == max(errors) < 0.1
    assert values[3.5, "bytes"] > -2.5  # rounding flattens what is steep


def test_a_swapped_photograph_is_like_its_phase() -> None:
    rows = list(drawn.phase_rows(crops(photographs(), 10, 128, 0), 0))
    assert {row["dataset"] for row in rows} == {"china", "flower"}
    values = by(rows, "dataset", "metric")
    assert 1 > values["china", "like_phase"] > values["china", "like_amplitude"] > 0


def test_more_shapes_cover_more_and_decay_leaves_most_in_sight() -> None:
    rows = list(drawn.layer_rows(100, 10, **WHERE))
    covered = by((r for r in rows if r["metric"] == "covered"), "study", "size_policy", "n_shapes")
    counts = [covered["count", "Decay", n] for n in drawn.SHAPE_COUNTS]
    assert counts[0] == 0
    assert counts == sorted(counts)
    seen = by((r for r in rows if r["metric"] == "visible"), "study", "size_policy", "n_shapes")
    assert ("count", "Decay", 0) not in seen
    assert seen["policy", "Decay", 100] > 0.8 > 0.5 > seen["policy", "Fix(1/2)", 100]


def test_a_hundred_shapes_hide_the_ground_of_small_images_and_the_usual_number_does_not() -> None:
    rows = list(drawn.resolution_rows(50, seed=0))
    values = by(rows, "metric", "resolution", "n_shapes")
    grounds = [values["visible_ground", side, 100] for side in drawn.SIDES]
    assert grounds == sorted(grounds)
    assert grounds[0] < 0.06 < 0.2 < values["visible_ground", 16, 30]
    assert values["visible_shapes", 16, 30] > 0.6 > values["visible_shapes", 16, 100]
    assert values["visible_ground", 32, 100] < 0.2 < values["visible_ground", 32, 50]
    assert abs(values["visible_ground", 32, 50] - values["visible_ground", 256, 100]) < 0.06
    assert {(side, n) for _, side, n in values if side >= 64} == {(64, 100), (256, 100)}


def test_visible_ground_is_counted_outside_the_large_shape() -> None:
    for name, shapes in (("Primitives-PS", 0), ("PinkNoise", 100)):
        found = drawn.visibility(Primitives(name, shapes=shapes), 5, **WHERE)
        assert found == {"visible_ground": 1.0}
    recipe = Primitives("Primitives", shapes=5)
    top = layers(recipe, 20, **WHERE)
    found = drawn.visibility(recipe, 20, **WHERE)
    assert found["visible_ground"] == pytest.approx((top == 0).mean())
    counts = [len(set(np.unique(image)) - {0}) for image in top]
    assert found["visible_shapes"] == pytest.approx(np.mean(counts) / 5)


def test_what_quirks_change() -> None:
    values = by(drawn.quirk_rows(0), "train", "metric", "test")
    assert {quirk for quirk, *_ in values} == set(QUIRKS)
    off, on = (
        {key[:2]: value for key, value in values.items() if key[2] == side}
        for side in ("off", "on")
    )
    assert off.keys() == on.keys()
    ground, lines = (
        ("grey_background", "colourfulness_of_the_ground"),
        ("falling_lines", "lines_down_to_the_right"),
    )
    assert on[ground] == 0 < 50 < off[ground]
    assert 40 < off[lines] < 60 < on[lines] == 100
    boxes = ("fixed_canvas", "rectangles_in_the_image")
    assert on[boxes] < 5 < 99 < off[boxes]
    spread = ("pixel_frequencies", "spread_of_the_noise")
    assert on[spread] < 0.8 * off[spread]
    drawn_twice = ("worker_streams", "images_drawn_twice")
    assert (off[drawn_twice], on[drawn_twice]) == (0, 50)


def test_an_image_grows_from_its_ground_to_itself() -> None:
    steps = drawn.steps(7, **WHERE)
    ground, ten, hundred, last = steps.values()
    assert (last == synthesize(Primitives(), indices=[7], **WHERE)[0]).all()
    assert (ground == synthesize(Primitives("PinkNoise"), indices=[7], **WHERE)[0]).all()
    top = layers(Primitives(), 8, **WHERE)[7]
    assert (hundred[top != 101] == last[top != 101]).all()
    assert (ten == ground).all(-1).mean() > (hundred == ground).all(-1).mean()


def test_swapped_images_keep_the_size_and_look_of_bytes() -> None:
    photograph = synthesize(Primitives("Primitives-S"), 1, resolution=128, seed=0)[0]
    for image in (photograph, photograph[..., :1]):
        made = drawn.swapped(image, side=64, seed=0)
        assert {(x.shape, x.dtype.name) for x in made.values()} == {((1, 64, 64, 3), "uint8")}
        assert all(abs(x.mean() - 128) < 5 for x in list(made.values())[1:])


def test_recipes_follow_the_parameters() -> None:
    p = parameters(shapes=7, size_policy="Rand", exponent_low=1.0, variants=["Primitives-S"])
    assert asdict(drawn.recipes(p, 64)["Primitives-S"]) == asdict(
        Primitives("Primitives-S", shapes=7, size_policy="Rand", exponents=(1.0, 3.5))
    )
    assert "shapes=7" in drawn.check_synthesizer(p)
    assert "digits" in drawn.check_synthesizer(parameters(data="digits"))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"resolution": 100}, "no power of two"),
        ({"resolution": 32}, "64 or more"),
        ({"exponent_low": 3.0, "exponent_high": 2.0}, "lower end first"),
        ({"data": "digit"}, "digits"),
    ],
)
def test_what_cannot_be_drawn_or_measured_is_refused(values, says) -> None:
    with pytest.raises(InputError, match=says):
        drawn.check_synthesizer(parameters(**values))


def test_two_workers_draw_on_one_core_too_and_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    recipe = Primitives("Primitives-S", quirks=("worker_streams",))
    first, second = drawn.by_two_workers(PrimitivesDataset(recipe, 4, resolution=8, seed=0), 2)
    assert (first == second).all()  # of two workers, whose streams are the same
    assert not recwarn.list
