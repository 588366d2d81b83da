"""Rows of chapter 41: what each model is given, what it starts from, and what is computed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from synthbook.data import at_most
from synthbook.errors import InputError
from synthbook.gans.baselines.self_conditioned import SelfConditioned, unlabelled
from synthbook.gans.invert import walk
from synthbook.gans.networks import create_discriminator, create_generator, save
from synthbook.measure import features
from synthbook.measure.features import Extractor
from synthbook.measure.fidelity import frechet_distance
from synthbook.record.metrics import PRODUCES
from synthbook.record.parameters import check_values
from synthbook.studies import dip, dip_models, few_images
from synthbook.studies.dip_models import ADVERSARIAL, FROM_OTHERS, LOSSES, Model
from synthbook.studies.few_images import Asked, conditioned
from synthbook.studies.kept import Settings
from synthbook.studies.prim import recipe_of
from synthbook.studies.targets import labelled_source

CHAPTER = "41_dip_few_shot"
SMALL: dict[str, Any] = {
    "methods": ["scratch", "DiffAugment"], "targets": ["digits:3"], "study_targets": ["digits:3"],
    "amount_targets": ["digits:3"], "amounts": [4, 6, 8], "real_source": "digits",
    "target_images": 6, "image_size": 8,
    "network_settings": ["channels=4", "discriminator_channels=4", "latent=4", "embedding=5"],
    "training_settings": [
        "batch_size=4", "standing_images=8", "discriminator_steps=1", "schedule=constant",
    ],
    "pretrain_settings": [],
    "pretrain_steps": 2, "finetune_steps": 4, "evaluate_every": 2, "stop_after": 0,
    "generated": 8, "measured": 45, "glann_epochs": 2, "bsa_steps": 2, "frozen_blocks": 1,
    "stylegan2_targets": ["digits:3"], "stylegan2_real_source": "digits:4",
    "stylegan2_image_size": 8, "stylegan2_finetune_steps": 2, "stylegan2_evaluate_every": 2,
    "stylegan2_frozen_blocks": 1,
    "stylegan2_network_settings": ["channels=2", "widest=4", "latent=4", "style=4"],
    "stylegan2_training_settings": ["batch_size=4", "path_length=0", "r1=0.16"],
}  # fmt: skip


def pixels(device: str = "cpu", size: int = 0) -> Extractor:
    """Return features of sight: the mean of each of 4 x 4 squares, which is quick."""

    def squares(images: np.ndarray) -> np.ndarray:
        cut = (
            images.astype(np.float32).mean(-1).reshape(len(images), 4, images.shape[1] // 4, 4, -1)
        )
        return cut.mean((2, 4)).reshape(len(images), -1)

    return Extractor("squares", squares, fingerprint="squares")


@pytest.fixture
def study(monkeypatch):
    """Return a function from parameters to the study, with features that are quick."""
    monkeypatch.setattr(features, "extractor", lambda name, device="cpu", size=0: pixels())

    def made(**values: Any) -> dip.FewShot:
        checked = check_values(CHAPTER, SMALL | values)
        dip.check_few_shot(checked)
        return dip.FewShot(checked, "cpu")

    return made


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Replace the trainings; return what they were asked for: (kind, images, options)."""
    calls: list[tuple[str, Any, dict[str, Any]]] = []

    def pretrained(source, recipe, network, *, seed, device):
        calls.append(("pretrained", source, {"recipe": recipe, "network": network}))
        folder = tmp_path / f"{network['name']} {network['num_classes']}"
        save(create_generator(**network), folder, create_discriminator(**network))
        return folder

    def trained(images, held_out, recipe, network, asked, **more):
        more |= {"recipe": recipe, "network": network, "asked": asked, "held_out": held_out}
        calls.append(("conditioned", images, more))
        save(create_generator(**network), tmp_path / "made" / "best")
        far = 20.0 if network.get("condition_size") else 30.0
        curve = {0: {"held_out": 90.0, "train": 80.0}, 2: {"held_out": far, "train": far - 10}}
        return few_images.Finetuned(tmp_path / "made", curve | {4: curve[0]})

    monkeypatch.setattr(few_images, "pretrained", pretrained)
    monkeypatch.setattr(few_images, "conditioned", trained)
    return calls


def every_row(study: dip.FewShot) -> list[dict[str, Any]]:
    return [row for job in study.jobs for row in study.rows(*job)]


