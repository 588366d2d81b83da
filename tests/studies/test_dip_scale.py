"""Rows of chapter 43: what each model is given, where images come from, and what is computed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from synthbook.data import load
from synthbook.errors import InputError
from synthbook.gans.networks import create_discriminator, create_generator, save
from synthbook.gans.prior import prior
from synthbook.measure import features
from synthbook.measure.features import Extractor
from synthbook.measure.fidelity import frechet_distance
from synthbook.record.kinds import Whole
from synthbook.record.metrics import PRODUCES
from synthbook.record.parameters import check_values
from synthbook.studies import dip_scale, few_images
from synthbook.studies.dip_scale import Model

CHAPTER = "43_dip_large_scale"
SMALL: dict[str, Any] = {
    "methods": ["baseline", "SSGAN", "Self-Cond GAN", "DIP"], "priors": ["supervised"],
    "targets": ["digits"], "study_targets": ["digits"],
    "study_priors": ["supervised", "self-supervised"], "image_size": 8,
    "network_settings": ["channels=4", "discriminator_channels=4", "latent=4", "embedding=5"],
    "training_settings": [
        "batch_size=4", "standing_images=8", "discriminator_steps=1", "schedule=constant",
    ],
    "finetune_steps": 4, "evaluate_every": 2, "stop_after": 0, "clusters": 5, "centres": 6,
    "components": 3, "generated": 30, "measured": 60, "own_epochs": 1,
}  # fmt: skip


def pixels() -> Extractor:
    """Return features of sight, every second pixel of 8 x 8 grey ones, which is quick."""
    return Extractor(
        "pixels", lambda x: x[:, ::2, ::2].mean(-1).reshape(len(x), -1), fingerprint="pixels"
    )


@pytest.fixture
def study(monkeypatch):
    """Return a function from parameters to the study, with features that are quick."""
    monkeypatch.setattr(features, "extractor", lambda *given, **how: pixels())
    monkeypatch.setattr(dip_scale.frozen, "frozen", lambda *given, **how: pixels())
    monkeypatch.setattr(dip_scale.frozen, "check_frozen", lambda *given: None)

    def made(**values: Any) -> dip_scale.LargeScale:
        checked = check_values(CHAPTER, SMALL | values)
        dip_scale.check_large_scale(checked)
        return dip_scale.LargeScale(checked, "cpu")

    return made


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Replace the trainings by untrained networks; return what they were asked for."""
    calls: list[dict[str, Any]] = []

    def conditioned(images, held_out, recipe, network, asked, **more):
        more |= {"recipe": recipe, "network": network, "asked": asked, "held_out": held_out}
        calls.append(more | {"images": images})
        folder = tmp_path / f"made-{network.get('num_classes')}-{network.get('condition_size')}"
        for seed, which in enumerate(("best", "last")):
            how = {"seed": seed, **network}
            save(create_generator(**how), folder / which, create_discriminator(**how))
        for step in (2, 4):
            np.save(folder / few_images.LABELS.format(step), np.full(30, step))
        curve = {0: 90.0, 2: 20.0, 4: 25.0}
        return few_images.Finetuned(folder, {k: {"held_out": v} for k, v in curve.items()})

    monkeypatch.setattr(few_images, "conditioned", conditioned)
    return calls


def every_row(study: dip_scale.LargeScale) -> list[dict[str, Any]]:
    return [row for job in study.jobs for row in study.rows(*job)]


def test_a_job_of_another_process_is_not_done_again(study, kept_from_elsewhere) -> None:
    made = study(methods=["baseline"])
    kept_from_elsewhere(made, made.p, made.jobs[0])


