"""Rows of chapter 42: what each model is given, what it starts from, and what is computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans.networks import (
    create_discriminator,
    create_generator,
    load,
    save,
)
from synthbook.gans.recipes import Training
from synthbook.measure import features
from synthbook.measure.features import Extractor
from synthbook.measure.fidelity import frechet_distance
from synthbook.record.metrics import PRODUCES
from synthbook.record.parameters import check_values
from synthbook.studies import dip_limited, dip_limited_models, few_images, mined
from synthbook.studies.kept import Settings
from synthbook.studies.targets import target

CHAPTER = "42_dip_limited_data"
NETWORKS = ["channels=4", "discriminator_channels=4", "latent=4", "embedding=5"]
TRAINING = ["batch_size=4", "standing_images=8", "discriminator_steps=1", "schedule=constant"]
SMALL: dict[str, Any] = {
    "methods": ["scratch"], "targets": ["digits:3"], "target_images": [12],
    "real_source": "digits", "data": "digits", "shares": [0.01, 0.02], "image_size": 8,
    "network_settings": NETWORKS, "training_settings": TRAINING, "share_image_size": 8,
    "share_network_settings": NETWORKS, "share_training_settings": [*TRAINING, "flip=true"],
    "stylegan2_network_settings": ["channels=2", "widest=4", "latent=4", "style=4"],
    "stylegan2_training_settings": ["batch_size=4", "path_length=0", "r1=0.16"],
    "pretrain_settings": [], "pretrain_steps": 2, "mining_steps": 2, "finetune_steps": 4,
    "share_steps": 4,
    "evaluate_every": 2, "stop_after": 0, "generated": 8, "frozen_blocks": 1,
}  # fmt: skip
ALL = [*dip_limited.FINETUNED, "scratch"]


def squares(name: str = "", device: str = "cpu", *, size: int = 0) -> Extractor:
    """Return features of sight: the mean of each of 4 x 4 squares, which is quick."""

    def means(images: np.ndarray) -> np.ndarray:
        cut = images.astype(np.float32).mean(-1)
        cut = cut.reshape(len(images), 4, images.shape[1] // 4, 4, -1)
        return cut.mean((2, 4)).reshape(len(images), -1)

    return Extractor("squares", means, fingerprint="squares")


@pytest.fixture
def study(monkeypatch):
    """Return a function from parameters to the study, with features that are quick."""
    monkeypatch.setattr(features, "extractor", squares)
    monkeypatch.setattr(dip_limited.frozen, "frozen", squares)

    def made(**values: Any) -> dip_limited.Limited:
        given = SMALL | values
        if "finetuning" not in given.get("parts", ()) and "targets" not in values:
            del given["targets"]
        checked = check_values(CHAPTER, given)
        dip_limited.check_limited(checked)
        return dip_limited.Limited(checked, "cpu")

    return made


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Replace the trainings; return what they were asked for: (kind, images, options)."""
    calls: list[tuple[str, Any, dict[str, Any]]] = []

    def pretrained(source, recipe, network, *, seed, device):
        calls.append(("pretrained", source, {"recipe": recipe, "network": network}))
        save(create_generator(**network), tmp_path / "pair", create_discriminator(**network))
        return tmp_path / "pair"

    def curve(far: float, scored: int) -> dict[int, dict[str, float]]:
        names = [f"score_{name}" for name in ("train", "held_out", "generated")] if scored else []
        at = [{"held_out": 90.0, "train": 80.0}, {"held_out": far, "train": far - 10}]
        return {
            step: at[k] | dict(zip(names, (3.0, 2.0 - step, 1.0), strict=bool(names)))
            for step, k in ((0, 0), (2, 1), (4, 0))
        }

    def trained(images, held_out, recipe, network, asked, *, scored, **more):
        more |= {"recipe": recipe, "network": network, "asked": asked, "held_out": held_out}
        calls.append(("conditioned", images, more))
        far = 20.0 if network.get("condition_size") else 30.0
        return few_images.Finetuned(tmp_path / "made", curve(far, scored))

    def mining(images, held_out, mining, finetuning, **more):
        calls.append(("mined", images, more | {"mining": mining, "finetuning": finetuning}))
        return few_images.Finetuned(tmp_path / "made", curve(25.0, 0))

    monkeypatch.setattr(few_images, "pretrained", pretrained)
    monkeypatch.setattr(few_images, "conditioned", trained)
    monkeypatch.setattr(dip_limited, "mined", mining)
    return calls


