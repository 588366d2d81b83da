"""Chapters 31 to 33: clones, what learns from them, and the rows that come of it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from synthbook.data import ImageSet, load
from synthbook.data.deferred import Deferred, deferred
from synthbook.data.transfer import TEN
from synthbook.errors import InputError
from synthbook.generate import text
from synthbook.measure.features import Extractor
from synthbook.recognize import models
from synthbook.record.metrics import METRICS, PRODUCES
from synthbook.record.parameters import check_values
from synthbook.studies import clones_by_name, fake
from synthbook.studies.clones_by_name import MULTI, SINGLE, Bed, columns
from synthbook.studies.given import TESTS, Parts, recipe_of

SMALL = {
    "set_size": 40, "updates": 2, "batch_size": 8, "num_inference_steps": 1,
    "view_settings": ["global_size: 8", "local_size: 8", "local_views: 1"],
}  # fmt: skip
OF_PROMPTS = SMALL | {"measured": 30, "neighbours": 2, "guidance_scales": [2.0, 7.5]}
FOUR = ["name", "parent", "definition", "scene"]


@pytest.fixture(autouse=True)
def painter(painter: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A painter in the place of the book's model, and eyes that see mean colours."""

    def look(name: str, *_: Any, **__: Any) -> Any:
        return Extractor(name, lambda x: x[:, ::8, ::8].reshape(len(x), -1) / 255, fingerprint="8")

    monkeypatch.setattr(Bed, "generator", painter)
    monkeypatch.setattr(clones_by_name.features, "extractor", look)
    return painter


def rows_of(study: Any) -> list[dict[str, Any]]:
    return [row for job in study.jobs for row in study.rows(*job)]


def fits(chapter: str, rows: list[dict[str, Any]]) -> None:
    """Every row is one that its chapter may produce, and none is twice there."""
    said = PRODUCES[chapter]
    for row in rows:
        assert row["metric"] in METRICS
        assert row["metric"] in said.metric, row
        assert row["method"] in said.method, row
        assert row["part"] in said.part, row
        assert np.isfinite(row["value"]), row
    names = [tuple(sorted((k, v) for k, v in row.items() if k != "value")) for row in rows]
    assert len(names) == len(set(names))


# -- The bed ------------------------------------------------------------------------------------


def test_a_clone_has_as_many_images_of_each_class_and_a_larger_one_has_it(painter: Any) -> None:
    bed = Bed(check_values("31_prompts", SMALL), "cpu")
    real, one = bed.real(0), bed.clone(0, "name", 2.0)
    np.testing.assert_array_equal(one.counts(), real.counts())
    assert one.classes == real.classes
    made = painter.made
    three = bed.clone(0, "name", 2.0, size=3.0)
    np.testing.assert_array_equal(three.counts(), 3 * real.counts())
    for k in range(10):
        mine = three.images[three.labels == k][: real.counts()[k]]
        np.testing.assert_array_equal(mine, one.images[one.labels == k])
    assert painter.made == made + len(three)  # blocks of other sizes, as of fewer than a hundred
    tenth = bed.clone(0, "name", 2.0, size=0.1)
    assert (tenth.counts() == np.maximum(np.rint(real.counts() / 10), real.counts() > 0)).all()
    others = bed.clone(1, "name", 2.0), bed.clone(0, "parent", 2.0), bed.clone(0, "name", 7.5)
    assert all(not np.array_equal(one.images[:3], other.images[:3]) for other in others)


def test_a_clone_that_no_memory_holds_is_read_and_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bed = Bed(check_values("31_prompts", SMALL), "cpu")
    held = bed.clone(0, "definition", 2.0, size=2.0)
    monkeypatch.setattr(clones_by_name, "held_in_memory", lambda *_: False)
    read = bed.clone(0, "definition", 2.0, size=2.0)
    assert isinstance(held, ImageSet)
    assert isinstance(read, Deferred)
    np.testing.assert_array_equal(read.held().images, held.images)
    np.testing.assert_array_equal(read.read(np.array([7, 3, 7])), held.images[[7, 3, 7]])
    assert read.fingerprint() != bed.clone(1, "definition", 2.0, size=2.0).fingerprint()


