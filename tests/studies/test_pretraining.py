"""Chapter 23: label spaces, starts, what is pretrained and learned from there, and the rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from synthbook.data import ImageSet, Splits
from synthbook.errors import InputError
from synthbook.generate.prompts import label_space
from synthbook.recognize import pretrained
from synthbook.recognize.moco import MocoRecipe
from synthbook.record.metrics import METRICS as KNOWN
from synthbook.record.metrics import PRODUCES
from synthbook.record.parameters import check_values
from synthbook.studies import pretraining, tasks
from synthbook.studies.pretraining import Pretraining, Start, amount, starts_of

ALL = ["none", "real", "synthetic", "real+synthetic"]
SMALL = {
    "pretrain_images": 24, "num_inference_steps": 1, "sentences": 3, "train_images": 40,
    "label_spaces": ["cifar10:4", "cifar10"],
    "pretrain_settings": ["steps: 2", "batch_size: 8"],
    "moco_settings": ["steps: 2", "batch_size: 8", "queue: 8", "group: 4"],
    "finetune_settings": ["steps: 2", "batch_size: 8"], "scene_counts": [40, 60],
    "detect_settings": ["steps: 1", "batch_size: 4"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def painter(painter: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A painter in the place of the book's model."""
    monkeypatch.setattr(pretraining, "generator_of", lambda *_: painter)
    return painter


def study_of(**given: Any) -> Pretraining:
    p = check_values("23_pretraining", SMALL | given)
    pretraining.check_pretraining(p)
    return Pretraining(p, "cpu")


# -- Label spaces and starts ----------------------------------------------------------------------


def test_fewer_names_are_part_of_more_and_another_seed_draws_others() -> None:
    five, twenty, every = (label_space(f"cifar100{n}", 3) for n in (":5", ":20", ""))
    assert len(five) == 5
    assert len(twenty) == 20
    assert {*five} < {*twenty} < {*every}
    assert {*twenty} != {*label_space("cifar100:20", 4)}
    both = label_space("cifar10+cifar100")
    assert len(both) == 110  # none of CIFAR-100's classes is called as one of CIFAR-10's
    assert label_space("cifar10+cifar10") == label_space("cifar10")
    for text in ("cifar100:101", "cifar100:0", "cifar10+cifar10:1"):
        with pytest.raises(InputError, match="asks for"):
            label_space(text)


def test_names_of_a_file_join_those_of_a_set(tmp_path: Path) -> None:
    file = tmp_path / "names.csv"
    file.write_text("gnu\ndog\n")  # the second is one of CIFAR-10's
    assert [words.name for words in label_space(f"cifar10+{file}")[10:]] == ["gnu"]


def test_starts_are_those_of_the_papers_tables() -> None:
    sizes = {"sizes": [1.0, 2.0, 3.0], "agnostic_sizes": [1.0, 2.0, 10 / 3], "starts": ALL}
    of = {part: list(starts_of(sizes, part)) for part in ("aware", "supervised", "contrastive")}
    assert len(of["aware"]) == 2 + 3 + 3
    agnostic = [("smaller", 1), ("smaller", 2), ("larger", 2), ("larger", 10 / 3)]
    assert [one[1:] for one in of["supervised"] if one.train == "synthetic"] == agnostic
    assert [one[1:] for one in of["supervised"] if one.train == "real+synthetic"] == agnostic[1:]
    assert [one[1:] for one in of["contrastive"] if one.train == "real+synthetic"] == [
        ("smaller", 2)
    ]
    names = {1: "one", 2: "two", 10 / 3: "three"}
    for more in ([], [1.5], [6.0], [1.5, 4.0, 10.0]):  # that the paper does not have
        given = [*names, *more]
        assert [amount(size, given) for size in given] == [*names.values(), *([""] * len(more))]
    assert amount(3.0, [1.0, 2.0, 3.0]) == "three"
    assert amount(2.0, [1.0, 2.0]) == "two"
    only = list(starts_of(sizes | {"starts": ["none"]}, "aware"))
    assert only == [Start()]


def test_published_recipes_are_of_networks_whatever_their_weights() -> None:
    p = check_values("23_pretraining", {}, "paper")
    assert p.backbone == "resnet50.tv_in1k"
    for backbone, steps in ((p.backbone, 450_000), (p.second_backbone, 375_000)):
        assert pretraining.pretrain_recipe(p, "supervised", backbone).steps == steps
    assert pretraining.pretrain_recipe(p, "mocov2", p.backbone).steps == 1_000_000
    with pytest.raises(InputError, match="no pretraining of 'resnet51'"):
        pretraining.pretrain_recipe(p, "supervised", "resnet51.tv_in1k")


# -- Images ---------------------------------------------------------------------------------------