def test_models_differ_in_what_the_paper_says_and_in_nothing_else(study, asked) -> None:
    made = study()
    for job in made.jobs:
        made.learned(*job)
    networks = {job[3].method: call["network"] for job, call in zip(made.jobs, asked, strict=True)}
    plain = networks["baseline"]
    assert plain["name"] == "sngan_self_modulated"
    assert networks["SSGAN"] == plain
    assert networks["Self-Cond GAN"] == plain | {"num_classes": 5}
    assert networks["DIP"] == plain | {"condition_size": 16}
    assert len({repr(call["recipe"]) for call in asked}) == 1
    assert all(call["recipe"].augment == "" for call in asked)
    pictures = [call["images"].images for call in asked]
    assert all(np.array_equal(pictures[0], some) for some in pictures[1:])
    assert [bool(call["extra"]) for call in asked] == [False, True, True, False]
    assert {call["choosing"] for call in asked} == {"held_out"}


def test_test_images_take_no_part_in_training_or_choice(study, asked) -> None:
    made = study()
    made.learned(*made.jobs[0])
    parts = load("digits", channels=3)
    assert asked[0]["held_out"].fingerprint() == parts.val.fingerprint()
    seen = {image.tobytes() for image in asked[0]["images"].images}
    assert seen == {image.tobytes() for image in parts.train.images}
    assert made.sets("digits").test.fingerprint() == parts.test.fingerprint()


def test_methods_that_add_to_a_training_are_those_of_the_paper(study) -> None:
    made = study()
    rotating, clustering = (made.arguments(*made.jobs[k])[1]["extra"] for k in (1, 2))
    network = create_discriminator(seed=0, **made.network("digits"))
    assert (rotating(network).alpha, rotating(network).beta) == (0.2, 1.0)
    found = clustering(network)
    train = len(made.sets("digits").train)
    assert (found.clusters, found.every, found.samples) == (5, 1, train // 2)


def test_clusters_are_made_of_half_the_images_or_of_so_many_as_the_paper_takes(
    study, monkeypatch
) -> None:
    def samples() -> int:
        made = study()
        return made.arguments(*made.jobs[2])[1]["extra"].keywords["samples"]

    assert dip_scale.CLUSTERED == 50_000  # Appendix C: ImageNet; 25,000, half of them, of CIFAR
    half = samples()
    monkeypatch.setattr(dip_scale, "CLUSTERED", half - 1)
    assert samples() == half - 1
    monkeypatch.setattr(dip_scale, "CLUSTERED", 2)
    assert samples() == 5  # the clusters


def test_the_prior_is_that_of_the_training_images_in_their_order(study) -> None:
    made = study()
    (train, *_, asked), _ = made.arguments(*made.jobs[3])
    assert torch.equal(asked.of_images, prior(pixels()(train.images)).vectors)
    rows = {vector.numpy().tobytes() for vector in asked.of_images}
    assert {vector.numpy().tobytes() for vector in asked.judged} <= rows


def test_a_stopped_training_asks_for_the_whole_one_where_it_is_wanted(study) -> None:
    made = study(stop_after=2)
    steps = [made.arguments(*made.jobs[0], whole=whole)[0][2].steps for whole in (False, True)]
    assert steps == [2, 4]


@pytest.mark.parametrize("inference", ["D_prior", "K-means", "GMM"])
def test_conditions_of_new_images_come_from_where_they_should(study, asked, inference) -> None:
    made = study()
    made.samples(*made.jobs[3], 4, inference=inference)
    (source,) = made.samplers.values()
    conditions = source.sample(400, 0)
    vectors = made.prior("digits", "supervised").vectors
    if inference == "D_prior":
        assert not source.embedded
        assert len(conditions.unique(dim=0)) <= len(vectors)
        return
    assert source.embedded
    assert conditions.shape[1] == 5
    assert len(source.means) == (6 if inference == "K-means" else 3)
    G = made.learned(*made.jobs[3]).generator("last")
    middle = G.embed(vectors).mean(0)
    assert torch.allclose(conditions.mean(0), middle, atol=0.6)


def test_a_self_conditioned_gan_is_asked_for_clusters_as_frequent_as_in_training(
    study, asked, monkeypatch
) -> None:
    made, labels = study(), []
    monkeypatch.setattr(
        dip_scale, "sample", lambda generator, given, **how: labels.append(set(given))
    )
    made.samples(*made.jobs[2], 9)
    made.samples(*made.jobs[2], 9, which="best")
    assert labels == [{4}, {2}]  # the labels that `asked` kept of the last and the best step


def test_distances_are_those_of_the_last_snapshot_to_test_images(study, asked) -> None:
    made = study(methods=["DIP"])
    rows = {r["inference"]: r["value"] for r in every_row(made) if r["metric"] == "last_fd"
            and r["method"] == "DIP"}  # fmt: skip
    real = dip_scale.at_most(made.sets("digits").test, 60, seed=0).images
    for inference in dip_scale.INFERENCES:
        images = made.samples(*made.jobs[0], 60, inference=inference)
        expected = frechet_distance(pixels()(real), pixels()(images))
        assert rows[inference] == pytest.approx(expected, rel=1e-4)


def test_rows_are_unique_listed_and_say_what_chose_them(study, asked, distinct) -> None:
    rows = distinct(every_row(study(parts=["methods", "priors"])))
    listed = PRODUCES[CHAPTER]
    assert {row["metric"] for row in rows} <= set(listed.metric)
    assert {row["method"] for row in rows} <= set(listed.method)
    assert {row["part"] for row in rows} == set(listed.part)
    best = [row for row in rows if row["metric"] == "best_fd"]
    assert {(row["selected"], row["against"]) for row in best} == {("val", "test")}
    whole = {(r["prior"], r["inference"]) for r in rows if r["metric"] == "c_t"}
    assert whole == {("none", "none"), *(("supervised", one) for one in dip_scale.INFERENCES)}


def test_copies_score_as_copies_and_unseen_images_do_not(study, asked) -> None:
    rows = every_row(study(methods=["baseline"], measured=400))
    found = {row["method"]: row["value"] for row in rows if row["metric"] == "c_t"}
    assert found["replayed"] < -5
    assert abs(found["real images"]) < 3


def test_images_of_one_kind_are_precise_and_recall_little() -> None:
    drawn = np.random.default_rng(0).normal(size=(500, 3))
    base, real = drawn[:250], drawn[250:450]
    narrow = np.repeat(real[:1], 200, axis=0)
    made = SimpleNamespace(
        extractor=SimpleNamespace(cached=lambda images: images),
        sets=lambda name: SimpleNamespace(train=SimpleNamespace(images=base)),
    )
    found = dip_scale.LargeScale._measures(made, "d", real, [narrow], 0)  # type: ignore[arg-type]
    assert found["precision"] == 1
    assert found["recall"] < 0.1


def test_a_small_run_is_whole_and_the_same_again(study, distinct, monkeypatch, tmp_path) -> None:
    rows = distinct(every_row(study()))
    assert all(np.isfinite(row["value"]) for row in rows)
    held = {row["method"] for row in rows if row["metric"] == "recall"}
    assert held == {*SMALL["methods"], "replayed", "real images"}
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "another"))
    assert every_row(study()) == rows