def test_each_model_has_its_networks_and_starts_where_it_should(study, asked) -> None:
    made = study(methods=[*ADVERSARIAL], priors=["supervised"])
    for job in made.jobs:
        made.learned(*job)
    tuned = [more for kind, _, more in asked if kind == "conditioned"]
    models = made.models["methods"]
    assert [(m.method, m.prior) for m in models] == [
        (m, c) for m in ADVERSARIAL for c in ("none", "supervised")
    ]
    for model, more in zip(models, tuned, strict=True):
        network, recipe = more["network"], more["recipe"]
        if model.prior == "none":
            assert network["num_classes"] == 6
            assert "condition_size" not in network
            assert more["asked"].of_images is None
        else:
            assert network["condition_size"] == 16
            assert more["asked"].of_images.shape == (6, 16)
        assert (more["first"] is not None) == (model.method in FROM_OTHERS)
        assert recipe.frozen_blocks == (1 if model.method == "FreezeD" else 0)
        assert bool(recipe.augment) == bool(recipe.consistency) == (model.method == "DiffAugment")
        assert more["choosing"] == "held_out"


def test_a_prior_is_called_by_its_name_whatever_its_network_is(study, asked) -> None:
    made = study(methods=["scratch"], priors=["supervised=lite0", "other=lite0"])
    names = [model.prior for model in made.models["methods"]]
    assert names == ["none", "supervised", "other"] == ["none", *made.priors]
    assert [dip.shown(model) for model in made.models["methods"]] == [
        "scratch", "scratch + DIP", "scratch + DIP, other",
    ]  # fmt: skip
    for job in made.jobs:
        made.learned(*job)


def test_the_gan_of_other_images_knows_their_classes_and_not_the_target(study, asked) -> None:
    made = study(methods=["TransferGAN"])
    made.learned_before(0, "methods", made.models["methods"][0])
    ((kind, source, more),) = asked
    assert kind == "pretrained"
    assert source.num_classes == more["network"]["num_classes"] == 9
    threes = {image.tobytes() for image in made.images(0, *made.jobs[0][1:]).train.images}
    assert not threes & {image.tobytes() for image in source.images}


def test_a_source_may_be_learned_in_another_way_than_a_target(study, asked) -> None:
    """Where settings are given for it, they replace those of the same name, and no others."""
    plain = study(methods=["FreezeD"])
    other = study(methods=["FreezeD"], pretrain_settings=["batch_size: 6", "flip: true"])
    recipes = []
    for made in (plain, other):
        asked.clear()
        made.learned_before(0, "methods", Model("FreezeD"))
        recipes.append(next(given["recipe"] for kind, _, given in asked if kind == "pretrained"))
        assert made.recipe("methods", Model("FreezeD")).batch_size == 4
    assert replace(recipes[0], batch_size=6, flip=True) == recipes[1]
    assert recipes[0].steps == 2
    with pytest.raises(InputError, match=r"pretrain_settings holds .batchsize: 6"):
        study(methods=["FreezeD"], pretrain_settings=["batchsize: 6"])


@pytest.mark.parametrize("classed", [True, False])
def test_a_folder_has_the_classes_of_its_folders(tmp_path, classed) -> None:
    for k in range(24):
        home = (
            tmp_path / "images" / ("odd" if k % 2 else "even") if classed else tmp_path / "images"
        )
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 10 * k, np.uint8)).save(home / f"{k}.png")
    found = labelled_source(str(tmp_path / "images"), without=[], image_size=8)
    assert len(found) == 24
    assert found.num_classes == 1 + classed
    brightness = found.images[:, 0, 0, 0] // 10
    assert not classed or np.array_equal(found.labels, brightness % 2)


def test_a_pair_with_a_prior_differs_in_nothing_else(study, asked) -> None:
    made = study(methods=["DiffAugment"])
    alone, with_prior = (made.given(*job) for job in made.jobs)
    assert np.array_equal(alone[0].train.images, with_prior[0].train.images)
    assert made.recipe("methods", made.jobs[0][3]) == made.recipe("methods", made.jobs[1][3])
    differ = {k for k in {**alone[1], **with_prior[1]} if alone[1].get(k) != with_prior[1].get(k)}
    assert differ == {"num_classes", "condition_size"}