def test_equal_sets_and_seeds_are_learned_once(no_builds: Any) -> None:
    bed = Bed(check_values("31_prompts", SMALL), "cpu")
    first = bed.trained(bed.real(0), 0).state_dict()
    single = bed.trained(bed.real(0), 0, SINGLE).state_dict()
    no_builds(clones_by_name)
    again = bed.trained(bed.real(0), 0, MULTI).state_dict()
    for name, value in first.items():
        assert value.equal(again[name])
    assert not all(value.equal(single[name]) for name, value in first.items())
    with pytest.raises(AssertionError, match="built again"):
        bed.trained(bed.real(1), 0)


def test_the_five_tests_are_real_images_and_folders_may_take_their_places(tmp_path: Path) -> None:
    bed = Bed(check_values("31_prompts", SMALL), "cpu")
    tests = {name: bed.test_of(name) for name in TESTS}
    test = load("caltech10").test
    for name in ("test", "sketch", "rendition"):
        np.testing.assert_array_equal(tests[name].labels, test.labels)
    assert len(tests["adversarial"]) < len(test) / 2
    for kind in ("boat", "bird"):
        (tmp_path / "v2" / kind).mkdir(parents=True)
        Image.fromarray(test.images[0]).save(tmp_path / "v2" / kind / "1.png")
    p = check_values("31_prompts", SMALL | {"other_tests": [f"v2={tmp_path / 'v2'}"]})
    fake.check_prompts(p)
    own = Bed(p, "cpu").test_of("v2")
    assert [own.classes[k] for k in own.labels] == ["bird", "boat"]
    (row, *_) = Bed(p, "cpu").accuracy_rows(bed.trained(bed.real(0), 0), ["v2"])
    assert row["value"] in (0, 50, 100)


def test_columns_show_classes_and_white_where_there_are_too_few() -> None:
    pixels = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    some = ImageSet(pixels, [1, 0, 0, 0, 1], ("a", "b", "c"), "some")
    tones = columns(some, 2, 3)[:, 0, 0, 0].tolist()
    assert tones == [1, 0, 255, 2, 4, 255]