def test_a_training_that_is_stopped_has_the_first_part_of_the_curve(study) -> None:
    curves = []
    for stop_after in (2, 0):
        rows = every_row(study(methods=["DIP"], stop_after=stop_after))
        curves.append({row["step"]: row["value"] for row in rows if row["metric"] == "fd"})
    short, whole = curves
    assert short.keys() == {0, 2}
    assert short.items() <= whole.items()


def test_the_own_prior_has_learned_the_training_images_once(study, monkeypatch) -> None:
    seen = []
    learn = dip_scale.train_contrastive
    monkeypatch.setattr(
        dip_scale, "train_contrastive",
        lambda network, images, recipe, **how: seen.append(images) or learn(
            network, images.subset(range(16)), dip_scale.ContrastiveRecipe(1, 8), **how
        ),
    )  # fmt: skip
    made = study(parts=["priors"], study_priors=["own"])
    model = Model("DIP", "own")
    vectors = [made.prior("digits", "own").vectors, study(parts=["priors"]).prior("digits", "own")]
    width = dip_scale.encoder().num_features
    assert vectors[0].shape == (len(made.sets("digits").train), width)
    assert torch.equal(vectors[0], vectors[1].vectors)
    assert [some.fingerprint() for some in seen] == [made.sets("digits").train.fingerprint()]
    assert made.name_of_prior(0, "priors", "digits", model) == "own@8"