def test_a_method_without_a_training_is_told_before_any_training(study, monkeypatch) -> None:
    given = {**study(parts=["fractions"]).p, "methods": ["scratch", "EWC"]}
    monkeypatch.setattr(dip_limited_models, "AFRESH", ("scratch", "EWC"))
    with pytest.raises(InputError, match=r"'EWC' .* no training in recipe of"):
        dip_limited.check_limited(Settings(**given, own=lambda name: False))


def every_row(study: dip_limited.Limited) -> list[dict[str, Any]]:
    return [row for job in study.jobs for row in study.rows(*job)]


def test_a_job_of_another_process_is_not_done_again(study, kept_from_elsewhere) -> None:
    made = study(parts=["fractions"])
    kept_from_elsewhere(made, made.p, made.jobs[0])


def test_as_many_images_of_a_target_are_held_out_as_are_asked_for(study) -> None:
    how = {"parts": ["finetuning", "fractions"], "methods": ["FreezeD", "scratch"]}
    usual, fewer = study(**how), study(**how, held_out_images=30)
    one, other = (made.images(*made.jobs[0]) for made in (usual, fewer))
    assert len(other.held_out) == 30 < len(one.held_out)
    assert one.train.fingerprint() == other.train.fingerprint()
    shares = [made.images(*made.jobs[-1]).held_out for made in (usual, fewer)]
    assert len(shares[0]) == len(shares[1]) == 8  # as many as are generated


def test_each_part_has_its_models(study) -> None:
    priors = ["supervised", "another=lite0"]
    parts = ["finetuning", "fractions", "scores", "stylegan2"]
    found = study(parts=parts, methods=ALL, priors=priors).models
    assert [(m.method, m.prior) for m in found["finetuning"]] == [
        ("TransferGAN", "none"), ("TransferGAN", "supervised"), ("FreezeD", "none"),
        ("FreezeD", "supervised"), ("DiffAugment", "none"), ("DiffAugment", "supervised"),
        ("DiffAugment", "another"), ("MineGAN", "none"),
    ]  # fmt: skip
    four = {(m, c) for m in ("scratch", "DiffAugment") for c in ("none", "supervised")}
    for share in (0.01, 0.02):
        assert {(m.method, m.prior) for m in found["fractions"] if m.share == share} == four
    assert [(m.share, m.method, m.prior) for m in found["scores"]] == [
        (0.01, "scratch", "none"), (0.01, "scratch", "supervised"),
    ]  # fmt: skip
    assert len(found["stylegan2"]) == 6


@pytest.mark.parametrize("part", ["finetuning", "fractions", "stylegan2"])
def test_a_pair_with_a_prior_differs_in_the_condition_alone(part, study) -> None:
    made = study(parts=[part], methods=ALL)
    pairs = [job for job in made.jobs if job[3].prior != "none"]
    for seed, _, name, model in pairs:
        alone = replace(model, prior="none")
        one, two = (made.given(seed, part, name, m) for m in (alone, model))
        assert one[0].train.fingerprint() == two[0].train.fingerprint()
        assert {k: v for k, v in two[1].items() if one[1].get(k) != v} == {"condition_size": 16}
        recipes = [dip_limited.recipe(made.p, part, m) for m in (alone, model)]
        if part == "fractions" and model.method == "DiffAugment":
            assert [recipe.consistency for recipe in recipes] == [10.0, 1.0]
            recipes[1] = replace(recipes[1], consistency=10.0)
        assert recipes[0] == recipes[1]
        assert bool(recipes[0].augment) == (model.method == "DiffAugment")
        assert recipes[0].flip == (part == "fractions")


