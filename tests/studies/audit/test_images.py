"""What goes into an audit: checks, class order, images without labels, draws."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthbook import data
from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.record.parameters import check_values
from synthbook.store import root
from synthbook.studies.audit import AuditSettings, check_inputs, images, settings_of

NOTEBOOKS = root() / "notebooks"


def test_families_are_those_of_the_models():
    from synthbook.generate import models

    assert set(images.FAMILIES) == set(models.FAMILIES)


def test_settings_hold_what_the_chapter_was_told():
    given = {"first_seed": 3, "seeds": 2, "guidance_scale": 4.0, "epochs": 5, "lambda_3": 0.5}
    p = check_values(NOTEBOOKS / "61_audit.py", given)
    settings = settings_of(p, device="cuda")
    assert settings.seeds == (3, 4)
    assert (settings.guidance_scale, settings.recipe.epochs, settings.lambda_3) == (4.0, 5, 0.5)
    assert (settings.remedies, settings.device) == (p.remedies, "cuda")


def test_the_defaults_from_python_are_the_chapters():
    p = check_values(NOTEBOOKS / "61_audit.py", {"samples": "my_samples/"})
    chapter = {field.name: getattr(settings_of(p, device="cpu"), field.name)
               for field in fields(AuditSettings)}  # fmt: skip
    assert {name: getattr(AuditSettings(), name) for name in chapter} == chapter


def test_parameters_by_name(real):
    settings = images.named_settings({"image_size": 16, "epochs": 3, "seeds": 2})
    assert (settings.image_size, settings.recipe.epochs, settings.seeds) == (16, 3, (0, 1))
    assert settings.recipe.batch_size == AuditSettings().recipe.batch_size
    with pytest.raises(InputError, match="did you mean 'image_size'"):
        images.named_settings({"image_sise": 16})


def test_check_imports_no_torch():
    code = "import sys; from synthbook.studies import audit"
    code += "; audit.check_inputs({'data': 'caltech10', 'samples': 'gan'})"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def folders(tmp_path, noise, write_folder):
    """Return a function: name, classes -> the folder, written."""

    def write(name: str, *classes: str) -> str:
        made = noise(5 * len(classes))
        labels = np.arange(len(made)) % len(classes)
        return write_folder(tmp_path / name, ImageSet(made.images, labels, classes, name))

    return write


@pytest.mark.usefixtures("all_kept")
def test_check_names_what_is_wrong(folders, tmp_path):
    real, one = folders("real", "cat", "dog"), folders("one", "cat")
    other = folders("other", "cat", "fox")
    for samples, words in {
        str(tmp_path / "missing"): "neither 'diffusion' nor 'gan'",
        "difusion": "did you mean 'diffusion'",
        real + "/../real": "data and samples are both",
        other: "generated images lack 'dog' and have in excess 'fox'",
        one: "one class only",
    }.items():
        with pytest.raises(InputError, match=words):
            check_inputs({"data": real, "samples": samples})
    with pytest.raises(InputError, match="one class only"):
        check_inputs({"data": one, "samples": "gan"})
    good = folders("good", "cat", "dog")
    for test, words in {good: "samples and test are both", other: "test images lack 'dog'"}.items():
        with pytest.raises(InputError, match=words):
            check_inputs({"data": real, "samples": good, "test": test})
    with pytest.raises(InputError, match=r"^test 'gone' is no folder or \.npz that exists"):
        check_inputs({"data": real, "samples": good, "test": "gone"})
    said = check_inputs({"data": real, "samples": good})
    assert said.count("2 classes") == 2
    assert "test images: 4 drawn from real. If your generator was trained on them" in said
    said = check_inputs({"data": real, "samples": good, "test": folders("apart", "cat", "dog")})
    assert "test images: all of apart" in said
    assert "drawn" not in check_inputs({"data": real, "samples": "gan"})


@pytest.mark.usefixtures("all_kept")
def test_parts_are_told_of_those_images_alone_that_the_audit_has_in_parts(folders):
    real, made = folders("real", "cat", "dog"), folders("made", "cat", "dog")
    test = folders("apart", "cat", "dog")
    first, second, *_ = check_inputs({"data": real, "samples": made}).splitlines()
    assert " train, " in first
    assert "2 classes; 10 images, " in second
    first, *_ = check_inputs({"data": real, "samples": made, "test": test}).splitlines()
    assert "2 classes; 10 images, " in first
    first, *_ = check_inputs({"data": real, "samples": "gan", "test": test}).splitlines()
    assert " train, " in first


@pytest.mark.usefixtures("all_kept")
def test_what_is_left_out_of_training_is_said_before_it_starts(folders):
    real, made = folders("real", "cat", "dog"), folders("made", "cat", "dog")
    apart = folders("apart", "cat", "dog")
    held = len(images.load_real(real, AuditSettings()).train)
    few, p = "trained on 2 of {} real images: -p train_images=0 takes all", {"data": real}
    assert few.format(held) in check_inputs({**p, "samples": made, "train_images": 2})
    assert few.format(10) in check_inputs({**p, "samples": made, "test": apart, "train_images": 2})
    assert few.format(held) in check_inputs({**p, "samples": "gan", "test": apart,
                                             "train_images": 2})  # fmt: skip
    for enough in (0, held):
        told = check_inputs({**p, "samples": made, "train_images": enough})
        assert "classifiers are trained" not in told


def test_test_images_of_ones_own_leave_all_others_to_train_on(folders, tmp_path):
    real, apart = folders("real", "cat", "dog"), folders("apart", "dog", "cat")
    splits = images.load_real(real, AuditSettings(test=apart))
    assert len(splits.train) == len(splits.test) == 10
    assert splits.test.classes == splits.train.classes
    usual = images.load_real(real, AuditSettings()).train
    assert len(usual) < 10
    of_the_book = images.load_real(real, AuditSettings(test=apart), by_book=True)
    assert of_the_book.train.fingerprint() == usual.fingerprint()  # which a kept model has seen
    assert len(of_the_book.test) == 10
    assert images.is_drawn(real)
    for part in ("train", "test"):
        folders(f"whole/{part}", "cat", "dog")
    np.savez(tmp_path / "pool.npz", images=splits.test.images, labels=splits.test.labels)
    assert not images.is_drawn(str(tmp_path / "whole"))
    assert images.is_drawn(str(tmp_path / "pool.npz"))
    assert not images.is_drawn("digits")


def test_a_kept_model_makes_as_many_images_as_are_asked_for(keep_models, real, settings):
    keep_models(real.train)
    for most, few, count in ((200, 0, 200), (50, 0, 120), (50, 40, 80)):
        chosen = settings(most_images=most, train_images=few)
        pool = images.load_generated("gan", real, chosen)
        assert len(pool.everything) == len(pool.labelled) == count
        assert pool.everything.classes == real.classes
    again = images.load_generated("gan", real, chosen)
    np.testing.assert_array_equal(again.everything.images, pool.everything.images)


def test_a_family_without_a_kept_model_is_refused_in_one_sentence(keep_models, real, settings):
    keep_models(real.train, families=["diffusion"])
    with pytest.raises(InputError, match=r"no gan model number 0 of 'noise1' is kept; [^\n]+$"):
        images.load_generated("gan", real, settings())
    with pytest.raises(InputError, match="11_generators -p data=/their/noise1 -p image_size=8 "):
        images.load_generated("gan", real, settings(image_size=8), named="/their/noise1")


def test_generated_labels_follow_the_order_of_the_real_classes(tmp_path, noise, real, settings):
    made, path = noise(30, channels=3, size=12), tmp_path / "made.npz"
    np.savez(path, images=made.images, labels=made.labels, names=np.array(["c", "a", "b"]))
    pool = images.load_generated(str(path), real, settings())
    assert pool.everything.classes == ("a", "b", "c")
    assert pool.everything.images.shape == (30, 8, 8, 1)  # size and channels of the real images
    assert pool.everything.counts().tolist() == [10, 10, 10]
    alone = data.load(str(path), image_size=8, channels=1).train
    first = np.flatnonzero((pool.everything.images == alone.images[0]).all(axis=(1, 2, 3)))[0]
    assert pool.everything.classes[pool.everything.labels[first]] == alone.classes[alone.labels[0]]


def test_images_without_labels_from_a_folder_and_an_archive(tmp_path, noise):
    made, flat = noise(25), tmp_path / "flat"
    flat.mkdir()
    for k, image in enumerate(made.images):
        Image.fromarray(image[..., 0]).save(flat / f"{k:02}.png")
    np.savez(tmp_path / "flat.npz", images=made.images)
    for path in (flat, tmp_path / "flat.npz"):
        read, skipped = images.read_unlabelled(path, 8, 1, skip_unreadable=False)
        np.testing.assert_array_equal(read, made.images)
        assert skipped == ()
        summary = check_inputs({"data": "digits", "samples": str(path)})
        assert "25 images without labels" in summary
    (flat / "bad.png").write_bytes(b"no image")
    p = {"data": "digits", "samples": str(flat)}
    with pytest.raises(InputError, match=r"bad\.png.* leave them out: -p skip_unreadable=true"):
        check_inputs(p)
    assert "25 images without labels" in check_inputs({**p, "skip_unreadable": True})
    read, skipped = images.read_unlabelled(flat, 8, 1, skip_unreadable=True)
    assert len(read) == 25
    assert skipped == (str(flat / "bad.png"),)


def test_files_that_are_cut_off_are_left_out_by_name(folders, tmp_path, settings, monkeypatch):
    """Their heads are whole, so that only reading them tells."""
    cut = []
    for name in ("real", "apart", "made", "flat"):
        path = Path(folders(name, "cat", "dog"))
        damaged = path / "cat" / "0.png"
        damaged.write_bytes(damaged.read_bytes()[:60])
        cut.append(str(damaged))
    flat = tmp_path / "loose"
    flat.mkdir()
    for k, file in enumerate(sorted((tmp_path / "flat").rglob("*.png"))):
        file.rename(flat / f"{k}.png")
    chosen = settings(test=str(tmp_path / "apart"), skip_unreadable=True)
    splits = images.load_real(str(tmp_path / "real"), chosen)
    assert splits.skipped == (cut[0], cut[1])
    alone = images.load_real(str(tmp_path / "real"), settings(skip_unreadable=True))
    assert alone.skipped == (cut[0],)
    assert images.load_generated(str(tmp_path / "made"), splits, chosen).skipped == (cut[2],)
    monkeypatch.setattr(images, "label", lambda read, *_: images.Pool(*[read] * 2))
    pool = images.load_generated(str(flat), splits, chosen)
    assert (len(pool.everything), pool.skipped) == (9, (str(flat / "0.png"),))


def test_labels_come_from_a_classifier_that_is_sure(noise, settings):
    real = data.load("digits")
    shown = np.concatenate([real.test.images[:200], noise(100).images])
    pool = images.label(shown, "mine", real, settings(epochs=20, confidence=0.9))
    assert len(pool.everything) == 300
    assert f"{len(pool.labelled)} of 300" in pool.note
    assert 200 * 0.5 < len(pool.labelled) < 300
    assert (pool.everything.labels[:200] == real.test.labels[:200]).mean() > 0.8
    with pytest.raises(InputError, match="lower confidence"):
        images.label(shown[:30], "mine", real, settings(epochs=1, confidence=0.999999))


@pytest.mark.parametrize(("count", "seed"), [(1, 0), (7, 1), (20, 2), (40, 3)])
def test_draws_are_disjoint_and_stratified(noise, count, seed):
    some = noise(45)
    chosen, rest = images.draw(some, count, seed, "test")
    assert sorted([*chosen, *rest]) == list(range(45))
    counts = some.subset(chosen).counts()
    assert len(chosen) == count
    assert counts.max() - counts.min() <= 1