def test_a_data_set_may_have_a_bed_of_its_own(study) -> None:
    texts = ["digits.finetune_steps: 6", "digits.channels=8", "digits.measured:10"]
    made = study(target_settings=texts)
    (_, _, recipe, network, _), _ = made.arguments(*made.jobs[0])
    assert recipe.steps == 6
    assert (network["channels"], network["discriminator_channels"]) == (8, 4)
    assert made.bed("digits").measured == 10


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"centres": 5000}, "centres = 5,000 and 'digits' has"),
        ({"stop_after": 3}, "measured every 2 steps"),
        ({"stop_after": 2, "training_settings": ["flip=true"]}, "schedule is 'linear'"),
        ({"targets": ["digitz"]}, "digitz"),
        ({"target_settings": ["digit.measured=9"]}, "no data set of this run; did you mean"),
        ({"target_settings": ["digits.latent=9"]}, "holds 'latent=9', and there is none such"),
        ({"target_settings": ["measured=9"]}, "'' is no data set of this run; write TARGET.name"),
    ],
)
def test_what_chapter_43_cannot_run_is_refused(values, says, study) -> None:
    with pytest.raises(InputError, match=says):
        study(**values)


def test_a_method_is_trained_as_no_other(study, monkeypatch) -> None:
    assert set(get_args(Whole)) == set(dip_scale.METHODS)
    asked = SimpleNamespace(**{**check_values(CHAPTER, SMALL), "methods": ["baseline", "EWC"]})
    with pytest.raises(InputError, match=r"'EWC' .* training in studies/dip_scale.py; add one"):
        dip_scale.models(asked)
    with pytest.raises(InputError, match=r"'EWC' .* no training in added of"):
        study().arguments(0, "methods", "digits", Model("EWC"))
    monkeypatch.setattr(dip_scale, "METHODS", (*dip_scale.METHODS, "EWC"))
    with pytest.raises(InputError, match=r"'EWC' .* no training in added of"):
        dip_scale.check_large_scale(asked)  # before any training


def test_what_only_styles_modulate_is_no_gan_of_these_chapters() -> None:
    for chapter in (CHAPTER, "44_inversion_and_editing"):
        with pytest.raises(InputError, match="architecture"):
            check_values(chapter, {"architecture": "stylegan2"})


def test_a_data_set_that_is_not_there_is_told_with_its_parameter() -> None:
    for part, name in (("methods", "targets"), ("priors", "study_targets")):
        asked = check_values(CHAPTER, SMALL | {"parts": [part], name: ["digit"]})
        with pytest.raises(InputError, match=f"^{name}: unknown data set 'digit'"):
            dip_scale.check_large_scale(asked)


def test_networks_are_checked_by_their_names() -> None:
    checked = check_values(CHAPTER, SMALL | {"priors": ["vgg"]})
    with pytest.raises(InputError, match="priors has 'vgg'"):
        dip_scale.check_large_scale(checked)


def test_the_best_distance_is_that_of_the_best_snapshot_and_the_control_is_of_validation_images(
    study, asked
) -> None:
    made = study(methods=["baseline"])
    rows = every_row(made)
    sets = made.sets("digits")
    real = pixels()(dip_scale.at_most(sets.test, 60, seed=0).images)

    def value(**where):
        (found,) = [r["value"] for r in rows if where.items() <= r.items()]
        return found

    images = made.samples(*made.jobs[0], 60, which="best")
    expected = frechet_distance(real, pixels()(images))
    assert value(metric="best_fd", selected="val") == pytest.approx(expected, rel=1e-4)
    expected = frechet_distance(real, pixels()(sets.val.images))
    assert value(metric="last_fd", method="real images") == pytest.approx(expected, rel=1e-4)