def test_judged_conditions_lie_between_two_training_images_features(study) -> None:
    made = study(methods=["scratch"])
    _, _, given = made.given(*made.jobs[1])
    rows = given.of_images
    for judged in given.judged:
        apart = min(
            (judged - torch.lerp(a, b, share)).norm().item()
            for i, a in enumerate(rows)
            for b in rows[i:]
            for share in [
                ((judged - a) @ (b - a) / ((b - a) @ (b - a)).clamp_min(1e-9)).clamp(0, 1)
            ]
        )
        assert apart < 1e-3
    labels = made.given(*made.jobs[0])[2].judged
    assert labels == [0, 1, 2, 3, 4, 5, 0, 1]


def test_clusters_and_controls_take_the_place_of_embeddings(study) -> None:
    made = study(parts=["labels", "controls"], target_images=12)
    by_labels = {job[3].labels: made.given(*job) for job in made.jobs if job[3].prior == "none"}
    assert by_labels["5"][1]["num_classes"] == 5
    assert set(by_labels["5"][2].judged) <= set(range(5))
    assert by_labels["none"][2].judged == [None] * 8
    assert "num_classes" not in by_labels["none"][1]
    assert by_labels["self-modulated"][1]["name"] == "sngan_self_modulated"
    made = study(parts=["labels"], target_images=4)
    too_many = next(job for job in made.jobs if job[3].labels == "5")
    with pytest.raises(InputError, match="clusters cannot be made"):
        made.given(*too_many)


def test_fewer_images_are_some_of_more_with_the_same_held_out(study) -> None:
    made = study(parts=["amount"])
    assert [job[3].images for job in made.jobs] == [4, 4, 6, 6, 8, 8]
    sets = [made.images(*job) for job in made.jobs[::2]]
    seen = [{image.tobytes() for image in few.train.images} for few in sets]
    assert [len(few.train) for few in sets] == [4, 6, 8]
    assert seen[0] < seen[1] < seen[2]
    assert len({few.held_out.fingerprint() for few in sets}) == 1


def test_as_many_images_are_held_out_as_are_asked_for(study) -> None:
    usual, fewer = study(), study(held_out_images=30)
    one, other = (made.images(*made.jobs[0]) for made in (usual, fewer))
    assert len(other.held_out) == 30 < len(one.held_out)
    assert one.train.fingerprint() == other.train.fingerprint()


def test_images_that_are_alike_are_nearer_to_each_other(study, asked) -> None:
    rows = every_row(study(parts=["alike"]))
    spread = {r["chosen"]: r["value"] for r in rows if r["metric"] == "prior_spread"}
    assert spread["alike"] < spread["random"]
    gains = {r["chosen"]: r["value"] for r in rows if r["metric"] == "gain"}
    assert gains == {"random": pytest.approx(0.5), "alike": pytest.approx(0.5)}


def test_losses_are_those_that_are_named(study) -> None:
    made = study(parts=["losses"])
    found = {(job[3].loss, made.recipe("losses", job[3]).loss) for job in made.jobs}
    assert found == {(loss, loss) for loss in LOSSES}


def test_rows_are_unique_listed_and_say_what_chose_them(study, asked, distinct) -> None:
    parts = ["methods", "labels", "losses", "amount", "controls"]
    rows = distinct(every_row(study(parts=parts, target_images=12)))
    listed = PRODUCES[CHAPTER]
    assert {row["metric"] for row in rows} <= set(listed.metric)
    assert {row["method"] for row in rows} <= set(listed.method)
    assert {row["part"] for row in rows} <= set(listed.part)
    best = [r for r in rows if r["metric"] == "best_fd" and r["against"] == "held_out"]
    assert {row["selected"] for row in best} == {"held_out"}
    assert {r["value"] for r in best if r["method"] != "replayed"} == {20.0, 30.0}


def test_replayed_images_are_compared_as_generated_ones_are(study, asked) -> None:
    made = study(methods=["scratch"])
    rows = [row for row in every_row(made) if row["method"] == "replayed"]
    few = made.images(*made.jobs[0])
    base, held = (pixels()(some.images) for some in (few.train, few.held_out))
    again = dip.replayed(base, 8, seed=0)
    values = {row["metric"]: row["value"] for row in rows}
    assert values["best_fd"] == pytest.approx(frechet_distance(held, again), rel=1e-4)
    assert set(values) == {"best_fd", "precision", "recall", "c_t"}
    again = dip.replayed(base, made.p.measured, seed=0)
    assert dip.judged(base, held, again, 0) == {m: values[m] for m in values if m != "best_fd"}


