"""Folders of generators: written whole, read back, found by their images, refused when altered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthbook.errors import InputError
from synthbook.generate import models
from synthbook.generate.cards import CARD
from synthbook.generate.models import Generator, find, loaded, opened

CLASSES = ("crow", "owl", "oak", "fern", "rose")
KINDS = {"classes": ["bird", "plant"], "of": [0, 0, 1, 1, 1]}
SHARES = [0.1, 0.3, 0.3, 0.2, 0.1]


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    """Change the card of a model, which then has no sum as those of before, and leave its files."""
    card = json.loads((folder / CARD).read_text())
    del card["sum"]
    change(card)
    (folder / CARD).write_text(json.dumps(card))


# -- Written and read -----------------------------------------------------------------------------


def test_a_model_comes_back_in_half_of_the_bytes_with_nearly_the_same_images(model, network_of):
    network, _ = network_of(model.family)
    labels = [0, 1, 2, 3, 4, 0]
    how = {"seed": 5} | (
        {"guidance_scale": 1.0, "num_inference_steps": 3} if model.card["sampling"] else {}
    )
    before = models.FAMILIES[model.family].sample(network, labels, **how)
    after = models.FAMILIES[model.family].sample(loaded(model), labels, **how)
    assert before.std() > 10
    difference = np.abs(after.astype(int) - before)
    assert difference.max() <= 4
    assert difference.mean() < 0.5
    weights = getattr(network, "unet", network).state_dict().values()
    floats = sum(w.numel() for w in weights if w.is_floating_point())
    (file,) = model.folder.rglob("*.safetensors")
    assert 2 * floats <= file.stat().st_size < 2.5 * floats + 20_000
    assert all(
        p.dtype == torch.float32 for p in getattr(loaded(model), "unet", loaded(model)).parameters()
    )
    original = next(iter(getattr(network, "unet", network).parameters()))
    assert original.dtype == torch.float32  # of the network that was given nothing is changed


def test_the_card_names_each_file_and_extras_are_of_the_finished_model(make):
    def extras(model: Generator) -> dict[str, Any]:
        assert model.folder.name.startswith(".")
        assert not model.folder.with_name("trees-gan-0").exists()  # it appears whole
        assert list(models.cards()) == []  # and nobody finds what is being written
        assert find("gan", "fine", CLASSES, seed=0) is None
        (model.folder / "samples").mkdir()
        (model.folder / "samples/a.txt").write_text("a")
        return {"images": len(model.sample([0, 1], seed=0))}

    model = make(extras=extras)
    assert model.card["images"] == 2
    there = {p.relative_to(model.folder).as_posix() for p in model.folder.rglob("*") if p.is_file()}
    assert set(model.card["files"]) == there - {CARD}
    assert "samples/a.txt" in there
    assert model.card["name"] == "trees-gan-0"
    assert [folder.name for folder, _ in models.cards()] == ["trees-gan-0"]
    assert not list(model.folder.parent.glob(".*"))


def test_writing_that_fails_leaves_the_older_model(make):
    model = make()

    def fail(_: Generator) -> dict[str, Any]:
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError):
        make(extras=fail, shares=[0.2] * 5)
    assert opened(model.folder).card["shares"] == SHARES
    assert [folder for folder, _ in models.cards()] == [model.folder]
    assert make(shares=[0.2] * 5).card["shares"] == [0.2] * 5  # what was left is in nobody's way


def test_the_key_is_that_of_weights_and_sampling(make):
    def extras(_: Generator) -> dict[str, Any]:
        return {"curve": [1, 2]}

    first = make("diffusion")
    assert make("diffusion", "other", extras=extras).key == first.key
    (first.folder / "README.md").write_text("words")
    models.seal(first.folder, first.card)
    assert opened(first.folder).key == first.key  # a page of words changes no image
    keys = {
        first.key,
        make("diffusion", seed=1).key,
        make("diffusion", "steps", sampling={"num_inference_steps": 4}).key,
        opened(first.folder, KINDS["classes"]).key,
    }
    assert len(keys) == 4


# -- Asked ----------------------------------------------------------------------------------------


def test_images_are_made_once_and_each_depends_on_its_label_and_number(model, no_builds):
    first = model.sample([0, 1, 2, 3], seed=0)
    assert first.shape == (4, 8, 8, 3)
    assert first.dtype == np.uint8
    fewer = model.sample([0, 1], seed=0)
    assert np.abs(fewer.astype(int) - first[:2]).max() <= 1
    assert (model.sample([0, 1], seed=1) != fewer).any()
    no_builds(models)
    np.testing.assert_array_equal(model.sample([0, 1, 2, 3], seed=0), first)


def test_a_kind_is_its_classes_as_often_as_in_training(make):
    model = opened(make().folder, KINDS["classes"])
    members = [
        dict(zip(some.tolist(), shares.tolist(), strict=True)) for some, shares in model.members
    ]
    assert members[0] == pytest.approx({0: 0.25, 1: 0.75})
    assert members[1] == pytest.approx({2: 1 / 2, 3: 1 / 3, 4: 1 / 6})
    asked = [0] * 4000 + [1] * 4000
    own = model.own_labels(asked, seed=0)
    for kind, expected in enumerate(members):
        counts = np.bincount(own[4000 * kind : 4000 * (kind + 1)], minlength=5) / 4000
        wanted = [expected.get(k, 0.0) for k in range(5)]
        assert np.abs(counts - wanted).max() < 0.03
        assert (counts > 0).tolist() == [k in expected for k in range(5)]
    assert own[:50] == model.own_labels(asked[:50], seed=0)
    assert own != model.own_labels(asked, seed=1)
    fine = opened(model.folder)
    assert fine.own_labels([4, 0, 2], seed=0) == [4, 0, 2]
    chosen = model.own_labels([0, 1, 1], seed=3)
    np.testing.assert_array_equal(model.sample([0, 1, 1], seed=3), fine.sample(chosen, seed=3))


@pytest.mark.parametrize(
    ("labels", "scale", "says"),
    [
        ([5], 1.0, r"class 5 is not known; the labels are 0\.\.4"),
        ([-1], 1.0, "class -1"),
        ([], 1.0, "no labels"),
        ([None], 1.0, "without a class"),
        ([0], 2.0, "guidance_scale 2 needs a diffusion model"),
    ],
)
def test_what_a_gan_cannot_be_asked_for(make, labels, scale, says):
    with pytest.raises(InputError, match=says):
        make().sample(labels, seed=0, guidance_scale=scale)


def test_a_diffusion_model_is_guided_and_knows_no_class(make):
    model = make("diffusion")
    plain = model.sample([0, None], seed=0)
    for other in ({"guidance_scale": 7.5}, {"num_inference_steps": 1}):
        assert (model.sample([0, None], seed=0, **other) != plain).any()
    np.testing.assert_array_equal(model.sample([0, None], seed=0, num_inference_steps=3), plain)


# -- Found ----------------------------------------------------------------------------------------


def test_models_are_found_by_family_images_and_seed(make):
    for family in ("gan", "diffusion"):
        for seed in (0, 1):
            make(family, seed=seed)
    for family in ("gan", "diffusion"):
        for seed in (0, 1):
            assert find(family, "fine", CLASSES, seed=seed).folder.name == f"trees-{family}-{seed}"
            found = find(family, "kinds", KINDS["classes"], seed=seed)
            assert (found.family, found.classes) == (family, ("bird", "plant"))
    assert find("gan", "others", CLASSES, seed=0) is None
    assert find("gan", "fine", CLASSES, seed=2) is None


def test_those_of_the_book_come_first(make, tmp_path):
    model = make()
    shutil.copytree(model.folder, tmp_path / "top/models/book-gan-0")
    assert find("gan", "fine", CLASSES, seed=0).folder == tmp_path / "top/models/book-gan-0"
    assert [folder.name for folder, _ in models.cards()] == ["book-gan-0", "trees-gan-0"]


# -- Refused --------------------------------------------------------------------------------------


def weights_file(model: Generator) -> Path:
    return next(model.folder.rglob("*.safetensors"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def reword(model, old: str, new: str) -> None:
    card = (model.folder / "card.json").read_text()
    assert old in card
    (model.folder / "card.json").write_text(card.replace(old, new))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda m: weights_file(m).unlink(), r"safetensors is missing"),
        (lambda m: truncate(weights_file(m)), "cut off or altered"),
        (lambda m: flip_a_bit(weights_file(m)), "cut off or altered"),
        (lambda m: reword(m, '"seed": 0', '"seed": 1'), "card.json is not as it was written"),
        (lambda m: reword(m, '"sum": "', '"sum": "0'), "card.json is not as it was written"),
        (lambda m: truncate(m.folder / CARD), "is no model"),
        (lambda m: (m.folder / CARD).unlink(), "is no model"),
        (lambda m: (m.folder / CARD).write_bytes(b"\xff\xfe{"), "is no model"),
        (lambda m: (m.folder / CARD).write_text("[]"), "no card of a model"),
        (lambda m: edit(m.folder, lambda card: card.pop("shares")), "no card of a model"),
        (lambda m: edit(m.folder, lambda card: card.pop("data")), "no card of a model"),
        (lambda m: edit(m.folder, lambda card: card["files"].clear()), "no card of a model"),
        (lambda m: edit(m.folder, lambda card: card.update(format=2)), "is of format 2"),
        (lambda m: edit(m.folder, lambda card: card.update(family="vae")), "family 'vae'"),
        (lambda m: shutil.rmtree(m.folder), "is no model"),
    ],
)  # fmt: skip
def test_a_damaged_model_is_refused_in_one_sentence(model, damage, says):
    damage(model)
    with pytest.raises(InputError, match=says) as error:
        opened(model.folder)
    sentence = str(error.value)
    assert str(model.folder) in sentence
    assert "train it anew" in sentence
    assert "\n" not in sentence


def test_a_damaged_model_is_not_used_when_it_is_the_one_that_is_needed(make):
    model = make()
    flip_a_bit(weights_file(model))
    with pytest.raises(InputError, match="cut off or altered"):
        find("gan", "fine", CLASSES, seed=0)


def test_a_damaged_model_of_the_book_is_restored_from_the_repository(make, tmp_path):
    folder = tmp_path / "top/models/book-gan-0"
    shutil.copytree(make().folder, folder)
    (folder / "model/config.json").unlink()
    with pytest.raises(InputError, match=r"git checkout -- models/book-gan-0"):
        opened(folder)


@pytest.mark.parametrize(
    "classes",
    [("crow", "owl"), ("plant", "bird"), (*CLASSES[1:], CLASSES[0]), (*KINDS["classes"], "x")],
)
def test_other_classes_are_refused(make, classes):
    folder = make().folder
    with pytest.raises(InputError, match=r"makes images of 5 classes \(crow, owl, oak, \.\.\.\)"):
        opened(folder, classes)


def swapped(make, family: str) -> Generator:
    """Return a model whose card is consistent, and tells another family than it is."""
    other = {"gan": "diffusion", "diffusion": "gan"}[family]
    model = make(family, sampling={"num_inference_steps": 3})
    edit(model.folder, lambda card: card.update(family=other))
    return opened(model.folder)


def resized(make, family: str) -> Generator:
    """Return a model whose configuration is of a wider network, and whose sums are right."""
    model = make(family)
    file = weights_file(model).with_name("config.json")
    wider = {
        "gan": ('"channels": 4', '"channels": 8'),
        "diffusion": ('"num_class_embeds": 6', '"num_class_embeds": 9'),
    }
    text = file.read_text()
    assert wider[family][0] in text
    file.write_text(text.replace(*wider[family]))
    models.seal(model.folder, {**model.card})
    return opened(model.folder)


def unknown(make, family: str) -> Generator:
    """Return a model of an architecture that is not known here."""
    model = make(family)
    name = {"gan": "config.json", "diffusion": "model_index.json"}[family]
    file = model.folder / "model" / name
    known = {"gan": '"resnet"', "diffusion": '"UNet2DModel"'}[family]
    assert known in file.read_text()
    file.write_text(file.read_text().replace(known, '"Transformer7"'))
    models.seal(model.folder, {**model.card})
    return opened(model.folder)


@pytest.mark.parametrize("family", ["gan", "diffusion"])
@pytest.mark.parametrize("change", [swapped, resized, unknown])
def test_a_network_that_is_not_what_its_card_says_is_refused(family, change, make):
    model = change(make, family)
    with pytest.raises(InputError) as error:
        model.sample([0], seed=0)
    assert f"{model.folder}/model holds no {model.family} model" in str(error.value)
    assert "\n" not in str(error.value)
