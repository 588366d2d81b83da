"""Rows of chapter 53, with made-up trainings: which jobs there are, and what is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.networks import create_config, create_discriminator
from synthbook.record.parameters import check_values
from synthbook.studies import reasons

SIZES = ["latent: 4", "channels: 2", "discriminator_channels: 2"]
REASONS = {
    "data": "digits", "biggan_image_size": 8, "biggan_architecture": "biggan",
    "biggan_network_settings": SIZES,
    "biggan_generated": 4,
}  # fmt: skip
LONGER = {  # the training on a share is stopped, and would not be without `share_steps`
    "stop_after": 2, "biggan_finetune_steps": 2, "shares": [0.1], "share_steps": [4],
    "biggan_training_settings": ["schedule=linear"], "biggan_evaluate_every": 2,
}  # fmt: skip


@pytest.fixture
def rows_of(produced):
    """Return a function from a study to its rows, each of which the chapter may produce."""
    return produced("53_why_it_works")


@pytest.fixture
def checked(small):
    return lambda **values: check_values("53_why_it_works", small | REASONS | values)


@pytest.fixture
def study_of(checked):
    return lambda **values: reasons.Reasons(checked(**values), "cpu")


def test_each_training_is_one_job(study_of) -> None:
    study = study_of(
        parts=["ablation", "shares", "filters"], targets=["china"], policies=["Decay", "Rand"],
        counts=[0, 100], shapes=100, shares=[1.0, 0.1], methods=["BigGAN+PS", "BigGAN"],
    )  # fmt: skip
    assert study.jobs == [
        ("drawn images", 0),
        ("filters", 0),
        ("ablation", 0, "china", "", 0),
        ("ablation", 0, "china", "Decay", 100),
        ("ablation", 0, "china", "Rand", 100),
        ("ablation", 0, "china", "Decay", 0),
        ("real images", 0, "digits"),
        ("shares", 0, "digits", 1.0, "BigGAN"),
        ("shares", 0, "digits", 0.1, "BigGAN"),
        ("shares", 0, "digits", 0.1, "BigGAN+PS"),
    ]


@pytest.mark.usefixtures("plain_features")
def test_a_job_of_another_process_is_not_done_again(checked, kept_from_elsewhere) -> None:
    p = checked(parts=["ablation"], targets=["china"], policies=["Decay"], counts=[0])
    kept_from_elsewhere(reasons.Reasons(p, "cpu"), p, ("ablation", 0, "china", "", 0))


def test_further_sets_are_learned_as_the_first_is(study_of) -> None:
    study = study_of(parts=["shares"], more_data=["mnist5k"], shares=[0.1], methods=["BigGAN"])
    assert study.jobs[1:] == [
        ("real images", 0, "digits"),
        ("real images", 0, "mnist5k"),
        ("shares", 0, "digits", 0.1, "BigGAN"),
        ("shares", 0, "mnist5k", 0.1, "BigGAN"),
    ]
    assert len(study.sets["mnist5k"].train) == 1500  # nothing is validated


def test_a_set_with_few_images_to_test_on_lends_some_of_the_others(study_of) -> None:
    plain = study_of(parts=["shares"]).sets["digits"]
    count = len(plain.train)
    study = study_of(parts=["shares"], biggan_generated=1500)
    lent = study.sets["digits"]
    assert reasons.borrowed(1300, count, 1500) == count // 5
    assert len(lent.train) == count - count // 5
    seen = {image.tobytes() for image in lent.train.images}
    held = [image.tobytes() for image in lent.held_out.images]
    assert len(held) == 1300 + count // 5
    before = {image.tobytes() for image in plain.train.images}
    assert sum(one in before for one in held) >= count // 5
    assert sum(one in seen for one in held) < 5  # digits has a few pairs of equal images
    assert reasons.borrowed(10_000, 50_000, 10_000) == 0


def test_steps_are_those_of_the_share(study_of) -> None:
    steps = {"shares": [0.1, 1.0], "share_steps": [5, 6], "biggan_finetune_steps": 100}
    recipes = study_of(**steps).biggan_recipes
    assert {key: recipe.steps for key, recipe in recipes.items()} == {
        (0.1, False): 5, (0.1, True): 5, (1.0, False): 6, (1.0, True): 6,
    }  # fmt: skip
    recipes = study_of(**steps | {"share_steps": []}).biggan_recipes
    assert {recipe.steps for recipe in recipes.values()} == {100}


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({}, [0, 3, 15, 30, 100, 150]),
        ({"image_size": 32}, [0, 5, 25, 50, 100, 250]),
        ({"image_size": 64}, [0, 10, 50, 100, 500]),
        ({"counts": [4, 2]}, [4, 2]),
    ],
)
def test_numbers_of_shapes_are_parts_of_the_usual_number_or_as_given(
    values, counts, checked
) -> None:
    assert reasons.counts_of(checked(**values)) == counts


def test_the_variants_of_biggan_are_those_of_paper_and_public_code(study_of) -> None:
    more = {"paper": [], "public": ["shared: false", "hierarchical: false", "init: normal"]}
    kinds = {
        name: create_config(
            **study_of(biggan_network_settings=[*SIZES, *ones]).sets["digits"].network
        )
        for name, ones in more.items()
    }
    told = {name: (c.shared, c.hierarchical, c.init) for name, c in kinds.items()}
    assert told == {"paper": (True, True, "orthogonal"), "public": (False, False, "normal")}


def test_what_can_be_seen_is_told_once_of_what_is_learned_from(study_of, distinct) -> None:
    parts = ["ablation", "shares"]
    study = study_of(parts=parts, policies=["Decay", "Rand"], biggan_image_size=32)
    rows = distinct(study.rows("drawn images", 0))
    grounds = [row for row in rows if row["metric"] == "visible_ground"]
    (usual,) = (row for row in grounds if row["method"] == "layers")
    assert (usual["train"], usual["n_shapes"]) == ("Primitives-PS", 30)
    lines = [row for row in grounds if row["method"] == "layers of the ablation"]
    assert sorted(
        (r["study"], r["size_policy"], r["n_shapes"], r["relative_n"]) for r in lines
    ) == [
        *(("count", "Decay", n, n / 30) for n in (0, 3, 15, 30, 100, 150)),
        ("policy", "Decay", 30, 1.0),
        ("policy", "Rand", 30, 1.0),
    ]
    (of_biggan,) = (row for row in grounds if row["method"] == "layers for BigGAN")
    assert (of_biggan["n_shapes"], of_biggan["resolution"]) == (50, 32)
    each = [list(study_of(parts=[part]).rows("drawn images", 0)) for part in parts]
    assert all(each)
    assert not {row["method"] for row in each[0]} & {row["method"] for row in each[1]}


@pytest.mark.parametrize("part", ["ablation", "shares"])
def test_a_training_that_is_stopped_has_the_first_part_of_the_curve(
    trainings, study_of, part
) -> None:
    how = {"parts": [part], "targets": ["china"], "shares": [0.1], "biggan_evaluate_every": 2}
    study = study_of(stop_after=2, methods=["BigGAN"], **how)
    whole = study_of(stop_after=0, methods=["BigGAN"], **how)
    job = next(job for job in study.jobs if job[0] == part)
    rows, longer = ([*one.rows(*job)] for one in (study, whole))
    assert {row["metric"] for row in rows} == {"fd"}
    assert {row["metric"] for row in longer} > {"fd", "best_fd"}
    assert all(row in longer for row in rows)
    steps = [more["recipe"].steps for kind, _, more in trainings if kind == "finetuned"]
    assert steps[0] == 2 < steps[-1]


def test_a_model_of_both_halves_of_the_ablation_is_trained_once_and_told_twice(
    trainings, rows_of, study_of
) -> None:
    how = {"targets": ["china"], "policies": ["Decay"], "counts": [0, 100], "shapes": 100}
    study = study_of(parts=["ablation"], **how)
    rows = rows_of(study)
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


def test_pretrained_biggan_keeps_what_is_asked_and_augments_as_it_is_called(
    trainings, rows_of, study_of
) -> None:
    study = study_of(
        parts=["shares"], shares=[0.1],
        methods=["BigGAN", "BigGAN+DiffAug", "BigGAN+DiffAug+PS", "BigGAN+PS"],
    )  # fmt: skip
    rows = rows_of(study)
    tuned = {}
    for kind, images, more in trainings:
        if kind == "finetuned":
            tuned.setdefault((bool(more["first"]), bool(more["recipe"].augment)), (images, more))
    assert len(tuned) == 4
    for images, more in tuned.values():
        assert more["keeps"] == ["embeddings", "adam"]
        assert len(set(np.bincount(images.labels, minlength=10))) == 1  # as many of each class
    before = [(source, more) for kind, source, more in trainings if kind == "pretrained"]
    labels = study.sets["digits"].train.labels.tolist()
    assert {tuple(source.labels.tolist()) for source, _ in before} == {tuple(labels)}
    assert {more["recipe"].augment for _, more in before} == {""}
    best = {
        (row["method"], row["against"], row["selected"]): row["value"]
        for row in rows
        if row["metric"] == "best_fd"
    }
    gains = {row["against"]: row["value"] for row in rows if row["metric"] == "gain"}
    assert gains == {
        way: 1 - best["BigGAN+DiffAug+PS", way, way] / best["BigGAN+DiffAug", way, way]
        for way in ("train", "held_out")
    }
    alone = study_of(parts=["shares"], shares=[0.1], methods=["BigGAN+DiffAug+PS"])
    assert "gain" not in {row["metric"] for row in rows_of(alone)}


def test_shares_are_nested_and_whole_at_one(study_of) -> None:
    study = study_of()
    train = study.sets["digits"].train
    assert study.share(0, "digits", 1.0) is train
    small, large = ({x.tobytes() for x in study.share(0, "digits", s).images} for s in (0.1, 0.5))
    assert small < large
    assert reasons.per_class(0.1, len(train), 10) * 10 == len(study.share(0, "digits", 0.1))


def test_a_share_that_the_smallest_class_cannot_fill_is_refused_before_any_training(
    tmp_path: Path, study_of, checked
) -> None:
    rng, sets = np.random.default_rng(0), {}
    for part, counts in (("train", (4, 16)), ("test", (4, 4))):
        number = sum(counts)
        sets[f"x_{part}"] = rng.integers(0, 256, (number, 16, 16, 3), dtype=np.uint8)
        sets[f"y_{part}"] = np.repeat([0, 1], counts)
    np.savez(tmp_path / "uneven.npz", **sets)
    uneven = {"parts": ["shares"], "data": str(tmp_path / "uneven.npz"), "shares": [0.2, 0.9]}
    reasons.check_reasons(checked(**uneven))
    with pytest.raises(InputError, match="cannot be drawn"):
        study_of(**uneven)
    study_of(**uneven | {"shares": [0.2, 1.0]})
    study_of(**uneven | {"parts": ["filters"]})


def test_filters_are_compared_layer_by_layer(trainings, rows_of, study_of) -> None:
    rows = rows_of(study_of(parts=["filters"]))
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


@pytest.mark.parametrize("architecture", ["sngan", "stylegan2"])
def test_the_convolution_to_colours_is_no_layer(trainings, rows_of, study_of, architecture) -> None:
    given = {"architecture": architecture, "network_settings": ["channels: 4", "latent: 4"]}
    rows = rows_of(study_of(parts=["filters"], **given))
    generator, discriminator = (
        [row for row in rows if row.get("network") == network and row["train"] == "real"]
        for network in ("generator", "discriminator")
    )
    for mine, network in ((generator, "generator"), (discriminator, "discriminator")):
        layers = [row["value"] for row in mine if row["metric"] == "filter_similarity"]
        told = {row["metric"]: row["value"] for row in mine}
        assert told["mean_filter_similarity"] == pytest.approx(np.mean(layers))
        same = told["mean_with_colours"] == pytest.approx(np.mean(layers), abs=1e-12)
        assert same == (architecture == "stylegan2" or network == "discriminator")
    # At 8 pixels: of sngan one block of two, and of stylegan2 one more at the bottom.
    counted = [row["layer"] for row in generator if row["metric"] == "filter_similarity"]
    assert counted == list(range(2 if architecture == "sngan" else 3))


def test_leaks_are_found_in_images_with_grey_squares() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    assert [row["value"] for row in reasons.leak_rows(images)] == [0, 0]
    images[:4, 4:12, 4:12] = 128
    assert {row["metric"]: row["value"] for row in reasons.leak_rows(images)}["cutout_like"] == 0.5


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"biggan_network_settings": ["latent: 5"]}, "latent 5 .* multiple of 2"),
        ({"biggan_image_size": 12}, "image size 12"),
        ({"training_settings": ["batch_size=6"]}, "multiple of 4"),
        ({"biggan_augment": ""}, "leave DiffAug out"),
        (LONGER, "biggan_training_settings: schedule is 'linear' .* of 4 the first 2"),
        ({"shares": [0.001]}, "classes without any"),
        ({"share_steps": [3, 4]}, "give a number of steps for each share"),
        ({"parts": ["filters"], "pretrain_on": "nowhere"}, "no pair of networks"),
        ({"more_data": ["mnist6k"]}, "mnist5k"),
        ({"parts": ["ablation"], "targets": ["chima"]}, "^targets: .*no target 'chima'"),
        ({"data": "digit"}, "digits"),
        ({"quirks": ["fixed_canvas", "worker_streams"]}, "no worker processes draw; leave it out"),
    ],
)
def test_what_chapter_53_cannot_run_is_refused(values, says, checked) -> None:
    with pytest.raises(InputError, match=says):
        reasons.check_reasons(checked(**values))


def test_larger_scales_are_the_tables_of_the_paper() -> None:
    for scale in ("small", "paper"):
        p = check_values("53_why_it_works", {}, scale)
        assert reasons.counts_of(p) == [0, 10, 50, 100, 500]
        assert reasons.steps_at(p).keys() == {0.01, 0.1, 0.2, 1.0}
    assert list(reasons.steps_at(p).values()) == [125_000, 125_000, 250_000, 250_000]


def test_a_discriminator_without_features_above_zero_is_dead() -> None:
    images = ImageSet(np.full((3, 8, 8, 3), 9, np.uint8), np.zeros(3, int), ("a",), "three")
    network = create_discriminator(
        "biggan", image_size=8, discriminator_channels=4, channels=4, latent=4
    )
    assert 0 < reasons.live_features(network, images) <= 1
    with torch.no_grad():
        for block in network.blocks:
            block.conv2.bias.fill_(-1e3)
    assert reasons.live_features(network, images) == 0


def test_one_training_is_read_from_the_cache_by_the_pictures(
    monkeypatch, tmp_path, rows_of, study_of
) -> None:
    """Nothing is replaced here: a whole job, and its images once more."""
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path))
    study = study_of(
        parts=["shares"], shares=[0.1], methods=["BigGAN+DiffAug+PS"], biggan_finetune_steps=2,
        biggan_pretrain_steps=2, biggan_evaluate_every=2, extractor_size=32,
        biggan_training_settings=["batch_size: 4", "standing_images: 8"],
    )  # fmt: skip
    rows = rows_of(study)
    assert {row["metric"] for row in rows} >= {"best_fd", "last_fd", "cutout_like", "live_features"}
    seen: list[Path] = sorted(tmp_path.rglob("key.json"))
    images = study.samples(0, "digits", 0.1, "BigGAN+DiffAug+PS")
    assert images.shape == (4, 8, 8, 3)
    assert sorted(tmp_path.rglob("key.json")) == seen