def test_a_finetuned_model_keeps_what_is_not_of_the_condition(study, asked) -> None:
    made = study(parts=["finetuning"], methods=["TransferGAN", "FreezeD"])
    for job in made.jobs:
        made.learned(*job)
    tuned = [more for kind, _, more in asked if kind == "conditioned"]
    assert [more["recipe"].frozen_blocks for more in tuned] == [0, 0, 1, 1]
    pair = tuned[0]["first"]
    theirs = load(pair).state_dict()
    for more in tuned[:2]:
        start = few_images.started(more["network"], more["first"], seed=0, keeps=())
        ours = start.average.state_dict()
        same = {name for name in ours if name in theirs and theirs[name].shape == ours[name].shape}
        assert all(torch.equal(ours[name], theirs[name]) for name in same)
        new = {name.split(".")[2] for name in ours.keys() - same if name.startswith("blocks")}
        assert new == {"norm1", "norm2"} or all("norm" in name for name in new)
        assert all(
            "embed" in name or "gain" in name or "bias" in name for name in ours.keys() - same
        )


@pytest.mark.parametrize(("architecture", "keeps"), [("sngan", False), ("biggan", True)])
def test_who_keeps_gains_and_biases_is_as_the_page_says(architecture, keeps, study, asked) -> None:
    settings = [*NETWORKS[:2], "latent=6", "embedding=5"]
    made = study(
        parts=["finetuning"], methods=["TransferGAN"], architecture=architecture,
        network_settings=settings,
    )  # fmt: skip
    for job in made.jobs:
        made.learned(*job)
    kept = {}
    for kind, _, more in asked:
        if kind == "conditioned":
            theirs = load(more["first"]).state_dict()
            ours = few_images.started(more["network"], more["first"], seed=7, keeps=()).average
            held = {k: v for k, v in ours.state_dict().items() if v.unique().numel() > 1}
            same = {k for k, v in held.items() if k in theirs and torch.equal(theirs[k], v)}
            norms = {k for k in held if ".gain." in k or ".bias." in k}
            assert norms
            kept[more["network"].get("condition_size", 0) > 0] = norms <= same
            assert keeps or not norms & same
            last = ours.norm.state_dict()
            assert all(torch.equal(last[k], theirs[f"norm.{k}"]) for k in ("weight", "bias"))
    assert kept == {False: False, True: keeps}


def test_mining_is_part_of_the_steps_that_the_others_have(study, asked, monkeypatch) -> None:
    made = study(parts=["finetuning"], methods=["MineGAN"])
    monkeypatch.setattr(made, "learned_before", lambda *_: None)
    made.learned(*made.jobs[0])
    ((_, _, more),) = asked
    mining, finetuning = more["mining"], more["finetuning"]
    assert (mining.steps, finetuning.steps) == (2, 2)
    usual = dip_limited.recipe(made.p, "finetuning", dip_limited.Model("TransferGAN"))
    assert usual == replace(mining, steps=4) == replace(finetuning, steps=4)


def test_the_first_gan_is_that_of_chapter_41(study, asked) -> None:
    made = study(parts=["finetuning"], methods=["TransferGAN"])
    made.learned_before(0, "finetuning")
    ((_, source, more),) = asked
    assert source.num_classes == more["network"]["num_classes"] == 9
    assert more["network"]["name"] == "sngan"
    threes = {image.tobytes() for image in made.images(0, *made.jobs[0][1:]).train.images}
    assert not threes & {image.tobytes() for image in source.images}


def test_shares_are_nested_and_unseen_images_the_same(study) -> None:
    made = study(shares=[0.01, 0.02, 1.0])
    sets = [made.images(0, "fractions", "digits", m) for m in made.models["fractions"][::2]]
    seen = [sorted(image.tobytes() for image in few.train.images) for few in sets]
    assert len(seen[1]) == 2 * len(seen[0])
    assert {*seen[0]} < {*seen[1]} < {*seen[2]}
    assert len({few.held_out.fingerprint() for few in sets}) == 1
    assert not {*seen[2]} & {image.tobytes() for image in sets[0].held_out.images}
    assert len(sets[0].held_out) == 8
    labels = sets[2].train.labels
    assert (np.diff(labels) != 0).mean() > 0.05  # in no order: the first are a fair choice
    other = made.images(1, "fractions", "digits", made.models["fractions"][0])
    assert other.train.fingerprint() != sets[0].train.fingerprint()


def test_judged_conditions_are_those_of_training_images(study) -> None:
    made = study(shares=[0.02])
    _, _, asked = made.given(*made.jobs[1])
    rows = {tuple(row) for row in asked.of_images.tolist()}
    judged = [tuple(row) for row in asked.judged.tolist()]
    assert len(judged) == 8
    assert {*judged} <= rows
    assert len({*judged}) > 1