def test_a_model_that_draws_ten_images_alone_is_judged_beside(study) -> None:
    made = study(methods=["scratch"], target_images=12)
    rows = {(row["method"], row["metric"]): row["value"] for row in every_row(made)}
    few = made.images(*made.jobs[0])
    base, held = (pixels()(some.images) for some in (few.train, few.held_out))
    ten = pixels()(at_most(few.train, 10, seed=0).images)
    assert len(ten) == 10
    again = dip.replayed(ten, made.p.measured, seed=0)
    assert len(np.unique(again, axis=0)) <= 10
    expected = dip.judged(base, held, again, 0)
    assert expected == {m: rows["ten replayed", m] for m in expected}


def test_copies_and_fresh_images_are_judged_as_what_they_are() -> None:
    drawn = np.random.default_rng(0).normal(size=(600, 4))
    base, held, fresh = drawn[:150], drawn[150:350], drawn[350:]
    copies = dip.judged(base, held, dip.replayed(base, 250, seed=0), 0)
    others = dip.judged(base, held, fresh, 0)
    assert copies["c_t"] < -3 < others["c_t"]
    narrow = dip.judged(base, held, np.repeat(fresh[:1], 250, axis=0), 0)
    assert narrow["recall"] < others["recall"]


def test_a_small_run_is_whole_and_the_same_again(study, distinct, monkeypatch, tmp_path) -> None:
    values = {"methods": ["scratch", "GLANN", "BSA"], "perceptual": "efficientnet_lite0"}
    monkeypatch.setattr(few_images, "network_maps", lambda name: lambda x: [x])
    rows = distinct(every_row(study(**values)))
    held = {(r["method"], r["prior"]) for r in rows if r["metric"] == "precision"}
    assert held == {
        ("scratch", "none"), ("scratch", "supervised"), ("GLANN", "none"), ("GLANN", "supervised"),
        ("BSA", "none"), ("replayed", "none"), ("ten replayed", "none"),
    }  # fmt: skip
    assert all(np.isfinite(row["value"]) for row in rows)
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "another"))
    assert every_row(study(**values)) == rows


def test_a_training_that_is_stopped_has_the_first_part_of_the_curve(study) -> None:
    curves = []
    for stop_after in (2, 0):
        rows = every_row(study(methods=["DiffAugment"], stop_after=stop_after))
        curves.append({(r["prior"], r["step"]): r["value"] for r in rows if r["metric"] == "fd"})
        assert ({row["metric"] for row in rows} == {"fd"}) == bool(stop_after)
    short, whole = curves
    assert {step for _, step in short} == {0, 2}
    assert short.items() <= whole.items()


def test_no_training_is_longer_for_being_stopped(study, asked) -> None:
    """StyleGAN2 has fewer steps than the others, and ends before they are stopped."""
    made = study(parts=["methods", "stylegan2"], finetune_steps=8, stop_after=4)
    steps = {part: made.recipe(part, some[0]).steps for part, some in made.models.items()}
    assert steps == {"methods": 4, "stylegan2": 2}
    rows = every_row(made)
    metrics = {part: {row["metric"] for row in rows if row["part"] == part} for part in steps}
    assert metrics["methods"] == {"fd"}
    assert {"best_fd", "last_fd", "late_gain"} <= metrics["stylegan2"]


def test_a_job_of_another_process_is_not_done_again(study, kept_from_elsewhere) -> None:
    made = study(methods=["scratch"])
    kept_from_elsewhere(made, made.p, made.jobs[-1])


def test_stylegan2_learns_in_a_bed_of_its_own(study, asked) -> None:
    made = study(parts=["stylegan2"])
    every_row(made)
    network = made.network("stylegan2")
    assert network["name"] == "stylegan2_mlp"
    assert network["image_size"] == 8
    tuned = [more for kind, _, more in asked if kind == "conditioned"]
    assert {more["recipe"].loss for more in tuned} == {"non_saturating"}
    assert {more["choosing"] for more in tuned} == {"train"}


