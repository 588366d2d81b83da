"""Kept generators: made once, found by what they learned from, refused if altered."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans import networks
from synthbook.measure import features
from synthbook.measure.features import Extractor
from synthbook.record.parameters import check_values
from synthbook.studies import dip, dip_limited, dip_scale, few_images, frozen, kept
from synthbook.studies.dip_models import Model

FEW, WHOLE = "faces-diffaugment-dip", "caltech101-dip-supervised"
TUNED = "airplanes-freezed-dip"
CHAPTERS = {
    "41_dip_few_shot": (kept.chapter_41, dip.FewShot),
    "42_dip_limited_data": (kept.chapter_42, dip_limited.Limited),
    "43_dip_large_scale": (kept.chapter_43, dip_scale.LargeScale),
}


@pytest.fixture
def quick(monkeypatch) -> None:
    """Replace all features by every eighth of the rows and columns of an image."""
    seen = Extractor("seen", lambda x: x[:, ::4, ::4].reshape(len(x), -1), fingerprint="seen")
    monkeypatch.setattr(features, "extractor", lambda *given, **how: seen)
    monkeypatch.setattr(frozen, "frozen", lambda name, *given, **how: replace(seen, name=name))
    monkeypatch.setattr(frozen, "check_frozen", lambda *given: None)


@pytest.fixture
def short(quick, monkeypatch) -> None:
    """Let the book's generators be trained for a moment, small ones on digits."""
    small = {
        "image_size": 8, "evaluate_every": 2, "finetune_steps": 4, "generated": 6,
        "network_settings": ["channels=4", "discriminator_channels=4", "latent=4", "embedding=5"],
        "training_settings": ["batch_size=4", "standing_images=8", "discriminator_steps=1"],
    }  # fmt: skip
    monkeypatch.setattr(kept, "BED", kept.BED | small)
    for name, target in (("FEW", "digits:3"), ("LARGE", "digits")):
        held = {key: value for key, value in getattr(kept, name).items() if key not in small}
        monkeypatch.setattr(kept, name, held | {"targets": [target], "target_images": 6})
    held = {key: value for key, value in kept.LIMITED.items() if key not in small}
    held |= {
        "pretrain_settings": [], "pretrain_steps": 2, "real_source": "digits",
        "targets": ["digits:3"], "target_images": [6], "frozen_blocks": 1,
    }  # fmt: skip
    monkeypatch.setattr(kept, "LIMITED", held)
    book = {
        name: made._replace(target="digits" if made.study is kept.chapter_43 else "digits:3")
        for name, made in kept.BOOK.items()
    }
    monkeypatch.setattr(kept, "BOOK", book)


@pytest.mark.parametrize("name", [FEW, TUNED, WHOLE, "caltech101-baseline", "faces-scratch"])
def test_a_generator_is_made_once_and_found_by_what_it_learned_from(
    short, name, monkeypatch
) -> None:
    assert kept.kept(name, 0) is None
    made = kept.make(name, 0)
    assert made.folder.name == f"{name}-0"
    moved = made.folder.rename(made.folder.with_name("whatever"))
    monkeypatch.setattr(few_images, "conditioned", None)  # nothing is trained again
    assert kept.make(name, 0).folder == moved == kept.kept(name, 0).folder
    assert kept.kept(name, 1) is None
    assert [one for one in kept.BOOK if kept.kept(one, 0)] == [name]
    monkeypatch.setattr(kept, "BED", kept.BED | {"evaluate_every": 4})
    assert kept.kept(name, 0) is None


@pytest.mark.parametrize(("name", "which"), [(FEW, "best"), (TUNED, "best"), (WHOLE, "last")])
def test_it_is_the_trained_one_in_half_precision_with_its_curve(short, name, which) -> None:
    made, job = kept.make(name, 0), kept.job_of(name, 0)
    study = kept.study_of(name, 0)
    trained = study.learned(*job)
    assert made.which == which
    assert made.history.keys() == trained.history.keys()
    for step, numbers in trained.history.items():
        assert made.history[step] == pytest.approx(numbers, abs=1e-4)
    whole, found = trained.generator(which).state_dict(), made.generator().state_dict()
    floats = [name for name, weight in whole.items() if weight.is_floating_point()]
    assert all(torch.equal(found[name], whole[name].half().float()) for name in floats)
    weights = made.folder / "generator.safetensors"
    assert (
        weights.stat().st_size
        < 0.75 * (trained.folder / which / "generator.safetensors").stat().st_size
    )


def test_images_of_a_kept_generator_are_those_of_the_training(short) -> None:
    for name in (FEW, TUNED, WHOLE):
        kept.make(name, 0)
        study, job = kept.study_of(name, 0), kept.job_of(name, 0)
        apart = kept.images(name, 0, 5).astype(int) - study.samples(*job, 5)
        assert np.abs(apart).max() <= 2  # of 255
    with pytest.raises(InputError, match=f"{FEW}-1 is not kept"):
        kept.images(FEW, 1, 5)


