"""Chapter 22: shots, what starts from them or is filtered by them, and the rows of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from synthbook.data.deferred import Deferred
from synthbook.errors import InputError
from synthbook.generate.from_images import STRENGTHS
from synthbook.generate.text import Made
from synthbook.measure.fidelity import frechet_distance
from synthbook.recognize import language_image
from synthbook.recognize.clip import Encoded
from synthbook.recognize.filters import clip_filter
from synthbook.recognize.language_image import ClipConfig
from synthbook.record.parameters import check_values
from synthbook.studies import clones_by_name, few_shots
from synthbook.studies.few_shots import FewShots, check_few_shots, kept_of, plan_few_shots
from synthbook.studies.ready import Target

CLIP = ClipConfig(
    embed_dim=8, width=2, image_size=32, text_width=8, text_layers=1, text_heads=1,
    context_length=40, merges=50,
)  # fmt: skip
SMALL = {
    "images_per_class": 6, "kept_share": 0.7, "sentences": 3, "num_inference_steps": 1,
    "shots": [1, 2, 4], "coop_settings": ["length: 1", "steps: 1"], "tip_settings": ["epochs: 1"],
    "tuning_settings": ["steps: 2", "batch_size: 8", "learning_rate: 0.02", "measure_every: 1"],
}  # fmt: skip


class Painter:
    """A generator of one colour an image, by prompt and seed, over what it starts from."""

    identity, device, side = {"pipeline": "painter"}, "cpu", 32

    def images(
        self, prompts: Any, seeds: Any, *, from_images: Any = 0.0, strength: float = 1.0, **_: Any
    ) -> Made:
        tones = [(sum(map(ord, p)) % 256, s % 256, 7) for p, s in zip(prompts, seeds, strict=True)]
        noise = np.array(tones, dtype=float)[:, None, None]
        pixels = strength * noise + (1 - strength) * np.asarray(from_images, dtype=float)
        pixels = np.broadcast_to(pixels, (len(tones), 32, 32, 3)).astype(np.uint8)
        return Made(pixels, np.zeros(len(tones), np.int64))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained CLIP with batch norm."""
    folder = tmp_path_factory.mktemp("clip")
    language_image.save(language_image.create(CLIP, seed=0), CLIP, folder)
    return folder