def test_stylegan2_of_the_paper_has_the_settings_of_diffaugments_code() -> None:
    recipe = recipe_of(dip.of_bed(check_values(CHAPTER, {}, "paper"), "stylegan2"))
    assert (recipe.batch_size, recipe.r1, recipe.path_length) == (16, 10, 0)
    assert recipe.flip
    assert recipe.ema_half_life == recipe.ema_start * recipe.batch_size == 10_000


def test_walks_begin_and_end_at_training_images_conditions(study) -> None:
    made = study(methods=["scratch"])
    for job in made.jobs:
        images = made.walk(*job, (0, 5), 3)
        assert images.shape == (3, 8, 8, 3)
        generator, plain = made.learned(*job).generator("best"), job[-1].prior == "none"
        conditions = generator.embed.weight.detach() if plain else made.prior(*job).vectors
        how = {"seed": job[0], "images": 3, "embedded": plain}
        for place, k in ((0, 0), (-1, 5)):
            stays = walk(generator, conditions[k], conditions[k], **how)
            assert np.array_equal(images[place], stays[place])
        assert not np.array_equal(images[0], images[-1])
        there, back = made.walk(*job, (0, 5), 2), made.walk(*job, (5, 0), 2)
        assert np.array_equal(there, back[::-1])


def test_stylegan2_is_asked_and_walked_between_its_embeddings(study, asked) -> None:
    """Its G_emb is no single layer whose weights would be the embeddings."""
    made = study(parts=["stylegan2"])
    jobs = [job for job in made.jobs if job[3].between and job[3].prior == "none"]
    assert [job[3].method for job in jobs] == ["FreezeD", "DiffAugment"]
    for job in jobs:
        assert made.samples(*job, 3, between=True).shape == (3, 8, 8, 3)
        there, back = made.walk(*job, (0, 5), 3), made.walk(*job, (5, 0), 3)
        assert np.array_equal(there, back[::-1])
        assert not np.array_equal(there[0], there[2])


def test_the_nearest_image_of_a_training_image_is_itself(study) -> None:
    made = study()
    train = made.images(*made.jobs[0]).train.images
    assert np.array_equal(made.beside(train[:3], train), train[:3])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"frozen_blocks": 9}, "frozen_blocks = 9 and the discriminator of methods has"),
        ({"target_images": 500}, "target_images = 500 and 'digits:3' has"),
        ({"stop_after": 3}, "measured every 2 steps"),
        ({"stop_after": 2, "training_settings": ["flip=true"]}, "schedule is 'linear'"),
        ({"architecture": "stylegan2"}, "architecture = 'stylegan2'"),
        ({"targets": ["chima"]}, "^targets: there is no target 'chima'"),
        ({"study_targets": ["chima"], "parts": ["losses"]}, "^study_targets: there is no target"),
        ({"priors": [], "parts": ["labels"]}, "priors is empty, and the part labels takes"),
        ({"priors": [], "parts": ["methods", "alike"]}, "the part alike takes features"),
        ({"architecture": "biggan", "parts": ["controls"]}, "the part controls .* give sngan, or"),
        ({"priors": [], "methods": ["BSA"], "real_source": "digit"}, "^real_source: .*digits"),
    ],
)
def test_what_chapter_41_cannot_run_is_refused(values, says, study) -> None:
    with pytest.raises(InputError, match=says):
        study(**values)


