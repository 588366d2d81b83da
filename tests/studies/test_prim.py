"""Rows of chapter 52, with made-up trainings: what starts where, and what is computed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.networks import create_discriminator, create_generator, save
from synthbook.record.parameters import check_values
from synthbook.studies import few_images, prim

TRANSFER = {
    "parts": ["synthesizers", "sources"],
    "variants": ["PinkNoise", "Primitives-PS"],
    "single_object": ["digits:3"],
}


@pytest.fixture
def rows_of(produced):
    """Return a function from a study to its rows, each of which the chapter may produce."""
    return produced("52_transfer_to_few_images")


@pytest.fixture
def checked(small):
    return lambda **values: check_values("52_transfer_to_few_images", small | TRANSFER | values)


@pytest.fixture
def transfer(checked):
    return lambda **values: prim.Transfer(checked(**values), "cpu")


@pytest.mark.parametrize(
    ("parts", "models"),
    [
        (TRANSFER["parts"], ["scratch", "PinkNoise", "Primitives-PS", "TransferGAN", "FreezeD"]),
        (["sources"], ["scratch", "Primitives-PS", "TransferGAN", "FreezeD"]),
        (["synthesizers"], ["scratch", "PinkNoise", "Primitives-PS"]),
    ],
)
def test_what_is_compared_follows_the_parts(parts, models, checked) -> None:
    assert list(prim.starts(checked(parts=parts))) == models


@pytest.mark.usefixtures("plain_features")
def test_a_job_of_another_process_is_not_done_again(checked, kept_from_elsewhere) -> None:
    p = checked(targets=["digits:4"])
    kept_from_elsewhere(prim.Transfer(p, "cpu"), p, (0, "digits:4", "scratch"))


def test_each_model_starts_from_its_source(trainings, transfer) -> None:
    study = transfer(targets=["digits:3"])
    for model in study.models:
        study.learned(0, "digits:3", model)
    tuned = [more for kind, _, more in trainings if kind == "finetuned"]
    firsts = [more["first"].name if more["first"] else "" for more in tuned]
    assert firsts[0] == ""
    assert "variant='PinkNoise'" in firsts[1]
    assert "variant='Primitives-PS'" in firsts[2]
    assert firsts[3] == firsts[4] == "digits, 0"
    assert [more["recipe"].frozen_blocks for more in tuned] == [0, 0, 0, 0, 2]
    assert {more["recipe"].steps for more in tuned} == {4}
    before = [(source, more) for kind, source, more in trainings if kind == "pretrained"]
    assert {more["recipe"].steps for _, more in before} == {7}
    real = next(source for source, _ in before if isinstance(source, ImageSet))
    both = [study.target(0, "digits:3"), transfer().target(0, "digits:3")]
    threes = {image.tobytes() for few in both for image in few.train.images}
    assert not threes & {image.tobytes() for image in real.images}


def test_objects_are_counted_where_there_is_one(trainings, rows_of, transfer) -> None:
    rows = rows_of(transfer())
    counted = [row for row in rows if row["metric"] == "objects_per_image"]
    assert {row["dataset"] for row in counted} == {"digits:3"}
    assert [row["method"] for row in counted][-1] == "real images"
    assert {row["value"] for row in counted[:-1]} == {0.0}  # of black images
    assert 0.8 < counted[-1]["value"] < 2


def test_rows_are_unique_and_gains_are_those_of_the_best_distances(
    trainings, rows_of, transfer
) -> None:
    rows = rows_of(transfer(seeds=2))
    best = {
        (row["seed"], row["dataset"], row["method"], row["train"]): row["value"]
        for row in rows
        if row["metric"] == "best_fd" and row["against"] == "train"
    }
    gains = [row for row in rows if row["metric"] == "gain"]
    assert len(gains) == 2 * 3 * 4
    for row in gains:
        where = row["seed"], row["dataset"]
        value = 1 - best[*where, row["method"], row["train"]] / best[*where, "scratch", "none"]
        assert row["value"] == pytest.approx(value)
    medians = [row for row in rows if row["metric"] == "median_gain"]
    assert len(medians) == 2 * 4
    for row in medians:
        outside = [
            gain["value"]
            for gain in gains
            if (gain["seed"], gain["method"], gain["train"], gain["domain"])
            == (row["seed"], row["method"], row["train"], "outside")
        ]
        assert len(outside) == 2
        assert row["value"] == pytest.approx(np.median(outside))


def test_the_median_and_the_lowest_gain_are_over_targets_outside() -> None:
    gains = {"a": 0.1, "b": 0.7, "c": 0.2, "in": -9.0}
    made = SimpleNamespace(
        targets=[*gains], over_targets=True, network={"name": "sngan"},
        domain=lambda name: "inside" if name == "in" else "outside",
        models={"scratch": ("scratch", "none"), "drawn": ("finetune", "drawn")},
        _gains=lambda seed, name: {"drawn": gains[name]},
    )  # fmt: skip
    rows = prim.Transfer._over_targets(made, 0)  # type: ignore[arg-type]
    told = {(row["train"], row["metric"]): row["value"] for row in rows}
    assert told == {("drawn", "median_gain"): 0.2, ("drawn", "lowest_gain"): 0.1}


def test_a_median_takes_two_targets_outside(trainings, rows_of, transfer) -> None:
    rows = rows_of(transfer(targets=["china", "digits:3"]))
    assert {row["dataset"] for row in rows} == {"china", "digits:3", "drawn"}


def test_no_median_is_taken_over_other_targets_than_the_scales(
    trainings, rows_of, transfer
) -> None:
    some = {"targets": ["caltech101_original:Faces_easy", "china", "flower"]}
    p = check_values("52_transfer_to_few_images", some, "small")
    study = transfer()
    study.over_targets = prim.Transfer(p, "cpu").over_targets
    assert not study.over_targets
    assert "all outside" not in {row["dataset"] for row in rows_of(study)}


def test_steps_to_95_percent_are_those_of_the_curve(trainings, rows_of, transfer) -> None:
    rows = rows_of(transfer(targets=["china"]))
    curves: dict[str, dict[int, float]] = {}
    steps, share = {}, {}
    for row in rows:
        model = row["train"] + row["method"]
        if row["metric"] == "fd":
            curves.setdefault(model, {})[row["step"]] = row["value"]
        steps |= {model: row["value"]} if row["metric"] == "steps_to_95" else {}
        share |= {model: row["value"]} if row["metric"] == "share_to_95" else {}
    level = min(curves["nonescratch"].values()) / 0.95
    for model, curve in curves.items():
        reached = [step for step, value in curve.items() if value <= level]
        assert steps[model] == (min(reached) if reached else 4 + 2)  # after the last measurement
        assert share[model] == steps[model] / 4
    assert set(steps.values()) == {0, 2, 6}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"image_size": 12}, "image size 12 is not possible"),
        ({"evaluate_every": 5}, "give at most 4"),
        ({"stop_after": 3}, "measured every 2 steps"),
        ({"stop_after": 2, "training_settings": ["schedule=cosine"]}, "'cosine' .* of 4 the"),
        ({"variants": ["PinkNoise"]}, "compares with Primitives-PS"),
        ({"frozen_blocks": 3}, "the discriminator has 2 at 8 pixels"),
        ({"training_settings": ["batch_size=6"]}, "multiple of 4"),
        ({"training_settings": ["batch_sise=8"]}, "did you mean 'batch_size'"),
        ({"training_settings": ["steps=8"]}, "steps is a parameter of its own"),
        ({"network_settings": ["latent"]}, "write NAME=VALUE"),
        ({"network_settings": ["latent=0"]}, "network_settings: latent = '0'"),
        ({"targets": ["chima"]}, "^targets: there is no target 'chima'"),
        ({"real_source": "digit"}, "^real_source: .*digits"),
        ({"quirks": ["fixed_canvas", "worker_streams"]}, "no worker processes draw; leave it out"),
    ],
)
def test_what_chapter_52_cannot_run_is_refused(values, says, checked) -> None:
    with pytest.raises(InputError, match=says):
        prim.check_transfer(checked(**values))


@pytest.fixture
def pair(transfer, tmp_path):
    """Return the folder of a saved pair of the chapter's networks."""
    network = transfer().network
    save(create_generator(**network), tmp_path / "pair", create_discriminator(**network))
    return tmp_path / "pair"


