"""The experiments of chapters 15 and 16 on a miniature: which rows, of which trainings."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet, Splits
from synthbook.errors import InputError
from synthbook.randomness import numpy_generator
from synthbook.recognize.methods import METHODS
from synthbook.recognize.methods.pretrained_guidance import cosine
from synthbook.recognize.predict import features
from synthbook.studies import remedies
from synthbook.studies import training_sets as sets
from synthbook.studies.plans import best, method_settings
from synthbook.studies.remedies import (
    ALL_OURS,
    PretrainedGuidance,
    RealGuidance,
    check_pretrained_guidance,
    check_real_guidance,
    generator_knows,
    guide_of,
    numbers_of,
    remedy,
)
from synthbook.studies.training_sets import network_of

P = {
    "data": "digits", "data_root": "", "image_size": 0, "set_size": 0,
    "sources": ("real", "diffusion", "gan"),
    "backbone": "small_cnn", "pretrained": False, "epochs": 1, "batch_size": 8,
    "learning_rate": 0.01, "input_size": 0, "precision": "float32",
    "guide_backbone": "small_cnn", "guide_input_size": 8, "guide_pretrained": False,
}  # fmt: skip
P15 = P | {
    "parts": ("scratch", "other_architecture", "sensitivity", "readings"),
    "methods": ("plain", "ASG", "CSG", "PG-L1", "PG-KL"),
    "large_set_size": 0, "large_epochs": 1, "large_learning_rate": 0.01, "large_input_size": 8,
    "lambda_3_kl": (1.0,), "lambda_3_l1": (10.0,),
    "scratch_epochs": 1, "scratch_learning_rate": 0.01,
}  # fmt: skip
P16 = P | {
    "parts": ("methods", "same_images", "real_images", "sensitivity", "readings"),
    "methods": ("plain", "Aug", "A-GEM", "RG", "RG+PG-R+PG-F", "sum", "PCGrad"),
    "lambda_1": 1.0, "lambda_2": 1.0, "lambda_3": (0.1,), "lambdas": (0.1, 1.0), "shots": 2,
    "n_real": (2, 4), "synthetic_ratio": 0.0,
}  # fmt: skip


def stripes(count: int, seed: int = 0) -> ImageSet:
    """Return two classes: the upper or the lower half of the image is bright, on noise."""
    pixels = numpy_generator(seed, "stripes").uniform(0, 0.6, (count, 8, 8, 1))
    labels = np.arange(count) % 2
    for k, label in enumerate(labels):
        pixels[k, 4 * label : 4 * label + 4] += 0.4
    return ImageSet((255 * pixels).astype(np.uint8), labels, ("up", "down"), "stripes")


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Splits:
    """Real images; the chapters' training sets are made-up ones, new for each seed."""

    def training_sets(real, p, *, seed, device):
        made = {"diffusion": stripes(16, 100 + seed), "gan": stripes(16, 200 + seed)}
        return {k: SimpleNamespace(train=v) for k, v in ({"real": real.train} | made).items()}

    def clone_of_few(family, few, p, *, count, seed, device):
        assert len(few) == (p["shots"] * few.num_classes or 16)
        return stripes(count, 300 + seed + len(family))

    monkeypatch.setattr(sets, "training_sets", training_sets)
    monkeypatch.setattr(sets, "clone_of_few", clone_of_few)
    return Splits(stripes(16, 1), stripes(30, 2), stripes(40, 3))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What is trained, a dict a training."""
    calls, inner = [], remedies.remedy

    def spy(network, name, **given):
        calls.append({"network": network, "name": name, **given})
        return inner(network, name, **given)

    monkeypatch.setattr(remedies, "remedy", spy)
    return calls


def values(rows: list[dict], **where) -> list[float]:
    return [row["value"] for row in rows if where.items() <= row.items()]


@pytest.mark.parametrize(
    ("chapter", "kind"),
    [("15_pretrained_guidance", "PretrainedGuidance"), ("16_real_guidance", "RealGuidance")],
)
def test_the_plan_of_every_scale_needs_no_torch_and_has_the_papers_table(chapter, kind) -> None:
    code = (
        "import sys; from synthbook.studies import remedies\n"
        "from synthbook.record.chapters import find\n"
        "from synthbook.record.parameters import check_values\n"
        f"for scale in find('{chapter}').scales:\n"
        f"    print(scale, remedies.{kind}.plan(check_values('{chapter}', {{}}, scale)))\n"
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    whole = found.stdout.partition("\npaper ")[2].partition("\nsmall")[0]
    table = next(line for line in whole.splitlines() if line.split(":")[0].strip() in MAIN)
    names = table.replace(",", " ").replace(";", " ").split()
    assert set(names) >= TABLES[kind]


MAIN = {"tables", "methods"}
TABLES = {  # every row of Tables 2 and 3, and of Table 4
    "PretrainedGuidance": {"plain", "ASG", "CSG", "PG-L1", "PG-KL", "real"},
    "RealGuidance": {
        "plain", "real", "Adp", "Aug", "ADDA", "DADA", "DANN", "LTDA", "A-GEM", "PG-R+PG-F", "RG",
        "RG+PG-R", "RG+PG-F", "RG+PG-R+PG-F",
    },
}  # fmt: skip


def identities(rows: Iterable[dict]) -> Counter[frozenset]:
    return Counter(frozenset(row.items() - {("value", row.get("value"))}) for row in rows)


GRID = {"lambda_3": (0.1, 1.0), "lambda_3_kl": (1.0, 100.0), "lambda_3_l1": (10.0,)}


@pytest.mark.parametrize("changes", [{}, GRID, {"sources": ("real", "gan"), "shots": 0} | GRID])
@pytest.mark.parametrize(("kind", "p"), [(PretrainedGuidance, 15), (RealGuidance, 16)])
def test_a_run_makes_the_rows_and_trainings_that_were_planned(
    kind, p, changes, real: Splits, trained: list[dict]
) -> None:
    p = {15: P15, 16: P16}[p] | {"seeds": 2, "first_seed": 4} | changes
    plan, experiment = kind.plan(p), kind(p, real)
    rows = [row for seed in (4, 5) for row in experiment.rows(seed)]
    assert identities(rows) == identities(plan.rows)
    assert len(trained) == plan.trainings
    assert str(plan).startswith(f"To do: {plan.trainings} trainings, {len(rows)} rows")


def test_the_best_weight_has_the_largest_mean_and_is_the_smallest_of_equals() -> None:
    assert best({1.0: [80, 90], 0.1: [70, 71], 10.0: [90, 80]}) == 1.0
    assert best({10.0: [85, 86], 1.0: [80, 90]}) == 10.0


@pytest.mark.parametrize(("kind", "p"), [(PretrainedGuidance, 15), (RealGuidance, 16)])
def test_the_weight_is_chosen_on_validation_images_and_then_taken(
    kind, p, real: Splits, trained: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    p = {15: P15, 16: P16}[p] | GRID
    rows = list(kind(p, real).rows(5))
    chosen = [row for row in rows if row["metric"] == "lambda_3"]
    # Chapter 15 has a grid of two weights for KL in two networks, chapter 16 one for all.
    assert len(chosen) == (2 if kind is PretrainedGuidance else 1)
    for row in chosen:
        alike = {k: row[k] for k in ("method", "backbone", "part", "guide") if k in row}
        grid = defaultdict(list)
        for other in rows:
            if other["metric"] == "top1_accuracy" and alike.items() <= other.items():
                assert other["split"] == "val"
                grid[other["lambda_3"]].append(other["value"])
        assert all(len(values) == 2 for values in grid.values())  # of both generators
        assert row["value"] == best(grid)
    where = {"part": "tables" if kind is PretrainedGuidance else "methods", "train": "gan"}
    name, where = ("PG-KL", where) if kind is PretrainedGuidance else (ALL_OURS, {})
    shares = [r for r in rows if r["metric"] == "guidance_gradient_share" and r["method"] == name]
    assert all(row["value"] > 0 for row in shares)
    taken = [r for r in rows if r["method"] == name and r["part"] in ("tables", "methods")]
    varied = [r for r in rows if r["part"] == "sensitivity" and r["method"] == name]
    for row in taken:
        weight = {r.get("guide"): r["value"] for r in chosen}[row.get("guide")]
        same = {k: row[k] for k in ("train", "split", "metric", "guide") if k in row}
        like = {"lambda_3": weight} if "guide" in row else {"varied": "lambda_3", "weight": weight}
        if found := values(varied, **same, **like):
            assert found == [row["value"]]


# Trained by a method


def test_numbers_are_those_that_the_method_has() -> None:
    given = RealGuidance.numbers(P16) | {"lambda_3": 5.0}
    assert numbers_of("plain", given) == numbers_of("ASG", given) == {}
    assert numbers_of("A-GEM", given) == {"per_layer": False}
    assert numbers_of("Adp", given) == {"second_stage": "epochs"}
    assert numbers_of("RG+PG-R", given) == {k: given[k] for k in given if k != "second_stage"}


def test_numbers_of_methods_are_set_by_name_or_for_all_that_have_them() -> None:
    given = ("ADDA.discriminator_width=9", "first_share=0.5", "RG.per_layer=true")
    p = {"methods": ("plain", "Adp", "DADA"), "method_settings": given}
    found = {"ADDA": {"discriminator_width": 9}, "RG": {"per_layer": True}}
    assert method_settings(p) == found | {name: {"first_share": 0.5} for name in ("Adp", "DADA")}


def test_a_run_takes_the_numbers_of_methods(real: Splits, trained: list[dict]) -> None:
    given = ("Adp.second_stage=updates", "RG.lambda_1=0.5")
    p = P16 | {"parts": ("methods", "readings"), "methods": ("Adp", "RG", "sum")}
    list(RealGuidance(p | {"method_settings": given}, real).rows(0))
    names = [call["name"] for call in trained]
    stages = [call["second_stage"] for call in trained if call["name"] == "Adp"]
    assert sorted(stages) == ["epochs"] * 2 + ["updates"] * 2
    assert {call["lambda_1"] for call in trained if call["name"] == "RG"} == {0.5}
    assert {call["lambda_1"] for call in trained if call["name"] == "sum"} == {1.0}
    assert names.count("sum") == 2


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("DANN", "write METHOD.number=value"),
        ("DAN.discriminator_width=9", "did you mean 'DANN'"),
        ("DANN.discriminator_widht=9", "did you mean 'discriminator_width'"),
        ("meta_rate=9", "no method asked for has a number 'meta_rate'"),
        ("DANN.discriminator_width=wide", "discriminator_width is a int, as 64"),
        ("DANN.discriminator_width=0", "discriminator_width is 0; give at least 1"),
        ("RG+PG-R.distance=l3", "distance .l3. is not known; choose one of cosine, l2"),
    ],
)
def test_wrong_numbers_of_methods_are_named_before_anything_is_trained(entry, message) -> None:
    with pytest.raises(InputError, match=message):
        check_real_guidance(P16 | {"method_settings": (entry,)})


def test_the_guide_is_the_one_that_the_parameters_name() -> None:
    guide = guide_of(P, channels=1)
    assert (guide.network.name, guide.input_size) == ("small_cnn", 8)
    with pytest.raises(InputError, match="no pretrained weights"):
        guide_of(P | {"guide_pretrained": True}, channels=1)


def test_methods_of_a_seed_start_alike_and_end_apart() -> None:
    images, guide = stripes(48), guide_of(P, channels=1)

    def head(name: str, rate: float, seed: int = 0) -> torch.Tensor:
        network = network_of(P | {"learning_rate": rate})
        how = {"synthetic": images, "updates": 6, "guide": guide, "seed": seed}
        return remedy(network, name, **how)[0].head.weight.detach()

    assert torch.allclose(head("plain", 1e-12), head("PG-KL", 1e-12), atol=1e-9)
    assert not torch.allclose(head("plain", 1e-12), head("plain", 1e-12, seed=1), atol=1e-3)
    assert not torch.allclose(head("plain", 0.01), head("PG-KL", 0.01), atol=1e-5)


# Chapter 15


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": ("real",)}, "give a generator too"),
        ({"methods": ("plain", "ASG")}, "give plain and PG-KL"),
        ({"parts": ("readings",)}, "give scratch, pretrained or other_architecture too"),
        ({"guide_backbone": "small_cnn"}, "is the guide's own"),
    ],
)
def test_parameters_of_chapter_15_that_do_not_fit_are_refused(values, message) -> None:
    p = P15 | {"guide_backbone": "efficientnet_lite0"}
    assert "digits" in str(check_pretrained_guidance(p))
    with pytest.raises(InputError, match=message):
        check_pretrained_guidance(p | values)


def test_rows_of_chapter_15(real: Splits, trained: list[dict], distinct) -> None:
    experiment = PretrainedGuidance(P15, real)
    rows = distinct(experiment.rows(5))
    assert {row["seed"] for row in rows} == {5}
    # CSG compares two networks of one architecture; real images have plain training alone.
    right = {"part": "tables", "metric": "top1_accuracy", "split": "test"}
    for guide, count in (("same_architecture", 5), ("other_architecture", 4)):
        assert len(values(rows, guide=guide, train="gan", **right)) == count
        assert len(values(rows, guide=guide, train="real", **right)) == 1
    assert len(values(rows, metric="relative_cost", train="gan")) == 4 + 3
    shares = values(rows, metric="guidance_gradient_share", part="tables", train="gan")
    assert len(shares) == 2 * 2
    # A weight that the tables have is not trained again, and has their accuracy.
    for split in ("val", "test"):
        where = {"method": "PG-KL", "train": "gan", "split": split, "guide": "same_architecture"}
        table = values(rows, part="tables", **where)
        assert table == values(rows, part="sensitivity", lambda_3=1.0, **where)
    assert len(values(rows, part="sensitivity", split="test")) == 2 * 2 * 2
    assert len(values(rows, part="readings", split="test")) == 2 * 4
    assert len(trained) == 2 * 9 + 2 + 2 * 4
    assert len({(call["updates"], call["seed"]) for call in trained}) == 1
    assert set(experiment.models) == {
        ("real", "plain"), ("diffusion", "plain"), ("diffusion", "PG-KL"),
        ("gan", "plain"), ("gan", "PG-KL"),
    }  # fmt: skip
    assert rows[0]["value"] == next(iter(PretrainedGuidance(P15, real).rows(5)))["value"]


@pytest.mark.parametrize(("kind", "p"), [(PretrainedGuidance, P15), (RealGuidance, P16)])
def test_rows_say_which_weight_was_given_and_not_which_was_chosen(kind, p) -> None:
    def weights(p: dict) -> set[float | None]:
        rows = [row for row in kind.plan(p).rows if row["part"] == kind.main]
        for row in rows:
            assert ("lambda_3" not in row) or METHODS[row["method"]].guided
        return {row.get("lambda_3") for row in rows if METHODS[row["method"]].guided}

    given = {"PG-KL": 1.0, "PG-L1": 10.0, ALL_OURS: 0.1}
    assert weights(p) == {given[name] for name in p["methods"] if METHODS[name].guided}
    several = dict.fromkeys(("lambda_3", "lambda_3_kl", "lambda_3_l1"), (1.0, 2.0))
    assert weights(p | several) == {None}


def test_similarities_are_cosines_of_the_guide_or_of_what_was_trained(real: Splits) -> None:
    p = P15 | {"parts": ("scratch", "other_architecture"), "methods": ("plain", "PG-KL")}
    experiment = PretrainedGuidance(p | {"large_input_size": 16, "guide_input_size": 12}, real)
    list(experiment.rows(0))
    images = real.test.subset(range(5))
    of_guide = experiment.similarities(images, "guide")
    of_model = experiment.similarities(images, "PG-KL", "gan")
    for matrix in (of_guide, of_model):
        assert matrix.shape == (5, 5)
        assert torch.allclose(matrix, matrix.T)
        assert torch.allclose(matrix.diagonal(), torch.ones(5), atol=1e-5)
    wanted = cosine(torch.from_numpy(features(experiment.models["gan", "PG-KL"], images)))
    assert torch.allclose(of_model, wanted)
    guided = features(experiment.guide.network, images, input_size=12)
    assert torch.allclose(of_guide, cosine(torch.from_numpy(guided)))


def test_each_setting_trains_its_network(real: Splits, trained: list[dict]) -> None:
    p = P15 | {
        "parts": ("scratch", "other_architecture"), "methods": ("plain",), "sources": ("real",),
        "backbone": "resnet18_cifar", "large_input_size": 16, "scratch_learning_rate": 0.02,
        "scratch_epochs": 2, "large_set_size": 6,
    }  # fmt: skip
    rows = list(PretrainedGuidance(p, real).rows(0))
    places = {(row["guide"], row["init"], row["backbone"]) for row in rows}
    assert places == {
        ("same_architecture", "scratch", "small_cnn"),
        ("other_architecture", "scratch", "resnet18_cifar"),
    }
    recipes = {call["network"].backbone: call["network"].recipe for call in trained}
    scratch = recipes["small_cnn"]
    assert (scratch.input_size, scratch.learning_rate, scratch.epochs) == (16, 0.02, 2)
    sizes = {call["network"].backbone: len(call["synthetic"]) for call in trained}
    assert sizes == {"small_cnn": 6, "resnet18_cifar": 16}
    assert recipes["resnet18_cifar"].input_size == 0


# Chapter 16

TRAIN = "real_few+gan"


def test_what_a_generator_knows_beside_the_classifiers_images() -> None:
    assert generator_knows(P16, "gan", 2) == generator_knows(P16, "gan", None) == "all"
    assert generator_knows(P16, "gan", 0) == "same"
    assert generator_knows(P16 | {"set_size": 10}, "gan", 0) == "all"
    assert generator_knows(P16 | {"sources": ("real", "mine=a.npz")}, "mine", 0) == "unknown"


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": ("gan", "diffusion")}, "give real and a generator"),
        ({"methods": ("plain", "RG")}, "none of those of the part sensitivity"),
        ({"shots": 31}, "shots = 31 of some 30 images a class"),
        ({"set_size": 100, "shots": 20}, "shots = 20 of some 10 images a class"),
        ({"n_real": (2, 40)}, "n_real = 40"),
        ({"synthetic_ratio": 20.0}, "give at most 15"),
        ({"sources": ("real", "mine=.")}, "the part same_images"),
    ],
)
def test_parameters_of_chapter_16_that_do_not_fit_are_refused(values, message) -> None:
    assert check_real_guidance(P16).num_classes == 10
    with pytest.raises(InputError, match=message):
        check_real_guidance(P16 | values)
    unused = P16 | {"parts": ("methods",), "n_real": (2, 40), "methods": ("plain",)}
    check_real_guidance(unused)  # what a part needs is asked only where it runs


def test_rows_of_chapter_16(real: Splits, trained: list[dict], distinct) -> None:
    experiment = RealGuidance(P16, real)
    rows = distinct(experiment.rows(5))
    where = {"part": "methods", "metric": "top1_accuracy"}
    assert len(values(rows, **where)) == 2 * 7 + 2
    for source in ("diffusion", "gan", "real", "real_few"):
        assert len(values(rows, method="plain", train=source, **where)) == 1
    ours = values(rows, method="RG", train="real_few+gan", **where)
    where = {"method": "RG", "metric": "top1_accuracy"}
    for part, setting in (("real_images", {"n_real": 2}), ("readings", {"per_layer": False})):
        assert values(rows, part=part, **where, **setting)[1:] == ours
    where = {"part": "sensitivity", "split": "test", "metric": "top1_accuracy", "train": TRAIN}
    for name, usual in (("lambda_1", 1.0), ("lambda_2", 1.0), ("lambda_3", 0.1)):
        assert len(values(rows, varied=name, **where)) == 2
        same = {"method": ALL_OURS, "train": TRAIN, "metric": "top1_accuracy", "part": "methods"}
        assert values(rows, varied=name, weight=usual, **where) == values(rows, **same)
    assert len(values(rows, part="real_images", metric="top1_accuracy")) == 2 * 5 * 2
    assert len(values(rows, part="real_images", metric="share_projected")) == 2 * 3 * 2
    assert len(values(rows, part="readings", metric="top1_accuracy")) == 2 * 4
    assert len(values(rows, part="same_images", metric="top1_accuracy")) == 2 * 7
    where = {"part": "same_images", "generator_knows": "same", "metric": "top1_accuracy"}
    assert len(values(rows, method="plain", train="gan", **where)) == 1  # without real images
    weights = [row["lambda_3"] for row in rows if row.get("varied") and "lambda_3" in row]
    assert set(weights) == {0.1}  # where another weight is varied
    assert values(rows, method="Aug", metric="relative_cost") == [1.0, 1.0]
    angles = values(rows, method="RG", metric="mean_cosine", train=TRAIN, part="methods")
    assert angles == [np.mean(experiment.histories["RG", TRAIN, 5].extra["cosine"])]
    knows = {(row["part"], row.get("generator_knows")) for row in rows if "+" in row["train"]}
    assert knows == {(part, "same" if part == "same_images" else "all") for part in P16["parts"]}
    assert {row["train"] for row in rows if "generator_knows" not in row} == {"real", "real_few"}
    # Nothing is trained twice, and all in equal time.
    # methods, generators of the few, n_real 4, other weights, per layer
    alone, both = 2 + 2 + 2, 2 * (6 + 6 + 5 + 3 + 1)
    assert len(trained) == alone + both
    assert {call["updates"] for call in trained} == {2}


def test_the_images_of_chapter_16(real: Splits, trained: list[dict]) -> None:
    p = P16 | {"parts": ("methods",), "methods": ("plain", "Aug"), "synthetic_ratio": 2.0}
    p |= {"sources": ("real", "diffusion")}
    list(RealGuidance(p, real).rows(0))
    sizes = [
        tuple(len(call[name]) if call[name] else 0 for name in ("real", "synthetic"))
        for call in trained
    ]
    # The few real ones alone, timed with Aug; all of them; generated ones alone.
    assert sizes == [(4, 0), (4, 8), (16, 0), (0, 8)]
    assert {call["guide"] for call in trained} == {None}
    trained.clear()
    rows = list(RealGuidance(p | {"shots": 0, "synthetic_ratio": 0.5}, real).rows(0))
    assert [len(call["synthetic"]) for call in trained if call["synthetic"]] == [8, 8]
    assert all(call["real"] is real.train for call in trained if call["real"])
    assert {row["generator_knows"] for row in rows if "generator_knows" in row} == {"same"}


def test_too_few_images_of_a_class_stop_before_anything_is_trained(real: Splits) -> None:
    with pytest.raises(InputError, match="images"):
        RealGuidance(P16 | {"shots": 9}, real)


def test_each_split_is_rated_on_its_own_images(
    monkeypatch: pytest.MonkeyPatch, real: Splits
) -> None:
    monkeypatch.setattr(remedies, "remedy", lambda *_, **__: (None, None))
    monkeypatch.setattr("synthbook.recognize.predict.accuracy", lambda model, images, **_: images)
    experiment = SimpleNamespace(device="cpu", real=real)
    _, found = remedies._rated(experiment, network_of(P), "plain")
    assert found.accuracy["val"] is real.val
    assert found.accuracy["test"] is real.test


def test_few_real_images_are_training_images(real: Splits, trained: list[dict]) -> None:
    p = P16 | {"parts": ("methods",), "methods": ("plain", "Aug"), "sources": ("real", "gan")}
    list(RealGuidance(p, real).rows(0))
    shown = {x.tobytes() for call in trained if call["real"] for x in call["real"].images}
    assert shown
    assert shown <= {x.tobytes() for x in real.train.images}