def test_missing_weights_of_the_distance_are_named_before_work(
    study, monkeypatch, tmp_path
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert check_values(CHAPTER, {}, "paper").perceptual == "vgg16"
    for methods in (["GLANN"], ["BSA"]):
        with pytest.raises(InputError, match="no weights of VGG16"):
            study(methods=methods, perceptual="vgg16")
    study(methods=["scratch"], perceptual="vgg16")


def test_a_method_is_trained_as_no_other(study, monkeypatch) -> None:
    made = study()
    with pytest.raises(InputError, match=r"'EWC' .* no training in recipe of"):
        made.recipe("methods", Model("EWC"))
    asked = Settings(**{**made.p, "methods": ["scratch", "EWC"]})
    monkeypatch.setattr(dip_models, "ADVERSARIAL", (*ADVERSARIAL, "EWC"))
    with pytest.raises(InputError, match=r"'EWC' .* no training in recipe of"):
        dip.check_few_shot(asked)  # before any training
    monkeypatch.setitem(few_images.WITHOUT, "EWC", None)
    with pytest.raises(InputError, match=r"'EWC' .* no training in fitting of"):
        dip.check_few_shot(asked)
    with pytest.raises(InputError, match=r"'EWC' .* no training in fitting of"):
        made.learned(0, "methods", "digits:3", Model("EWC", images=6))


# -- few_images.conditioned ------------------------------------------------------------------------


@pytest.fixture
def few():
    return dip.target("digits:3", count=6, image_size=8, seed=0)


def learned(few: Any, asked: Asked, **more: Any) -> few_images.Finetuned:
    network = {"name": "sngan", "image_size": 8, "channels": 4, "discriminator_channels": 4}
    network |= {"latent": 4, "embedding": 5, "condition_size": 3}
    recipe = dip.Training(steps=4, batch_size=4, standing_images=8)
    how = {"first": None, "extractor": pixels(), "evaluate_every": 2, "seed": 0} | more
    return conditioned(few.train, few.held_out, recipe, network, asked, **how)


def test_a_conditional_training_is_judged_at_the_conditions_that_were_asked(few) -> None:
    vectors = torch.eye(3).repeat(2, 1)
    found = learned(few, Asked(vectors, vectors[:5]))
    last = found.generator("last")
    images = few_images.asked_images(last, vectors[:5], seed=0)
    held, made = (pixels()(some) for some in (few.held_out.images, images))
    assert found.history[4]["held_out"] == pytest.approx(frechet_distance(held, made), rel=1e-4)
    assert np.array_equal(found.images(4), images)


def test_the_set_that_chooses_says_which_snapshot_is_the_best(few) -> None:
    vectors = torch.eye(3).repeat(2, 1)
    for choosing in ("train", "held_out"):
        found = learned(few, Asked(vectors, vectors), choosing=choosing)
        step = found.chosen(choosing)
        images = few_images.asked_images(found.generator("best"), vectors, seed=0)
        assert np.array_equal(found.images(step), images[: few_images.SEEN])


def test_other_conditions_are_another_training(few) -> None:
    vectors = torch.eye(3).repeat(2, 1)
    first = learned(few, Asked(vectors, vectors))
    assert learned(few, Asked(vectors, vectors)).folder == first.folder
    assert learned(few, Asked(2 * vectors, vectors)).folder != first.folder
    assert learned(few, Asked(vectors, 2 * vectors)).folder != first.folder


def test_without_held_out_images_they_cannot_choose(few) -> None:
    alone = dip.replace(few, held_out=None)
    with pytest.raises(InputError, match="no held_out images"):
        learned(alone, Asked(torch.eye(3).repeat(2, 1), torch.eye(3)), choosing="held_out")


def test_scores_are_those_of_the_discriminator_and_change_no_training(few) -> None:
    vectors = torch.eye(3).repeat(2, 1)
    plain = learned(few, Asked(vectors, vectors[:5]))
    found = learned(few, Asked(vectors, vectors[:5]), scored=4)
    for step, numbers in plain.history.items():
        assert found.history[step]["held_out"] == numbers["held_out"]
    discriminator = few_images.networks.load_discriminator(found.folder / "last").eval()
    some = {"train": few.train.images[:4], "held_out": few.held_out.images[:4]}
    for name, images in some.items():
        pixels_in = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
        expected = discriminator.psi(discriminator.features(pixels_in)).mean().item()
        assert found.history[4][f"score_{name}"] == pytest.approx(expected, abs=1e-5)
    assert found.history[0]["score_generated"] != found.history[4]["score_generated"]


def test_an_extra_is_trained_along_and_labels_the_judged_images(few) -> None:
    clusters = partial(SelfConditioned, clusters=2, every=2, samples=6, seed=0)
    network = {"name": "sngan", "image_size": 8, "channels": 4, "discriminator_channels": 4}
    network |= {"latent": 4, "num_classes": 2}
    recipe = dip.Training(steps=4, batch_size=4, standing_images=8)
    found = conditioned(
        unlabelled(few.train, 2), few.held_out, recipe, network, Asked(None, 9),
        first=None, extractor=pixels(), evaluate_every=2, seed=0, extra=lambda d: clusters(),
    )  # fmt: skip
    labels = np.load(found.folder / few_images.LABELS.format(4))
    assert labels.shape == (9,)
    assert set(labels) == {0, 1}
    last = found.generator("last")
    images = few_images.asked_images(last, labels.tolist(), seed=0)
    assert np.array_equal(found.images(4), images[: few_images.SEEN])