def test_a_saved_pair_stands_for_the_pretraining_on_real_images(
    trainings, transfer, checked, pair
) -> None:
    how = {"pretrain_on": str(pair), "targets": ["china"], "real_source": "nowhere"}
    assert "a pretrained pair of 8 pixels" in prim.check_transfer(checked(**how))
    study = transfer(**how)
    firsts = {model: study.learned_before(0, model) for model in ("TransferGAN", "FreezeD")}
    assert firsts["TransferGAN"] == firsts["FreezeD"] == few_images.adopted(pair)
    assert [kind for kind, *_ in trainings] == []
    study.learned(0, "china", "FreezeD")
    assert trainings[0][2]["first"] == firsts["FreezeD"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"network_settings": ["channels=2", "widest=4", "latent=8", "style=8"]},
            "latent 4, not 8; style",
        ),
        ({"image_size": 16}, "image_size 8, not 16"),
        ({"pretrain_on": "nowhere"}, "nowhere holds no pair of networks"),
    ],
)
def test_a_pair_of_other_networks_is_refused_before_work(values, says, checked, pair) -> None:
    with pytest.raises(InputError, match=says):
        prim.check_transfer(checked(**{"pretrain_on": str(pair)} | values))


def test_a_training_that_is_stopped_has_the_first_part_of_the_curve(transfer) -> None:
    how = {"targets": ["digits:4"], "parts": ["synthesizers"], "variants": ["Primitives-PS"]}
    curves = []
    for stop_after in (2, 0):
        study = transfer(stop_after=stop_after, **how)
        rows = [row for job in study.jobs for row in study.rows(*job)]
        curves.append({(r["method"], r["step"]): r["value"] for r in rows if r["metric"] == "fd"})
        assert ({row["metric"] for row in rows} == {"fd"}) == bool(stop_after)
    short, whole = curves
    assert {step for _, step in short} == {0, 2}
    assert {step for _, step in whole} == {0, 2, 4}
    assert short.items() <= whole.items()