def test_larger_amounts_have_the_smaller_and_spaces_share_images(painter: Any) -> None:
    study = study_of(parts=["aware", "supervised"], sizes=[1.0, 2.0])
    one, two = (study.synthetic(0, "downstream", size) for size in (1.0, 2.0))
    assert len(one) == 24
    assert len(two) == 48
    assert np.ptp(one.counts()) == 1
    for k in range(10):
        mine = one.images[one.labels == k]
        np.testing.assert_array_equal(two.images[two.labels == k][: len(mine)], mine)
    made = painter.made
    larger = study.synthetic(0, "larger", 2.0)
    study.synthetic(0, "larger", 3.0)
    few = {words.name for words in study.words(0, "smaller")}  # with 12 of each at 2x
    wanted = [12 if name in few else 7 + (k < 2) for k, name in enumerate(larger.classes)]
    there = larger.classes.index("bird")  # which is a kind of the task, too, and was made
    assert painter.made - made == sum(wanted) - wanted[there]  # else 72 of ten names at 3x
    made = painter.made
    smaller = study.synthetic(0, "smaller", 2.0)
    assert painter.made == made
    for k, name in enumerate(smaller.classes):
        mine = larger.images[larger.labels == larger.classes.index(name)]
        np.testing.assert_array_equal(smaller.images[smaller.labels == k][: len(mine)], mine)


def test_photographs_of_other_classes_are_as_many() -> None:
    study = study_of()
    real = study.real(0)
    assert len(real) == 24
    assert not {*real.classes} & {*study.classes}
    assert real.fingerprint() != study.real(1).fingerprint()


# -- Networks and tasks ---------------------------------------------------------------------------


def weights(study: Pretraining, start: Start, method: str = "supervised") -> str:
    network = study.network(0, method, "small_cnn", start, 32)
    return pretrained.fingerprint(network)


def test_every_start_has_weights_of_its_own_and_is_trained_once(no_builds: Any) -> None:
    study = study_of(starts=ALL)
    starts = [Start(), Start("real"), Start("synthetic", "downstream", 1.0),
              Start("real+synthetic", "downstream", 1.0)]  # fmt: skip
    of = {(method, start): weights(study, start, method)
          for method in ("supervised", "mocov2") for start in starts}  # fmt: skip
    assert len(set(of.values())) == 7  # random weights are those of both methods
    told = pretrained.about(Path(study.pretrained(0, "supervised", "small_cnn", starts[3])))
    before = pretrained.about(Path(told["start"]))
    assert before["data"]["classes"] == 32
    assert told["data"]["images"] == 24
    no_builds(pretraining.pretrain)
    assert weights(study, starts[3], "mocov2") == of["mocov2", starts[3]]


def test_published_weights_stand_for_pretraining(tmp_path: Path) -> None:
    here = study_of()
    folder = here.pretrained(0, "supervised", "small_cnn", Start("real"))
    study = study_of(real_weights=[f"supervised={folder}"], pretrain_images=2000, starts=["real"])
    assert weights(study, Start("real")) == weights(here, Start("real"))


def test_a_start_without_pretraining_is_the_same_in_all_parts_and_learned_once(
    no_builds: Any,
) -> None:
    study = study_of(parts=["aware", "supervised", "contrastive"], starts=["none"])
    rows = [row for job in study.jobs for row in study.rows(*job)]
    fits(rows)
    assert [(row["part"], row["test"]) for row in rows] == [
        ("aware", "classification"), ("supervised", "classification"),
        ("supervised", "detection"), ("contrastive", "detection"),
    ]  # fmt: skip
    values = [row["value"] for row in rows]
    assert values[0] == values[1]
    assert values[2] == values[3]
    shown = study.found(0, "supervised", Start())["shown"]
    assert len(shown) == tasks.SHOWN
    no_builds(tasks)
    assert [row["value"] for job in study.jobs for row in study.rows(*job)] == values


def fits(rows: list[dict[str, Any]]) -> None:
    """Every row is one that the chapter may produce, and none is twice there."""
    said = PRODUCES["23_pretraining"]
    for row in rows:
        assert row["metric"] in KNOWN
        assert row["metric"] in said.metric, row
        assert row["method"] in said.method, row
        assert row["part"] in said.part, row
        assert 0 <= row["value"] <= 100
    names = [tuple(sorted((k, v) for k, v in row.items() if k != "value")) for row in rows]
    assert len(names) == len(set(names))


def test_rows_say_what_was_learned_before() -> None:
    study = study_of(parts=["aware", "contrastive"], starts=["real+synthetic"], sizes=[2.0])
    rows = [row for job in study.jobs for row in study.rows(*job)]
    fits(rows)
    aware, contrastive = rows
    assert (aware["method"], contrastive["method"]) == ("supervised", "mocov2")
    assert (aware["space"], contrastive["space"]) == ("downstream", "smaller")
    assert all(row["train"] == "real+synthetic" and row["amount"] == "two" for row in rows)
    assert (aware["dataset"], contrastive["dataset"]) == ("caltech10", "scenes")
    assert (aware["network"], pretraining.kind_of("deit_small_patch16_224")) == (
        "convolutional", "transformer",
    )  # fmt: skip


