"""What fits a reader's own images: the command line, Python and a notebook's check agree."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbook.record.parameters import check_values
from synthbook.studies import fit
from synthbook.studies.audit import check_inputs
from synthbook.studies.image_sources import check_data


@given(st.integers(2, 100_000), st.integers(1, 512))
def test_what_fits_is_allowed_and_trains_no_longer_than_it_must(images: int, batch: int) -> None:
    fits, larger = fit.fitting(images, batch), fit.fitting(2 * images, batch)
    checked = check_values("12_not_mutual", fits)
    assert {name: value for name, value in checked.as_dict().items() if name in fits} == fits
    assert fits["epochs"] >= larger["epochs"]


@pytest.mark.parametrize(("images", "batch"), [(1280, 64), (300, 16), (640, 128)])
def test_classifiers_take_some_200_steps_of_any_batch(images: int, batch: int) -> None:
    steps = fit.fitting(images, batch)["epochs"] * ceil(images / batch)
    assert 190 <= steps <= 210


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.npz"
    names = np.array([f"class {k}" for k in range(10)])
    images = np.random.default_rng(0).integers(0, 256, (500, 16, 16, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(500) % 10, names=names)
    return str(path)


@pytest.mark.parametrize(
    ("chapter", "asked", "images"),
    [
        ("12", {}, 300),
        ("12", {"set_size": 90}, 90),
        ("12", {"set_size": 400}, 300),
        ("61", {}, 160),
        ("61", {"train_images": 0}, 300),
    ],
)
def test_images_are_those_that_classifiers_are_trained_on(
    mine: str, chapter: str, asked: dict[str, int], images: int
) -> None:
    assert fit.own_images(check_values(chapter, {"data": mine, **asked})) == images
    assert fit.own_images(check_values(chapter, asked)) == 0


def test_what_fits_goes_by_the_batch_and_leaves_out_what_a_chapter_has_not(mine: str) -> None:
    p = check_values("61", {"data": mine, "batch_size": 16})
    assert fit.fitting_of(p, 160) == {"epochs": 20}
    assert fit.fitting_of(check_values("12", {"data": mine}), 160) == fit.fitting(160)
    assert fit.fitting_of(check_values("51", {}), 160) == {}


@pytest.mark.usefixtures("all_kept")
def test_a_check_tells_what_a_run_would_take_of_own_images_alone(mine: str) -> None:
    asked = {"data": mine, "set_size": 90, "epochs": 10}
    said = str(check_data(check_values("12", asked)))
    assert "\nepochs = 10 are 20 steps on 90 training images; at the scale mini" in said
    assert said.endswith("takes, unless given: -p unconditional= -p epochs=100")
    told = str(check_data(check_values("12", asked | {"unconditional": [], "epochs": 40})))
    assert told.endswith("unless given: -p epochs=100")
    fitted = check_values("12", asked | fit.fitting(90))
    assert "steps on" not in str(check_data(fitted))
    assert "steps on" not in str(check_data(check_values("12", {})))
    asked = {"data": mine, "samples": "gan", "epochs": 20}
    said = check_inputs(check_values("61", asked))
    assert said.endswith("epochs = 20 are 60 steps on 160 training images; at the scale mini "
                         "synthbook run takes, unless given: -p epochs=80")  # fmt: skip
    assert "steps on" not in check_inputs(check_values("61", asked | {"epochs": 80}))
    assert "steps on" not in check_inputs(check_values("61", {}))