def test_another_snapshot_than_the_kept_one_is_not_given_for_it(short) -> None:
    made = kept.make(WHOLE, 0)
    made.history[2] = {"held_out": 0.0, "train": 0.0}  # the best is not the last
    with pytest.raises(InputError, match="is the last snapshot of a training, not the best one"):
        made.generator("best")
    assert made.generator("last").config == networks.load(made.folder).config


@pytest.mark.parametrize("fault", ["cut off", "missing", "no card", "another format"])
def test_a_generator_that_is_not_what_its_card_says_is_refused(short, fault) -> None:
    folder = kept.make("caltech101-baseline", 0).folder
    weights, card = folder / "generator.safetensors", folder / "card.json"
    if fault == "cut off":
        weights.write_bytes(weights.read_bytes()[:-8])
        says = "generator.safetensors is not the file whose SHA-256"
    elif fault == "missing":
        weights.unlink()
        says = "generator.safetensors is missing"
    else:
        card.write_text("{}" if fault == "no card" else card.read_text().replace(
            '"format": 1', '"format": 2'
        ))  # fmt: skip
        says = "is no card of a generator"
    with pytest.raises(InputError, match=f"{says}.*make models"):
        kept.kept("caltech101-baseline", 0)


def test_a_card_that_was_altered_is_refused_and_an_older_one_without_its_sum_is_read(short) -> None:
    made = kept.make("caltech101-baseline", 0)
    file, card = made.folder / "card.json", dict(made.card)
    assert card["training"].keys() >= {"minutes", "device", "threads", "python", "commit"}
    card["curve"] = {step: {"held_out": 0.001} for step in card["curve"]}  # by which one chooses
    file.write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"card.json is not as it was written; .*make models"):
        kept.kept("caltech101-baseline", 0)
    del card["sum"]
    file.write_text(json.dumps(card))
    assert kept.kept("caltech101-baseline", 0).history[2] == {"held_out": 0.001}


def test_what_began_with_another_gan_is_not_kept(short) -> None:
    kept.make(FEW, 0)
    study, job = kept.study_of(FEW, 0), kept.job_of(FEW, 0)
    given, how = study.arguments(*job, whole=True)
    how |= {"prior": study.name_of_prior(*job)}
    assert kept.find(*given, **how)
    assert kept.find(*given, **how | {"first": Path("another")}) is None
    assert kept.of(study, *job[:3], Model("FreezeD", "supervised")) is None


def test_finetuned_ones_are_told_by_the_gan_that_they_began_with(short, monkeypatch) -> None:
    made = kept.make(TUNED, 0)
    study = kept.study_of(TUNED, 0)
    before = study.told_before(0, "finetuning")
    assert made.card["learned"]["before"] == json.loads(json.dumps(before))
    assert before["recipe"]["steps"] == 2
    assert before["network"]["num_classes"] == 9  # the digits but the target
    monkeypatch.setattr(few_images, "pretrained", None)  # nothing is trained to find it
    assert kept.kept(TUNED, 0)
    monkeypatch.setattr(kept, "LIMITED", kept.LIMITED | {"pretrain_steps": 4})
    assert kept.kept(TUNED, 0) is None
    assert kept.of(study, *kept.job_of(TUNED, 0)[:3], dip_limited.Model("MineGAN")) is None


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_generators_of_the_book_are_those_of_the_whole_trainings_of_its_pages(
    quick, chapter
) -> None:
    made, study_of = CHAPTERS[chapter]
    p = check_values(chapter, {"priors": ["supervised", "self-supervised=lite0"]})
    assert p.stop_after
    study = study_of(p, "cpu")
    names = [name for name in kept.BOOK if kept.BOOK[name].study is made]
    for name in names:
        told = []
        for one in (study, kept.study_of(name, 0)):
            given, how = kept.arguments(one, *kept.job_of(name, 0))
            told.append(kept.learned_from(*given, **how | {"prior": "as it is"}))
        assert told[0] == told[1]
        assert json.loads(json.dumps(told[0])) == told[0]
    assert len(names) >= 3
    assert kept.study_of(names[0], 0).p.prior_size == p.prior_size


def test_other_arguments_are_another_training(quick) -> None:
    study, job = kept.study_of(WHOLE, 0), kept.job_of(WHOLE, 0)
    given, how = study.arguments(*job, whole=True)
    how |= {"prior": "seen"}
    told = kept.learned_from(*given, **how)

    def other(**changes: Any) -> bool:
        return kept.learned_from(*given, **how | changes) != told

    assert not other(device="cuda", on_step=print)
    assert all(
        other(**{name: value})
        for name, value in {
            "prior": "another", "seed": 1, "choosing": "train", "evaluate_every": 7,
            "extra": dip_scale.SSGAN,
        }.items()
    )  # fmt: skip


def test_minutes_are_those_between_the_first_and_the_last_measurement(tmp_path) -> None:
    trained = kept.Finetuned(tmp_path, {0: {}, 5: {}, 10: {}})
    for step, seconds in ((0, 1000), (5, 9000), (10, 1090)):
        (tmp_path / f"step-{step}.npy").touch()
        os.utime(tmp_path / f"step-{step}.npy", (seconds, seconds))
    assert kept.minutes_of(trained) == 1.5