def test_rows_are_unique_listed_and_say_what_chose_them(study, asked, distinct) -> None:
    parts = ["finetuning", "fractions", "scores", "stylegan2"]
    rows = distinct(every_row(study(parts=parts, methods=ALL)))
    listed = PRODUCES[CHAPTER]
    for field in ("metric", "method", "part"):
        assert {row[field] for row in rows} == {*getattr(listed, field)}
    best = [r for r in rows if r["metric"] == "best_fd" and r["against"] == "held_out"]
    assert {row["selected"] for row in best} == {"held_out"}
    assert {r["value"] for r in best if r["method"] != "replayed"} == {20.0, 25.0, 30.0}
    assert {
        r["source"] for r in rows if r["part"] == "finetuning" and r["method"] != "replayed"
    } == {"real"}
    assert {r["source"] for r in rows if r["part"] == "fractions"} == {"none"}


def test_scores_and_gap_are_those_of_the_training(study, asked) -> None:
    rows = every_row(study(parts=["scores"]))
    curve = {(r["against"], r["step"]): r["value"] for r in rows if r["metric"] == "score"}
    assert curve["held_out", 4] == -2.0
    ends = {r["metric"]: r["value"] for r in rows if r["metric"] != "score"}
    assert ends == {"score_gap": 5.0, "score_room": 2.0}


def test_replayed_images_are_compared_as_generated_ones_are(study, asked) -> None:
    made = study(shares=[0.02])
    (row,) = (row for row in every_row(made) if row["method"] == "replayed")
    few = made.images(*made.jobs[0])
    base, held = (squares()(some.images) for some in (few.train, few.held_out))
    again = dip_limited.replayed(base, 8, seed=0)
    assert row["value"] == pytest.approx(frechet_distance(held, again), rel=1e-4)


def test_a_small_run_is_whole_and_the_same_again(study, distinct, monkeypatch, tmp_path) -> None:
    values = {"parts": ["finetuning", "fractions", "scores", "stylegan2"], "methods": ALL}
    values |= {"shares": [0.02]}
    made = study(**values)
    rows = distinct(every_row(made))
    assert all(np.isfinite(row["value"]) for row in rows)
    assert {r["method"] for r in rows if r["metric"] == "best_fd"} == {*ALL, "replayed"}
    for job in made.jobs:
        images = made.samples(*job, 3)
        assert images.shape == (3, 8, 8, 3)
    train = made.images(*made.jobs[0]).train.images
    assert np.array_equal(made.beside(train[:3], train), train[:3])
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "another"))
    assert every_row(study(**values)) == rows


def test_a_training_that_is_stopped_has_the_first_part_of_the_curves(study) -> None:
    curves = []
    for stop_after in (2, 0):
        rows = every_row(study(parts=["fractions", "scores"], shares=[0.02], stop_after=stop_after))
        short = {row["metric"] for row in rows} == {"fd", "score"}
        assert short == bool(stop_after)
        keys = ("metric", "prior", "against", "step")
        curves.append({
            tuple(r[k] for k in keys): r["value"] for r in rows if r["metric"] in ("fd", "score")
        })  # fmt: skip
    short, whole = curves
    assert {step for *_, step in short} == {0, 2}
    assert short.items() <= whole.items()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"parts": ["finetuning"]}, "finetuning has none of them"),
        ({"parts": ["finetuning"], "methods": ["MineGAN"], "mining_steps": 4}, "mining_steps = 4"),
        ({"parts": ["finetuning"], "methods": ["FreezeD"], "frozen_blocks": 9}, "frozen_blocks"),
        ({"parts": ["finetuning"], "methods": ["FreezeD"], "target_images": [4, 5]}, "1 targets"),
        ({"parts": ["finetuning"], "methods": ["FreezeD"], "target_images": [999]}, "999"),
        ({"parts": ["finetuning"], "methods": ["FreezeD"], "method_settings": ["Freeze.steps=2"]},
         "is of 'Freeze'"),
        ({"parts": ["finetuning"], "methods": ["FreezeD"], "method_settings": ["FreezeD.step=2"]},
         "steps"),
        ({"parts": ["scores"], "methods": ["DiffAugment"]}, "add one of scratch, or leave scores"),
        ({"shares": [0.001]}, "less than two"),
        ({"stop_after": 3}, "measured every 2 steps"),
        ({"stop_after": 2, "share_training_settings": ["batch_size=4"]},
         "share_training_settings: schedule is 'linear'"),
        ({"stop_after": 2, "parts": ["finetuning"], "methods": ["FreezeD"],
          "method_settings": ["FreezeD.schedule=linear"]},
         "method_settings of FreezeD: schedule is 'linear'"),
        ({"architecture": "stylegan2"}, "architecture = 'stylegan2'"),
        ({"share_steps": 1}, "1 share_steps"),
        ({"share_network_settings": ["chanels=4"]}, "share_network_settings holds 'chanels=4'"),
        ({"architecture": "biggan",
          "share_network_settings": ["channels=4", "latent=4", "hierarchical=false"]},
         "hierarchical"),
        ({"data": "digit"}, "digits"),
        ({"targets": ["digits:3"]}, r"targets = \['digits:3'\] are of the part finetuning, "),
        ({"parts": ["stylegan2"], "targets": ["my_images/"], "methods": ["DiffAugment"]},
         "give -p parts=finetuning -p methods=DiffAugment as well, or leave targets out"),
    ],
)  # fmt: skip
def test_what_chapter_42_cannot_run_is_refused(values, says, study) -> None:
    with pytest.raises(InputError, match=says):
        study(**values)


