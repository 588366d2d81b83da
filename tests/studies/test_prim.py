"""Rows of chapters 52 and 53, with made-up trainings: what starts where, and what is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.networks import create_discriminator, create_generator, save
from synthbook.measure import features
from synthbook.record.parameters import check_values
from synthbook.studies import few_images, prim
from synthbook.studies.few_images import Finetuned

FEW = {
    "image_size": 8, "target_images": 5, "generated": 4, "real_source": "digits",
    "in_domain": ["digits:3"], "targets": ["china", "digits:3", "digits:4"],
    "pretrain_steps": 7, "finetune_steps": 4, "evaluate_every": 2, "style_channels": 2,
    "style_widest": 4, "style_latent": 4,
}  # fmt: skip
TRANSFER = FEW | {
    "parts": ["synthesizers", "sources"],
    "variants": ["PinkNoise", "Primitives-PS"],
    "single_object": ["digits:3"],
}
REASONS = FEW | {"data": "digits", "biggan_image_size": 8, "biggan_latent": 4, "biggan_channels": 2}


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """Replace both trainings; return what they were asked for: (kind, what, options)."""
    asked: list[tuple[str, object, dict]] = []

    def pretrained(source, recipe, network, *, seed, device):
        asked.append(("pretrained", source, {"recipe": recipe, "network": network, "seed": seed}))
        folder = tmp_path / f"{source.name}, {seed}".replace("/", " ")
        if not folder.exists():
            how = {"seed": len(str(folder)), **network}
            save(create_generator(**how), folder, create_discriminator(**how))
        return folder

    def finetuned(images, held_out, recipe, network, *, first, seed, **more):
        more |= {"held_out": held_out, "recipe": recipe, "network": network, "seed": seed}
        asked.append(("finetuned", images, more | {"first": first}))
        start = len(first.name) if first else 50  # distances that differ by where it started
        found = {0: 4 * start, 2: start + seed, 4: 2 * start}
        history = {step: {"train": float(v), "held_out": v + 0.5} for step, v in found.items()}
        if more.get("count"):
            counted = more["count"](np.zeros((2, 8, 8, 3), np.uint8))
            history = {step: numbers | counted for step, numbers in history.items()}
        save(create_generator(seed=seed, **network), tmp_path / "made" / "best")
        return Finetuned(tmp_path / "made", history)

    monkeypatch.setattr(few_images, "pretrained", pretrained)
    monkeypatch.setattr(few_images, "finetuned", finetuned)
    monkeypatch.setattr(features, "extractor", lambda name, device="cpu", size=0: name)
    return asked


def transfer(**values) -> prim.Transfer:
    return prim.Transfer(check_values("52_transfer_to_few_images", TRANSFER | values), "cpu")


def reasons(**values) -> prim.Reasons:
    return prim.Reasons(check_values("53_why_it_works", REASONS | values), "cpu")


@pytest.fixture
def all_rows(distinct):
    return lambda study: distinct(row for job in study.jobs for row in study.rows(*job))


# ---- chapter 52 ----------------------------------------------------------------------------------


def test_what_is_compared_follows_the_parts() -> None:
    p = check_values("52_transfer_to_few_images", TRANSFER)
    assert list(prim.starts(p)) == [
        "scratch", "PinkNoise", "Primitives-PS", "TransferGAN", "FreezeD",
    ]  # fmt: skip
    p = check_values("52_transfer_to_few_images", TRANSFER | {"parts": ["sources"]})
    assert list(prim.starts(p)) == ["scratch", "Primitives-PS", "TransferGAN", "FreezeD"]
    p = check_values("52_transfer_to_few_images", TRANSFER | {"parts": ["synthesizers"]})
    assert list(prim.starts(p)) == ["scratch", "PinkNoise", "Primitives-PS"]


def test_each_model_starts_from_its_source(trainings) -> None:
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


def test_objects_are_counted_where_there_is_one(trainings, all_rows) -> None:
    rows = all_rows(transfer())
    counted = [row for row in rows if row["metric"] == "objects_per_image"]
    assert {row["dataset"] for row in counted} == {"digits:3"}
    assert [row["method"] for row in counted][-1] == "real images"
    assert {row["value"] for row in counted[:-1]} == {0.0}  # of black images
    assert 0.8 < counted[-1]["value"] < 2


def test_rows_are_unique_and_gains_are_those_of_the_best_distances(trainings, all_rows) -> None:
    rows = all_rows(transfer(seeds=2))
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


def test_a_median_takes_two_targets_outside(trainings, all_rows) -> None:
    rows = all_rows(transfer(targets=["china", "digits:3"]))
    assert {row["dataset"] for row in rows} == {"china", "digits:3"}


def test_steps_to_95_percent_are_those_of_the_curve(trainings, all_rows) -> None:
    rows = all_rows(transfer(targets=["china"]))
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
        assert steps[model] == (min(reached) if reached else 4 + 2)
        assert share[model] == steps[model] / 4
    assert set(steps.values()) == {0, 2, 6}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"image_size": 12}, "image size 12 is not possible"),
        ({"evaluate_every": 5}, "give at most 4"),
        ({"variants": ["PinkNoise"]}, "compares with Primitives-PS"),
        ({"frozen_blocks": 3}, "the discriminator has 2 at 8 pixels"),
        ({"gan_batch_size": 6}, "multiple of 4"),
        ({"targets": ["chima"]}, "no target 'chima'"),
        ({"real_source": "digit"}, "digits"),
    ],
)
def test_what_chapter_52_cannot_run_is_refused(values, says) -> None:
    with pytest.raises(InputError, match=says):
        prim.check_transfer(check_values("52_transfer_to_few_images", TRANSFER | values))


# ---- chapter 53 ----------------------------------------------------------------------------------


def test_each_training_is_one_job() -> None:
    study = reasons(
        parts=["ablation", "shares", "filters"], targets=["china"], policies=["Decay", "Rand"],
        counts=[0, 100], shares=[1.0, 0.1], methods=["BigGAN+PS", "BigGAN"],
    )  # fmt: skip
    assert study.jobs == [
        ("filters", 0),
        ("ablation", 0, "china", "", 0),
        ("ablation", 0, "china", "Decay", 100),
        ("ablation", 0, "china", "Rand", 100),
        ("ablation", 0, "china", "Decay", 0),
        ("real images", 0),
        ("shares", 0, 1.0, "BigGAN"),
        ("shares", 0, 0.1, "BigGAN"),
        ("shares", 0, 0.1, "BigGAN+PS"),
    ]


def test_a_model_of_both_halves_of_the_ablation_is_trained_once_and_told_twice(
    trainings, all_rows
) -> None:
    study = reasons(parts=["ablation"], targets=["china"], policies=["Decay"], counts=[0, 100])
    rows = all_rows(study)
    best = [row for row in rows if row["metric"] == "best_fd" and row["against"] == "train"]
    told = [(row["train"], row.get("study"), row.get("n_shapes")) for row in best]
    assert told == [
        ("none", None, None),
        ("Primitives-PS", "policy", 100),
        ("Primitives-PS", "count", 100),
        ("Primitives-PS", "count", 0),
    ]
    assert len([kind for kind, *_ in trainings if kind == "finetuned"]) == 3
    sources = [source.name for kind, source, _ in trainings if kind == "pretrained"]
    assert ["shapes=100" in name for name in sources] == [True, False]


def test_pretrained_biggan_keeps_all_but_its_classes_and_augments_as_it_is_called(
    trainings, all_rows
) -> None:
    study = reasons(
        parts=["shares"], shares=[0.1],
        methods=["BigGAN", "BigGAN+DiffAug", "BigGAN+DiffAug+PS", "BigGAN+PS"],
    )  # fmt: skip
    rows = all_rows(study)
    tuned = {}
    for kind, images, more in trainings:
        if kind == "finetuned":
            tuned.setdefault((bool(more["first"]), bool(more["recipe"].augment)), (images, more))
    assert len(tuned) == 4
    for (first, _), (images, more) in tuned.items():
        assert more["skip"] == (("embed",) if first else ())
        assert len(set(np.bincount(images.labels, minlength=10))) == 1  # as many of each class
    before = [(source, more) for kind, source, more in trainings if kind == "pretrained"]
    assert {source.num_classes for source, _ in before} == {10}
    assert {more["recipe"].augment for _, more in before} == {""}
    best = {
        row["method"]: row["value"]
        for row in rows
        if row["metric"] == "best_fd" and row["against"] == "train"
    }
    (gain,) = (row for row in rows if row["metric"] == "gain")
    assert gain["value"] == 1 - best["BigGAN+DiffAug+PS"] / best["BigGAN+DiffAug"]
    alone = reasons(parts=["shares"], shares=[0.1], methods=["BigGAN+DiffAug+PS"])
    assert "gain" not in {row["metric"] for row in all_rows(alone)}


def test_shares_are_nested_and_whole_at_one() -> None:
    study = reasons()
    train = study.images.train
    assert study.share(0, 1.0) is train
    small, large = ({x.tobytes() for x in study.share(0, s).images} for s in (0.1, 0.5))
    assert small < large
    assert prim.per_class(0.1, len(train), 10) * 10 == len(study.share(0, 0.1))


def test_filters_are_compared_layer_by_layer(trainings, all_rows) -> None:
    rows = all_rows(reasons(parts=["filters"]))
    signed: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["metric"] == "filter_similarity":
            signed.setdefault((row["train"], row["network"]), []).append(row["value"])
    assert {train for train, _ in signed} == {"none", "Primitives-PS", "real"}
    told = {(row["metric"], row["train"], row.get("network")): row["value"] for row in rows}
    for (train, network), values in signed.items():
        assert told["mean_filter_similarity", train, network] == pytest.approx(np.mean(values))
        if network == "discriminator":
            assert told["last_layer_similarity", train, network] == values[-1]
            assert told["largest_other_similarity", train, network] == max(values[:-1])
    ours, theirs = (
        np.array(signed[train, "generator"] + signed[train, "discriminator"])
        for train in ("Primitives-PS", "real")
    )
    assert rows[-1]["metric"] == "layers_lower"
    assert rows[-1]["value"] == (ours < theirs).mean()


def test_leaks_are_found_in_images_with_grey_squares() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    assert [row["value"] for row in prim.leak_rows(images)] == [0, 0]
    images[:4, 4:12, 4:12] = 128
    assert {row["metric"]: row["value"] for row in prim.leak_rows(images)}["cutout_like"] == 0.5


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"biggan_latent": 5}, "latent 5 .* multiple of 2"),
        ({"biggan_image_size": 12}, "image size 12"),
        ({"gan_batch_size": 6}, "multiple of 4"),
        ({"biggan_augment": ""}, "leave DiffAug out"),
        ({"shares": [0.001]}, "classes without any"),
        ({"parts": ["ablation"], "targets": ["chima"]}, "no target 'chima'"),
        ({"data": "digit"}, "digits"),
    ],
)
def test_what_chapter_53_cannot_run_is_refused(values, says) -> None:
    with pytest.raises(InputError, match=says):
        prim.check_reasons(check_values("53_why_it_works", REASONS | values))


def test_one_training_is_read_from_the_cache_by_the_pictures(
    monkeypatch, tmp_path, all_rows
) -> None:
    """Nothing is replaced here: a whole job, and its images once more."""
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path))
    study = reasons(
        parts=["shares"], shares=[0.1], methods=["BigGAN+DiffAug+PS"], biggan_steps=2,
        biggan_pretrain_steps=2, biggan_evaluate_every=2, standing_images=8, biggan_batch_size=4,
        extractor_size=32,
    )  # fmt: skip
    rows = all_rows(study)
    assert {row["metric"] for row in rows} >= {"best_fd", "last_fd", "cutout_like"}
    seen: list[Path] = sorted(tmp_path.rglob("key.json"))
    images = study.samples(0, 0.1, "BigGAN+DiffAug+PS")
    assert images.shape == (4, 8, 8, 3)
    assert sorted(tmp_path.rglob("key.json")) == seen