def test_the_number_of_shapes_is_by_resolution_or_as_given(transfer, rows_of, trainings) -> None:
    for asked, number in ((-1, 30), (7, 7)):
        study = transfer(shapes=asked, quirks=["falling_lines"], targets=["china"])
        assert {recipe.shapes for recipe in study.recipes.values()} == {number}
        assert {recipe.quirks for recipe in study.recipes.values()} == {("falling_lines",)}
        seen = [row for row in rows_of(study) if row["metric"] == "visible_ground"]
        assert [row["train"] for row in seen] == ["PinkNoise", "Primitives-PS"]
        assert seen[0]["value"] == 1 > seen[1]["value"] > 0


@pytest.mark.parametrize(
    ("history", "share", "late"),
    [
        ({0: 80, 3: 50, 6: 40, 9: 30}, 1, 0.25),  # step 6 is no part of the last third
        ({0: 80, 6: 40, 7: 20, 9: 30}, 7 / 9, 0.5),
        ({0: 80, 3: 20, 6: 40, 9: 30}, 1 / 3, 0),
    ],
)
def test_a_late_gain_is_what_the_last_third_saved_of_the_best_distance(
    history, share, late, tmp_path
) -> None:
    told = {step: {"train": float(v), "held_out": 100.0 - v} for step, v in history.items()}
    rows = [*prim.distance_rows(few_images.Finetuned(tmp_path, told))]
    values = {(row["metric"], row["against"]): row["value"] for row in rows}
    best = min(history.values())
    assert values == pytest.approx({
        ("best_fd", "train"): best, ("last_fd", "train"): 30,
        ("best_step_share", "train"): share, ("late_gain", "train"): late,
        ("best_fd", "held_out"): 100 - best, ("last_fd", "held_out"): 70,
    })  # fmt: skip


def test_best_snapshots_say_what_chose_them_and_how_far_they_are(
    trainings, rows_of, transfer
) -> None:
    rows = rows_of(transfer(targets=["china"]))
    best = {(r["against"], r["selected"]) for r in rows if r["metric"] == "best_fd"}
    assert best == {("train", "train"), ("held_out", "train")}
    shares = {r["method"]: r["value"] for r in rows if r["metric"] == "best_step_share"}
    assert shares["scratch"] == 0.5  # 200, 50, 100 at steps 0, 2 and 4