# -- MineGAN ---------------------------------------------------------------------------------------


@pytest.fixture
def dug(tmp_path):
    """Return a function that mines for four steps and finetunes for two, and the target."""
    few = target("digits:3", count=12, image_size=8, seed=0)
    network = {"name": "sngan", "image_size": 8, "channels": 4, "discriminator_channels": 4}
    network |= {"latent": 4, "embedding": 5, "num_classes": 3}
    save(create_generator(**network), tmp_path / "pair", create_discriminator(**network))
    recipe = Training(steps=4, batch_size=4, standing_images=8)
    how = {"first": tmp_path / "pair", "extractor": squares(), "generated": 8, "seed": 0}

    def made(**more: Any) -> Any:
        given = few.train, few.held_out, recipe, replace(recipe, steps=2)
        return mined.mined(*given, evaluate_every=2, **how, **more)

    return made, few


def test_mining_is_judged_in_both_phases_and_the_best_is_kept(dug) -> None:
    made, few = dug
    for choosing in ("held_out", "train"):
        found = made(choosing=choosing)
        assert sorted(found.history) == [0, 2, 4, 6]
        step = found.chosen(choosing)
        best = found.generator("best")
        images = few_images.asked_images(best, [None] * 8, seed=0)
        assert np.array_equal(found.images(step), images)
        distance = frechet_distance(squares()(few.held_out.images), squares()(images))
        assert found.history[step]["held_out"] == pytest.approx(distance, rel=1e-4)


def test_mining_that_is_killed_goes_on_with_what_it_had_measured(
    dug, monkeypatch, tmp_path
) -> None:
    """Neither the steps of a phase that is done, nor the best of all, are lost."""
    made, look = dug[0], mined.asked_images

    def measured(kill: int) -> list[int]:
        """Let the measurement of this number fail; return a list of those that were begun."""
        begun: list[int] = []

        def images(*given: Any, **how: Any) -> np.ndarray:
            begun.append(len(begun))
            if len(begun) == kill:
                raise KeyboardInterrupt
            return look(*given, **how)

        monkeypatch.setattr(mined, "asked_images", images)
        return begun

    def whole(folder: Path) -> tuple[Any, ...]:
        monkeypatch.setenv("SYNTHBOOK_CACHE", str(folder))
        found = made()
        files = {path.name for path in found.folder.iterdir()}
        best = sorted((found.folder / "best").iterdir())
        return found.history, files, {path.name: path.read_bytes() for path in best}

    measured(0)
    expected = whole(tmp_path / "at once")
    measured(5)  # the last one: steps 0, 2, 4 of mining, then 4 and 6
    with pytest.raises(KeyboardInterrupt):
        whole(tmp_path / "killed")
    begun = measured(0)
    assert whole(tmp_path / "killed") == expected
    assert len(begun) == 2  # those of finetuning alone
    assert "checkpoints" not in expected[1]