@pytest.fixture
def study(clip: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """(what is other) -> a small study, with a painter in the place of the book's model."""
    monkeypatch.setattr(Target, "generator", Painter())
    monkeypatch.setattr(few_shots.web, "kept", lambda name: clip)
    monkeypatch.setattr(few_shots.web, "kept_samples", dict)

    def make(**other: Any) -> FewShots:
        p = check_values("22_few_shot", SMALL | {"encoder": f"local-dir:{clip}"} | other)
        check_few_shots(p)
        return FewShots(p, "cpu")

    return make


@pytest.fixture
def rows_of(produced: Any) -> Any:
    """(study) -> its rows, which its chapter may produce, each once."""
    return produced("22_few_shot")


def only(rows: list[dict[str, Any]], **where: Any) -> list[dict[str, Any]]:
    return [row for row in rows if where.items() <= row.items()]


def values(rows: list[dict[str, Any]], *names: str) -> dict[Any, float]:
    return {tuple(row[name] for name in names): row["value"] for row in rows}


# -- Images ---------------------------------------------------------------------------------------


def test_images_start_from_the_shots_of_their_class_by_the_number_of_them(study: Any) -> None:
    some = study()
    assert kept_of(some.p) == 4
    for count in (1, 4):
        shots, made = some.shots(0, "caltech10", count), some.started(0, "caltech10", count)
        assert set(shots.counts()) == {count}
        assert set(made.counts()) == {4}
        for k in (0, 9):
            mine = shots.images[shots.labels == k].astype(float)
            for image in made.images[made.labels == k].astype(float):
                # What is left of the shot is all that varies over an image of the painter's.
                rest = image - (1 - STRENGTHS[count]) * mine
                assert min(one.std(axis=(0, 1)).max() for one in rest) < 0.5
    one, four = some.shots(0, "caltech10", 1), some.shots(0, "caltech10", 4)
    assert {x.tobytes() for x in one.images} <= {x.tobytes() for x in four.images}


def test_one_photograph_is_followed_through_all_numbers_of_shots(study: Any) -> None:
    some = study()
    lines = some.followed(0, "caltech10", 10)
    assert [*lines] == [0, 1, 2, 4]
    for count in (1, 2, 4):
        rest = lines[count] - (1 - STRENGTHS[count]) * lines[0].astype(float)
        assert rest.std(axis=(1, 2)).max() < 0.5


def test_the_real_filter_keeps_nothing_that_is_nearer_to_other_shots(study: Any) -> None:
    some = study(images_per_class=12, kept_share=0.4)
    name, target = "caltech10", some.targets["caltech10"]
    kept = some.filtered(0, name, 4)
    drawn, shots = some.features("LE", 0, name), some.features("real", 0, name, 4)
    counts = kept["RF"].images.counts()
    assert {*kept["B"].images.counts()} == {kept_of(some.p)} == {5}
    assert 1 <= counts.min() < counts.max() <= 5
    passed = clip_filter(drawn, target.head, some.look.scale, least=5).images
    assert {x.tobytes() for x in kept["RF"].images.features} <= {
        x.tobytes() for x in passed.features
    }
    cosines = kept["RF"].images.features @ shots.features.T
    own = kept["RF"].images.labels[:, None] == shots.labels
    lead = np.where(own, cosines, -1).max(1) - np.where(own, -1, cosines).max(1)
    enough = [name not in kept["RF"].fallback for name in drawn.classes]
    assert any(enough)
    assert (lead[np.array(enough)[kept["RF"].images.labels]] > -1e-6).all()


def test_so_many_of_each_class_are_drawn(study: Any) -> None:
    some = study()
    images, counts = some.features("LE", 0, "caltech10"), [1, 2, 0, 3, 6, 1, 1, 1, 1, 1]
    drawn = few_shots.some_of(images, counts, seed=0)
    assert drawn.counts().tolist() == counts
    every = {row.tobytes(): k for row, k in zip(images.features, images.labels, strict=True)}
    assert [every[row.tobytes()] for row in drawn.features] == drawn.labels.tolist()


# -- Rows -----------------------------------------------------------------------------------------


def test_the_methods_of_figure_1_and_the_gain_by_images(study: Any, rows_of: Any) -> None:
    rows = rows_of(study(parts=["methods"]))
    found = values(only(rows, metric="top1_accuracy"), "method", "shots")
    named = [m for m in study().p.methods if m != "zero-shot"]
    assert set(found) == {("zero-shot", 0)} | {(m, n) for m in named for n in (1, 2, 4)}
    last = values(only(rows, metric="last_accuracy"), "method", "shots")
    assert set(last) == set(found) - {("zero-shot", 0)}
    for accuracies, gain in ((found, "gain_by_images"), (last, "last_gain")):
        gains = values(only(rows, metric=gain), "shots")
        for n in (1, 2, 4):
            assert gains[(n,)] == accuracies["CT w. Syn", n] - accuracies["CT w. init", n]
    assert {row["train"] for row in only(rows, method="CT w. Syn")} == {"real+synthetic"}


def test_without_validation_photographs_the_last_step_is_all_there_is(
    study: Any, rows_of: Any
) -> None:
    """One training has both numbers, and the last is the one that a run without a choice has."""
    parts = ["methods", "strategies", "phases"]
    rows, plain = rows_of(study(parts=parts)), rows_of(study(parts=parts, chosen_by="last"))
    names = {"last_accuracy": "top1_accuracy", "last_gain": "gain_by_images"}
    assert not [row for row in plain if row["metric"] in names]
    renamed = [row | {"metric": names[row["metric"]]} for row in rows if row["metric"] in names]
    of_plain = [row for row in plain if row["metric"] in names.values()]
    assert len(renamed) == 3 * 6 + 3 + 4 + 9
    assert all(row in of_plain for row in renamed)


def test_equal_cells_of_the_tables_are_one_training(study: Any, rows_of: Any) -> None:
    """Mixed training on images from shots stands in all three, and is the same there."""
    rows = rows_of(study(parts=["methods", "strategies", "phases"], methods=["CT w. Syn"]))
    accuracies = only(rows, metric="top1_accuracy", shots=4)
    (method,) = only(accuracies, part="methods")
    (started,) = only(accuracies, strategy="RG")
    (mixed,) = only(accuracies, training="mix")
    assert method["value"] == started["value"] == mixed["value"]
    strategies = {row["strategy"] for row in only(accuracies, part="strategies")}
    assert strategies == {"B", "B, fewer", "RF", "RG"}
    assert len(only(rows, part="phases", metric="top1_accuracy")) == 9
    passed = values(only(rows, metric="passed_share"), "strategy")
    assert all(0 <= share <= 100 for share in passed.values())
    kept = values(only(rows, metric="kept_images"), "strategy")
    fewest = values(only(rows, metric="fewest_images"), "strategy")
    assert kept[("B",)] == fewest[("B",)] == 4
    assert 1 <= fewest[("RF",)] <= kept[("RF",)] < 4
    assert {row["train"] for row in only(rows, metric="fd", strategy="real")} == {"real"}


def test_nothing_learned_is_zero_shots_everywhere(study: Any, rows_of: Any) -> None:
    some = study(
        parts=["methods", "strategies", "phases", "norms"], chosen_by="last", shots=[2],
        methods=["zero-shot", "CT w. init", "CT w. Syn"],
        tuning_settings=["steps: 2", "batch_size: 8", "learning_rate: 1e-9"],
    )  # fmt: skip
    rows = only(rows_of(some), metric="top1_accuracy")
    still = [row for row in rows if row.get("batch_norm", "frozen") == "frozen"]
    assert len({round(row["value"], 6) for row in still}) == 1
    norms = only(rows, part="norms")
    assert {(row["train"], row["shots"]) for row in norms} == {("real", 2), ("synthetic", 0)}
    assert {row["batch_norm"] for row in norms} == {"frozen", "live", "trained"}


def test_images_that_no_memory_holds_are_learned_live_without_being_held(
    study: Any, rows_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"parts": ["norms"], "shots": [1]}
    usual = rows_of(study(**how))
    monkeypatch.setattr(clones_by_name, "held_in_memory", lambda *_: False)
    monkeypatch.setattr(Deferred, "held", Mock(side_effect=AssertionError))
    assert rows_of(study(**how)) == usual


def test_heads_may_have_epochs_of_the_generated_images_of_a_data_set(study: Any) -> None:
    by_steps, target = study(), study().targets["caltech10"]
    recipes = by_steps.recipes(target)
    assert (recipes.tuning.steps, recipes.tuning.measure_every) == (2, 1)
    assert not recipes.coop.by_epochs
    by_epochs = study(tuning_settings=["epochs=3", "batch_size=16"])
    tuning = by_epochs.recipes(target).tuning  # 4 of each of ten kinds
    assert (tuning.steps, tuning.measure_every) == (8, 3)
    p = check_values("22_few_shot", {}, "paper")
    made = [few_shots.recipes_of(p, classes) for classes in (10, 1000)]
    assert [one.tuning.steps for one in made] == [469, 46_875]
    assert [one.coop.of(16 * n, n).steps for one, n in zip(made, (10, 1000), strict=True)] == [
        200 * 5, 200 * 500
    ]  # fmt: skip


def test_all_trainings_of_a_data_set_have_its_epochs(
    study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = study(
        tuning_settings=["epochs=1", "batch_size=8"], shots=[1], methods=["CT w. Syn"],
        parts=["methods", "strategies", "phases", "norms"],
    )  # fmt: skip
    seen: dict[str, set[int]] = {"compared": set(), "tune": set(), "tune_live": set()}

    def watched(name: str) -> None:
        usual = getattr(few_shots, name)

        def call(*given: Any, **how: Any) -> Any:
            recipes = [*given, *how.values()]
            tuned = [getattr(one, "tuning", one) for one in recipes]
            seen[name] |= {one.steps for one in tuned if isinstance(one, few_shots.HeadRecipe)}
            return usual(*given, **how)

        monkeypatch.setattr(few_shots, name, call)

    for name in seen:
        watched(name)
    for job in some.jobs:
        list(some.rows(*job))
    assert seen == {name: {5} for name in seen}  # 40 images by eights


def test_distances_are_to_test_photographs_of_as_many_images_of_each_class() -> None:
    draw = np.random.default_rng(0)

    def encoded(*counts: int) -> Encoded:
        features = draw.normal(size=(sum(counts), 3)).astype(np.float32)
        return Encoded(features, np.repeat([0, 1], counts), ("a", "b"), "some")

    sets = {"B": encoded(20, 5), "real": encoded(9, 30)}
    target = SimpleNamespace(test=encoded(12, 40), validation=sets["real"])
    rows = FewShots._distances(None, sets, target, 3, 16)  # type: ignore[arg-type]
    told = {row["strategy"]: row["value"] for row in rows}
    few = {name: few_shots.some_of(one, [9, 5], 3).features for name, one in sets.items()}
    test = few_shots.some_of(target.test, [9, 5], 3).features
    expected = {name: frechet_distance(test, rows) for name, rows in few.items()}
    assert told == pytest.approx(expected)


# -- What is asked beforehand ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"targets": ["digits"]}, "no words for the classes of 'digits'"),
        ({"tuning_settings": ["batch_size: 7"]}, "batch_size = 7 cannot be cut into equal parts"),
        ({"images_per_class": 20}, "8 images, and each of 16 shots is to start one"),
        ({"tip_settings": ["epoch: 5"]}, "did you mean 'epochs'"),
        ({"guidance_scale": 0.5}, "guidance_scale 0.5 is not possible"),
        ({"template": "a {} of {}"}, "has not one {}"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(
    given: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_shots.web, "kept", lambda name: Path())
    with pytest.raises(InputError, match=says):
        check_few_shots(check_values("22_few_shot", given))


def test_shots_and_batch_norm_have_to_be_there(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot be drawn from; give -p shots="):
        study(shots=[400], images_per_class=1000, kept_share=1.0)
    some = study().targets["caltech10"]
    monkeypatch.setattr(Target, "__init__", lambda self, *_: self.__dict__.update(some.__dict__))
    test = some.splits.test
    some.splits = SimpleNamespace(train=some.splits.train, val=test, test=test)
    with pytest.raises(InputError, match="no validation part, and nothing is chosen on its test"):
        study()
    assert study(chosen_by="last").by == "last"
    monkeypatch.setattr(few_shots, "has_batch_norm", lambda network: False)
    with pytest.raises(InputError, match="has no batch norm; leave that part out"):
        study(parts=["norms"])


def test_shots_that_own_photographs_lack_are_told_with_those_that_they_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_shots.web, "kept", lambda name: Path())
    path, words = tmp_path / "mine.npz", tmp_path / "words.txt"
    words.write_text("cat\ndog\n")
    images = np.random.default_rng(0).integers(0, 256, (48, 32, 32, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(48) % 2, names=np.array(["cat", "dog"]))
    given = {"targets": [str(path)], "class_words": str(words)}
    with pytest.raises(InputError, match=r"some 1\d training .* shots = 16 .* shots=1,2,4,8$"):
        check_few_shots(check_values("22_few_shot", given))
    check_few_shots(check_values("22_few_shot", given | {"shots": [1, 2, 4, 8]}))


def test_a_plan_counts_what_is_trained() -> None:
    p = check_values("22_few_shot", {"parts": ["methods", "strategies", "phases", "norms"]})
    told = plan_few_shots(p)
    assert f"{1 + 6 * 5 + 4 + 3 * 5} classifiers on kept features and 6 with" in told
    assert "40 images of each class from 1, 2, 4, 8, 16 shots, 100 from noise x " in told
    assert plan_few_shots({**p, "targets": ["one"]}).endswith(" x 1 data set x 1 seed.")
    two = {**p, "targets": ["one", "other"], "seeds": 2}
    assert plan_few_shots(two).endswith(" x 2 data sets x 2 seeds.")


def test_validation_photographs_choose_and_test_photographs_are_measured(
    study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    some, asked = study(), []
    target = some.targets["caltech10"]
    parts = {"validation": target.splits.val, "test": target.splits.test}
    watched = some._watched(target)
    for name, part in parts.items():
        np.testing.assert_array_equal(watched[name].labels, part.labels)
    by = {"last": 1.0, "validation": 2.0, "test": 3.0}  # accuracies, by what chooses the step
    told = SimpleNamespace(tuned=SimpleNamespace(accuracy=by.get))
    monkeypatch.setattr(few_shots, "tune_live", lambda *_, **how: asked.append(how) or told)
    assert {row["value"] for row in some._norms(0, "caltech10")} == {2.0}
    assert len(asked) == 6
    for how in asked:
        for name, part in parts.items():
            assert how[name].fingerprint() == part.fingerprint()
    monkeypatch.setattr(some, "_distances", lambda sets, *_: asked.append(sets["real"]) or [])
    list(some._strategies(0, "caltech10"))
    assert asked[-1] is target.validation