# -- What is asked beforehand -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"data": "digits"}, "no words for the classes of 'digits'; give class_words"),
        ({"set_size": 20, "data": "caltech10_fine"}, "set_size = 20 and 'caltech10_fine' has 68"),
        ({"model": "./nowhere"}, "model = './nowhere' is no folder of a diffusers pipeline"),
        ({"guidance_scales": [0.5]}, "guidance_scale 0.5 is not possible"),
        ({"other_tests": ["v3=."]}, "other_tests has 'v3'"),
        ({"other_tests": ["v2=./nowhere"]}, "'./nowhere' is no folder"),
        ({"view_settings": ["global_sise: 8"]}, "did you mean 'global_size'"),
        ({"training_settings": ["updates: 5"]}, "updates is a parameter of its own"),
        ({"parts": ["crops"]}, "lacks prompts, whose photographs and clones the controls are"),
        ({"measured": 10, "neighbours": 50}, "measured = 10 of 1114 test images are too few"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(
    given: dict[str, Any], says: str, painter: Any
) -> None:
    with pytest.raises(InputError, match=says):
        fake.check_prompts(check_values("31_prompts", given))
    assert not painter.made


def test_names_that_the_generator_never_read_are_told_of_all_label_spaces() -> None:
    p = check_values("32_scale_and_shift", {"parts": ["sizes"]})
    few = fake.described(p, fake.check_sizes(p))
    assert "4,459 colour photographs" in few
    assert "no caption with: musical instrument. What it draws" in few
    p = check_values("32_scale_and_shift", {"parts": ["classes"]})
    many = fake.described(p, fake.check_sizes(p))
    assert re.search("no caption with: musical instrument, .* more. What it draws", many)
    other = fake.described({**p, "model": "another"}, fake.check_sizes(p))
    assert other == str(fake.check_sizes(p))


def test_words_of_a_file_have_to_name_every_class(tmp_path: Path) -> None:
    file = tmp_path / "words.csv"
    file.write_text("0, nothing\n1, one\n")
    p = check_values("31_prompts", {"data": "digits", "class_words": str(file)})
    with pytest.raises(InputError, match="no line for the class '2'"):
        fake.check_prompts(p)
    file.write_text("".join(f"{k}, a digit, number\n" for k in range(10)))
    assert "digits" in str(fake.check_prompts(p))


# -- Chapters -----------------------------------------------------------------------------------


def test_chapter_31_rates_clones_and_their_images(painter: Any) -> None:
    p = check_values(
        "31_prompts", OF_PROMPTS | {"forms": FOUR, "parts": ["prompts", "crops", "filter"]}
    )
    study = fake.Prompts(p, "cpu")
    rows = rows_of(study)
    fits("31_prompts", rows)
    clones = {
        (row["prompt"], row["guidance_scale"])
        for row in rows
        if row["method"] == "clone" and "prompt" in row
    }
    assert clones == {(form, scale) for form in FOUR for scale in (2.0, 7.5)}
    accuracies = [
        row for row in rows if row["metric"] == "top1_accuracy" and row["part"] == "prompts"
    ]
    assert {row["test"] for row in accuracies if row["method"] == "real"} == {*TESTS}
    # The spread over forms is that of the rows beside it.
    spreads = [row for row in rows if row["metric"] == "prompt_spread"]
    assert {(row["guidance_scale"], row["test"]) for row in spreads} == {
        (scale, test) for scale in (2.0, 7.5) for test in TESTS
    }
    for row in spreads:
        same = [
            one["value"] for one in accuracies if one["method"] == "clone"
            and one["guidance_scale"] == row["guidance_scale"] and one["test"] == row["test"]
        ]  # fmt: skip
        assert row["value"] == pytest.approx(max(same) - min(same))
    # One image for each that the filter keeps is thrown away.
    (largest,) = (row for row in rows if row["method"] == "largest class")
    assert largest["value"] == pytest.approx(100 * 211 / 1114, abs=3)
    shares = clones_by_name.largest_class(study)
    assert [*shares] == [*TESTS]
    assert shares["test"] == largest["value"] == shares["sketch"] == shares["rendition"]
    hardest = study.test_of("adversarial")
    labels = np.unique(hardest.labels, return_counts=True)[1]
    assert shares["adversarial"] == pytest.approx(100 * labels.max() / len(hardest))
    assert "7 classifiers" in fake.plan_prompts(check_values("31_prompts", {
        "parts": ["prompts", "crops", "filter"]}))  # fmt: skip


def test_plans_count_in_words() -> None:
    one = check_values("31_prompts", {"guidance_scales": [2.0]})
    assert fake.plan_prompts(one).endswith("2 classifiers x 1 seed (of real images, 1 clone).")
    two = {"sizes": [0.1, 1.0], "seeds": 2, "parts": ["sizes"]}
    assert fake.plan_sizes(check_values("32_scale_and_shift", two)) == (
        "To train, unless kept: 3 classifiers (of real images, of clones 0.1, 1 times as large) "
        "x 2 seeds."
    )


def test_measures_are_called_by_their_extractor() -> None:
    study = fake.Prompts(check_values("31_prompts", OF_PROMPTS | {"extractor": "inception"}), "cpu")
    rows = list(study.image_rows(study.clone(0, *study.first), method="clone", part="prompts"))
    fits("31_prompts", rows)
    assert {"fid", "precision", "coverage"} < {row["metric"] for row in rows}
    assert "fd" not in {row["metric"] for row in rows}


def test_the_control_has_no_photograph_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    p = check_values("31_prompts", OF_PROMPTS)
    usual = fake.Prompts(p, "cpu")
    assert usual.references == (usual.splits.test, usual.splits.val)
    splits, few = usual.splits, usual.splits.test.subset(np.arange(51))
    alone = Parts(deferred(splits.train), *[deferred(few)] * 2)
    monkeypatch.setattr(clones_by_name, "sets_of", lambda *_: alone)
    study = fake.Prompts(p, "cpu")
    first, second = (part.held().images for part in study.references)
    assert len(first) == len(second) == 25
    assert len({image.tobytes() for image in (*first, *second)}) == 50
    rows = {row["metric"]: row["value"] for row in study.image_rows(study.references[1])}
    assert rows["coverage"] < 1  # which the reference itself would have
    assert rows["fd"] > 1e-6
    assert len(study.unseen) == 25


def test_a_test_part_that_is_control_as_well_has_twice_as_many_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p = check_values("31_prompts", OF_PROMPTS | {"neighbours": 7})
    summary = fake.check_prompts(p)
    for counts, enough in (((5, 9), True), ((0, 18), True), ((0, 17), False)):
        parts = {"train": 40, "test": counts[1]} | ({"val": counts[0]} if counts[0] else {})
        told = dataclasses.replace(summary, counts=parts)
        monkeypatch.setattr(fake, "check_clones", lambda *_, told=told: told)
        if enough:
            fake.check_prompts(p)
        else:
            with pytest.raises(InputError, match="of 8 test images are too few"):
                fake.check_prompts(p)


def test_the_filter_keeps_the_most_realistic_half_of_each_class() -> None:
    study = fake.Prompts(check_values("31_prompts", OF_PROMPTS), "cpu")
    seen = {}

    def trained(images: ImageSet, seed: int, crops: str = MULTI) -> Any:
        seen["images"] = images
        return Bed.trained(study, images, seed, crops)

    study.trained = trained  # type: ignore[method-assign]
    list(study._filtered(0))
    kept, drawn = seen["images"], study.clone(0, *study.first, size=2.0)
    np.testing.assert_array_equal(kept.counts(), study.real(0).counts())
    scores = fake.realism(study.look(study.real(0).images), study.look(drawn.images), 2)
    best = fake.realism(study.look(study.real(0).images), study.look(kept.images), 2)
    for k in range(10):
        count = int((kept.labels == k).sum())
        expected = np.sort(scores[drawn.labels == k])[::-1][:count]
        np.testing.assert_allclose(np.sort(best[kept.labels == k])[::-1], expected)


def test_chapter_32_names_amounts_and_asks_many_classes(monkeypatch) -> None:
    assert fake.amounts([0.1, 0.3, 1, 3, 10]) == {0.1: "few", 1: "one", 3: "some", 10: "many"}
    assert fake.amounts([1, 10, 20, 50]) == {1: "one", 10: "some", 50: "many"}
    assert fake.amounts([1, 2]) == {1: "one"}
    assert fake.amounts([2, 3, 4]) == {}
    few = {"sizes": [0.1, 1.0, 2.0, 3.0], "parts": ["sizes"]}
    p = check_values("32_scale_and_shift", SMALL | few)
    fake.check_sizes(p)
    study = fake.Sizes(p, "cpu")
    rows = rows_of(study)
    fits("32_scale_and_shift", rows)
    amounts = {row["size"]: row.get("amount") for row in rows if row["method"] == "clone"}
    assert amounts == {0.1: "few", 1.0: "one", 2.0: "some", 3.0: "many"}
    tests = check_values("32_scale_and_shift", SMALL | {"parts": ["tests"]})
    assert fake.plan_sizes(tests) == "To train: nothing; the tests are looked at alone."
    fake.check_sizes(tests)
    monkeypatch.setattr(clones_by_name.Bed, "trained", None)  # as it says
    looked = fake.Sizes(tests, "cpu")
    rows = rows_of(looked)
    fits("32_scale_and_shift", rows)
    shares = clones_by_name.largest_class(looked.beds["tests"])
    assert {row["test"]: row["value"] for row in rows} == shares
    assert {(row["part"], row["method"], row["train"]) for row in rows} == {
        ("tests", "largest class", "none")
    }
    many = fake.Sizes(check_values("32_scale_and_shift", SMALL | {"parts": ["classes"]}), "cpu")
    assert many.beds["classes"].splits.train.num_classes == 68
    assert [job[2:] for job in many.jobs] == [
        ("real",), *(("clone", *asked, 1.0) for asked in fake.FINE)
    ]  # fmt: skip


def test_chapter_33_probes_each_encoder_and_random_weights() -> None:
    few = {"sizes": [1.0], "transfer_sets": ["digits"], "set_size": 200}
    p = check_values("33_transfer", SMALL | few)
    fake.check_transfer(p)
    study = fake.Transfers(p, "cpu")
    assert [job[2] for job in study.jobs] == ["random weights", "real", "clone"]
    rows = rows_of(study)
    fits("33_transfer", rows)
    probes = [row for row in rows if row["test"] == "transfer"]
    by_model = {(row["method"], row["on"]): row["value"] for row in probes}
    for method in ("random weights", "real", "clone"):
        assert by_model[method, "mean"] == by_model[method, "digits"] > 20  # of ten digits
    study.p = check_values("33_transfer", {"transfer_sets": ["digits"]})  # a part of mini's
    told = {row["on"] for row in study.rows(*study.jobs[0]) if row["test"] == "transfer"}
    assert told == {"digits"}
    with pytest.raises(InputError, match=r"^transfer_sets: no transfer set is called 'digit'"):
        fake.check_transfer(check_values("33_transfer", {"transfer_sets": ["digit"]}))


@pytest.mark.parametrize("chapter", ["32_scale_and_shift", "33_transfer"])
def test_published_networks_are_rated_as_they_are_beside_the_books_own(
    chapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"parts": ["classes"], "fine_data": "caltech10", "real_networks": ["A=timm:resnet18"]}
    few |= {"transfer_sets": ["digits"]} if chapter == "33_transfer" else {}
    p, asked = check_values(chapter, SMALL | few), []
    with pytest.raises(InputError, match=r"resnet18 .*, or leave it out"):
        fake.check_sizes(p)
    study = (fake.Transfers if chapter == "33_transfer" else fake.Sizes)(p, "cpu")

    def create(network: str, **how: Any) -> Any:
        asked.append((network, how["num_classes"], how["pretrained"]))
        return models.create_classifier("small_cnn", **(how | {"pretrained": False, "seed": 5}))

    monkeypatch.setattr(fake, "create_classifier", create)
    kinds = [job[2] for job in study.jobs]
    assert kinds[-5:] == ["real", "published", "clone", "clone", "clone"]
    rows = list(study.rows(*study.jobs[kinds.index("published")]))
    assert asked == [("resnet18", 10, True)]
    fits(chapter, rows)
    told = {(row["method"], row["train"], row["network"], row["backbone"]) for row in rows}
    assert told == {("published", "real", "A", "resnet18")}
    accuracies = {row["test"] for row in rows if row["metric"] == "top5_accuracy"}
    assert accuracies == ({"test"} if chapter == "33_transfer" else {*TESTS})


def test_the_mean_is_that_of_the_papers_ten_where_they_are_there() -> None:
    ten = dict(zip(TEN, range(10), strict=True))
    assert fake.mean_of(ten | {f"cog_l{k}": 100.0 for k in range(1, 6)}) == 4.5
    assert fake.mean_of({"digits": 1.0, "mnist5k": 2.0, TEN[0]: 6.0}) == 3


def test_probes_are_fitted_where_the_networks_are(monkeypatch: pytest.MonkeyPatch) -> None:
    p = check_values("33_transfer", SMALL | {"sizes": [1.0], "transfer_sets": ["digits"]})
    study, places = fake.Transfers(p, "cpu"), []

    def probe(*_: Any, device: str = "", **__: Any) -> Any:
        places.append(device)
        return SimpleNamespace(measures={"top1": 0.0})

    monkeypatch.setattr(fake, "probe", probe)
    list(study.rows(*study.jobs[0]))
    study.beds["sizes"].device = "cuda:1"
    monkeypatch.setattr(study, "encoder", lambda *_: None)
    list(study.rows(*study.jobs[0]))
    assert places == ["cpu"] * 2 + ["cuda:1"] * 2


def test_many_classes_may_have_steps_of_their_own() -> None:
    given = {"training_settings": ["warmup=0.5", "classes.updates=3", "classes.warmup=0.25"]}
    p = check_values("32_scale_and_shift", SMALL | given | {"parts": ["sizes", "classes"]})
    fake.check_sizes(p)
    beds = fake.Sizes(p, "cpu").beds
    assert [(b.recipe.updates, b.recipe.warmup) for b in beds.values()] == [(2, 0.5), (3, 0.25)]
    assert recipe_of({**p, "training_settings": ["warmup=0.5"]}) == beds["sizes"].recipe
    for other in ("clases.updates=3", "classes.updatez=3"):
        with pytest.raises(InputError, match="there is none such"):
            fake.check_sizes({**p, "training_settings": [other]})
    with pytest.raises(InputError, match=r"classes\.updates"):
        recipe_of(check_values("31_prompts", SMALL | given))


def test_chapter_31_says_how_fast_so_many_at_a_time_are() -> None:
    assert text.LANES == 8  # what "some ten a second" in chapter 31 was measured with


def test_the_controls_are_photographs_that_nothing_learned(monkeypatch) -> None:
    study, seen = fake.Prompts(check_values("31_prompts", OF_PROMPTS), "cpu"), []
    monkeypatch.setattr(study, "trained", lambda images, seed: None)
    monkeypatch.setattr(study, "accuracy_rows", lambda *_, **__: [])
    monkeypatch.setattr(study, "image_rows", lambda images, **_: seen.append(images) or [])
    list(study.rows(0, "real"))
    assert seen == [study.splits.val]
    test = clones_by_name.some(study.splits.test, study.p.measured).images
    np.testing.assert_array_equal(study.unseen, study.look(test))


def test_probes_learn_training_images_and_are_rated_on_test_images(monkeypatch) -> None:
    p = check_values("33_transfer", SMALL | {"sizes": [1.0], "transfer_sets": ["digits"]})
    study, asked = fake.Transfers(p, "cpu"), []
    told = SimpleNamespace(measures={"top1": 1.0, "mean_per_class": 2.0})
    monkeypatch.setattr(
        fake, "probe", lambda _, train, test, **__: asked.append((train, test)) or told
    )
    study.sets = {"digits": dataclasses.replace(study.sets["digits"], metric="mean_per_class")}
    rows = list(study.rows(*study.jobs[0]))
    probed = {row["test"]: row["value"] for row in rows if row["metric"] == "probe_accuracy"}
    assert probed == {"transfer": 2.0, "own classes": 1.0}
    digits, bed = study.sets["digits"], study.beds["sizes"]
    assert asked[0] == (digits.train, digits.test)
    assert asked[1][1] is bed.splits.test


def test_the_control_of_small_crops_is_trained_without_them() -> None:
    made = SimpleNamespace(
        first=("name", 2.0), real=lambda seed: "photographs", clone=lambda seed, *asked: asked,
        trained=lambda *given: given, about=lambda seed, **told: told,
        accuracy_rows=lambda model, **about: [about | {"model": model}],
    )  # fmt: skip
    for kind, images in (("real", "photographs"), ("clone", ("name", 2.0))):
        (row,) = fake.Prompts._single(made, 5, kind)  # type: ignore[arg-type]
        assert row["model"] == (images, 5, SINGLE)
        assert (row["crops"], row["train"]) == (SINGLE, kind)


def test_images_are_measured_beside_unseen_ones_and_by_meanings_of_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fake, "_senses", {"crane": 2, "zebra": 1, "mine": 0}.get)
    words = [SimpleNamespace(lemmas=(name,)) for name in ("zebra", "crane", "mine")]
    ambiguous = fake.Prompts.__dict__["ambiguous"].func(SimpleNamespace(words=words))
    assert ambiguous == [1]
    pixels = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    images = ImageSet(pixels, [0, 0, 1, 1, 2, 2], ("zebra", "crane", "mine"), "some")
    look = Extractor("eye", lambda x: x[:, 0, 0] + [1.0, 0, 0], fingerprint="eye")
    unseen, asked = np.ones((6, 3)), []
    right = np.eye(3)[[0, 0, 2, 1, 2, 2]]  # but for one of the class with two meanings
    made = SimpleNamespace(
        unseen=unseen, look=look, ambiguous=ambiguous, p=SimpleNamespace(neighbours=2),
        judge=SimpleNamespace(logits=lambda rows: right),
    )  # fmt: skip
    monkeypatch.setattr(fake, "fidelity", lambda *given, **_: asked.append(given) or {})
    rows = list(fake.Prompts.image_rows(made, images))  # type: ignore[arg-type]
    agreement = {r["classes"]: r["value"] for r in rows if r["metric"] == "class_agreement"}
    assert agreement == pytest.approx({"all": 500 / 6, "ambiguous": 50.0})
    ((first, second),) = asked
    assert first is unseen
    np.testing.assert_array_equal(second, look(images.images))


def test_the_judge_learns_photographs_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    train = ImageSet(np.zeros((4, 2, 2, 3), np.uint8), [0, 1, 0, 1], ("a", "b"), "train")
    made = SimpleNamespace(
        real=lambda seed: train, look=SimpleNamespace(cached=lambda images: images), data="d"
    )
    monkeypatch.setattr(clones_by_name, "fit", lambda rows, labels, *_, **__: [(rows, labels)])
    rows, labels = Bed.__dict__["judge"].func(made)
    assert rows is train.images
    assert labels is train.labels


def test_only_classes_that_a_test_has_can_be_named(monkeypatch) -> None:
    bed = Bed(check_values("31_prompts", SMALL), "cpu")
    few = bed.splits.test.subset(bed.splits.test.labels < 2)
    logits = torch.nn.functional.one_hot(torch.tensor(few.labels), 10).float()
    logits[:, 9] = 2  # a class that is not there
    monkeypatch.setattr(bed, "test_of", lambda name: few)
    monkeypatch.setattr(clones_by_name, "predict", lambda *_, **__: logits)
    (row, *_) = bed.accuracy_rows(None, ["v2"])
    assert row["value"] == 100