def test_finetuning_sees_test_images_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other test photographs change what is reported, and no weight and no curve."""
    study = study_of(starts=["none"])
    first = study.named(0, "aware", Start())
    test = study.splits.test
    wrong = ImageSet(test.images, (test.labels + 1) % 10, test.classes, "moved labels")
    study.splits = Splits(study.splits.train, study.splits.val, wrong)
    second = study.named(0, "aware", Start())
    assert second["points"] == first["points"]
    assert second["top1"] != first["top1"]


def test_scenes_to_learn_from_come_before_those_to_test_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "bundled_scenes", lambda counts, recipe, seed: counts)
    p = SimpleNamespace(detection_data="", scene_counts=(40, 60))
    made = SimpleNamespace(p=p, recipes=SimpleNamespace(scenes=None))
    assert Pretraining._scenes(made, 0) == (40, 60)  # type: ignore[arg-type]


@pytest.mark.parametrize(("data", "rule"), [("", "area"), ("VOC", "eleven")])
def test_average_precision_on_pascal_voc_is_by_the_rule_of_2007(data: str, rule: str) -> None:
    made = SimpleNamespace(p=SimpleNamespace(detection_data=data))
    assert Pretraining.rule.fget(made) == rule  # type: ignore[attr-defined]


# -- What is asked beforehand ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"label_spaces": ["cifar100"]}, "label_spaces holds 1; give two"),
        ({"label_spaces": ["cifar100", "cifar100:50"]}, "does not contain 'cifar100'"),
        ({"label_spaces": ["cifar10:11", "cifar10"]}, "asks for 11 classes"),
        ({"label_spaces": ["cifar11", "cifar10"]}, "^label_spaces: .*did you mean 'cifar10'"),
        ({"pretrain_images": 7, "starts": ["real"]}, "a batch of pretraining has 8; give more"),
        ({"pretrain_images": 9}, "fewer than the 10 classes of the downstream label space"),
        ({"pretrain_images": 5000, "starts": ["real"]}, "'caltech101_others' has 1401"),
        ({"real_weights": ["mocov3=imagenet"]}, "mocov3"),
        ({"real_weights": ["mocov2=./nowhere"]}, "'./nowhere' is not there"),
        ({"moco_settings": ["queue: 1024", "batch_size: 64"], "parts": ["contrastive"],
          "pretrain_images": 200}, "queue = 1024"),
        ({"recipe": "published"}, "has no pretraining of 'small_cnn'"),
        ({"backbone": "small_cmn"}, "small_cmn"),
        ({"detection_data": "./nowhere", "parts": ["supervised"]}, "^detection_data: .*nowhere"),
        ({"scene_counts": [10]}, "give two, scenes to learn and to test"),
        ({"finetune_settings": ["stepz: 3"]}, "finetune_settings holds 'stepz: 3'"),
        ({"data": "digits"}, "no words for the classes of 'digits'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_made(
    given: dict[str, Any], says: str, painter: Any
) -> None:
    with pytest.raises(InputError, match=says):
        pretraining.check_pretraining(check_values("23_pretraining", SMALL | given))
    assert not painter.made


def test_test_photographs_choose_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(pretraining, "check_validated", lambda p, data, _: looked.append(data))
    p = check_values("23_pretraining", SMALL)
    pretraining.check_pretraining(p)
    assert not looked
    tasks = pretraining.task_recipes(p)
    naming = dataclasses.replace(tasks.naming, rates=(0.01, 0.1))
    monkeypatch.setattr(pretraining, "task_recipes", lambda _: tasks._replace(naming=naming))
    pretraining.check_pretraining(p)
    assert looked == [p.data]


def test_unknown_names_are_told_of_the_label_spaces_that_images_are_asked_for() -> None:
    told = [
        pretraining.check_pretraining(check_values("23_pretraining", SMALL | given))
        for given in ({"parts": ["aware"]}, {"parts": ["aware"], "starts": ["none"]},
                      {"parts": ["supervised"]})
    ]  # fmt: skip
    assert ["no caption with: musical instrument" in one for one in told] == [True, False, False]


def test_recipes_are_those_of_the_parameters_and_of_the_paper() -> None:
    p = check_values("23_pretraining", {})
    recipe = pretraining.pretrain_recipe(p, "mocov2", "small_cnn")
    assert isinstance(recipe, MocoRecipe)
    assert recipe.queue == 512
    large = check_values("23_pretraining", {}, "paper")
    recipe = pretraining.pretrain_recipe(large, "supervised", "deit_small_patch16_224")
    assert (recipe.optimizer, recipe.steps) == ("adamw", 375_000)
    assert pretraining.task_recipes(large).detector.kind == "c4"
    whole = {
        "parts": ["aware", "supervised", "contrastive"],
        "starts": ALL,
        "sizes": [1.0, 2.0, 3.0],
    }
    said = pretraining.plan_pretraining(check_values("23_pretraining", whole))
    # 1 + 3 + 3 of the task's names, 4 + 3 of others, and 1 + 4 + 1 without labels
    assert "20 pretrainings" in said
    assert said.endswith("finetunings of them x 1 seed.")
