"""Banks: an order of images that never changes, read where it ships, drawn without replacement."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from synthbook.errors import InputError
from synthbook.generate import banks, models
from synthbook.generate.banks import Bank, labels_of, strip
from synthbook.generate.models import opened

KINDS = ["bird", "plant"]


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Strips of 40 images, so that a row is left half empty, sampled ten at a time."""
    monkeypatch.setattr(banks, "STRIP", 40)
    monkeypatch.setattr(banks, "BATCH", 10)


def ships(*strips: tuple[float, int]):
    """Return what writes some strips beside a model."""

    def extras(model) -> dict:
        for scale, k in strips:
            banks.write_strip(model, scale, k, model.folder / "samples")
        return {}

    return extras


@pytest.fixture
def no_sampling(monkeypatch):
    """From now on nothing is sampled."""

    def refuse(*_, **__):
        raise AssertionError("sampled")

    def now() -> None:
        monkeypatch.setattr(banks, "loaded", refuse)

    return now


def first(model: models.Generator, strips: int) -> np.ndarray:
    return np.concatenate([strip(model, 1.0, k) for k in range(strips)])


def rows(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]


@pytest.mark.parametrize("family", ["gan", "diffusion"])
def test_a_strip_does_not_depend_on_others_and_repeats_none(family, make):
    model = make(family)
    alone = strip(model, 1.0, 1)
    many = first(model, 3)
    assert many.shape == (120, 8, 8, 3)
    np.testing.assert_array_equal(alone, many[40:80])
    assert len(set(rows(many))) > 60
    assert rows(many[:40]) != rows(many[40:80])


def test_an_image_is_what_the_generator_makes_of_its_label(make):
    """Up to the codec, which all images of a bank went through."""
    model = make()
    own = banks._own_labels(model, 0)
    made = models.FAMILIES["gan"].sample(
        models.loaded(model), own[:10].tolist(),
        seed=banks.derive(banks.derive(0, "bank", 0), 0),
    )  # fmt: skip
    kept = strip(model, 1.0, 0)[:10]
    error = np.abs(kept.astype(int) - made).mean(axis=(1, 2, 3))
    shuffled = np.abs(np.roll(kept, 1, axis=0).astype(int) - made).mean(axis=(1, 2, 3))
    assert (error < shuffled).all()


def test_labels_are_as_frequent_as_in_training_and_of_the_kinds_asked_for(make):
    model = make()
    own = np.concatenate([labels_of(model, k) for k in range(100)])
    assert np.abs(np.bincount(own, minlength=5) / 4000 - model.card["shares"]).max() < 0.03
    kinds = opened(model.folder, KINDS)
    of = np.array(model.card["kinds"]["of"])
    for k in range(3):
        np.testing.assert_array_equal(labels_of(kinds, k), of[labels_of(model, k)])
        np.testing.assert_array_equal(strip(kinds, 1.0, k), strip(model, 1.0, k))


def test_what_ships_is_read_and_not_sampled(make, no_sampling, tmp_path):
    model = make("diffusion", extras=ships((1.0, 0), (1.0, 1), (2.0, 0)))
    assert {"samples/g1-000.webp", "samples/g1-001.webp", "samples/g2-000.webp"} <= set(
        model.card["files"]
    )
    no_sampling()
    shipped = first(model, 2)
    guided = strip(model, 2.0, 0)
    assert (guided != shipped[:40]).any()
    bank = Bank(model)
    assert set(rows(bank.sample([None] * 80, seed=0))) == set(rows(shipped))
    with pytest.raises(AssertionError, match="sampled"):
        bank.sample([None], seed=0)
    for scale, k in ((1.0, 2), (2.0, 1), (4.0, 0)):
        with pytest.raises(AssertionError, match="sampled"):
            strip(model, scale, k)


def test_what_does_not_ship_is_sampled_once(make, no_sampling):
    model = make()
    once = strip(model, 1.0, 3)
    no_sampling()
    np.testing.assert_array_equal(strip(model, 1.0, 3), once)
    np.testing.assert_array_equal(strip(opened(model.folder), 1.0, 3), once)


def test_images_that_ship_are_those_that_would_be_sampled(make):
    shipped = make(extras=ships((1.0, 0)))
    other = make("gan", "without")
    assert shipped.key == other.key
    np.testing.assert_array_equal(strip(shipped, 1.0, 0), strip(other, 1.0, 0))


def test_a_strip_is_a_picture_that_any_program_opens(make):
    model = make(extras=ships((1.0, 0)))
    with Image.open(model.folder / "samples/g1-000.webp") as picture:
        assert picture.size == (32 * 8, 2 * 8)
        pixels = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(pixels[8:16, 8:16], strip(model, 1.0, 0)[33])
    assert pixels[8:, 64:].max() < 30  # the empty tiles


def test_draws_are_without_replacement_and_of_the_class(make):
    model = opened(make().folder, KINDS)
    pool = {}
    for k in range(6):
        pool |= dict(zip(rows(strip(model, 1.0, k)), labels_of(model, k), strict=True))
    bank, asked = Bank(model), [0, 1, 1, None, 0] * 10
    drawn = [bank.sample(asked, seed=seed) for seed in range(3)]
    taken = [row for images in drawn for row in rows(images)]
    assert len(taken) == 150
    # An untrained GAN may make two images alike, so count against the pool instead of a set.
    everything = [row for k in range(6) for row in rows(strip(model, 1.0, k))]
    for row in set(taken):
        assert taken.count(row) <= everything.count(row)
    for images in drawn:
        for label, row in zip(asked, rows(images), strict=True):
            assert label is None or pool[row] == label


def test_equal_seeds_draw_the_same_and_other_seeds_others(make):
    model, asked = make(), [0, 1, 2, 3, 4, None] * 5
    drawn = Bank(model).sample(asked, seed=1)
    np.testing.assert_array_equal(Bank(opened(model.folder)).sample(asked, seed=1), drawn)
    assert rows(Bank(model).sample(asked, seed=2)) != rows(drawn)
    bank = Bank(model)
    for a, b in pairwise([bank.sample(asked, seed=1) for _ in range(3)]):
        assert not set(rows(a)) & set(rows(b))


def test_the_key_changes_with_all_that_decides_the_images(make):
    model = make("diffusion")
    keys = {
        Bank(model).key,
        Bank(model, 2).key,
        Bank(make("diffusion", seed=1)).key,
        Bank(make("diffusion", "steps", sampling={"num_inference_steps": 2})).key,
        Bank(opened(model.folder, KINDS)).key,
        Bank(make("diffusion", "more", extras=ships((1.0, 0)))).key,  # other images are at hand
    }
    assert len(keys) == 6
    guided = Bank(make("diffusion", "guided", extras=ships((2.0, 0))))
    assert guided.key == Bank(model).key
    assert Bank(opened(model.folder)).key == Bank(model).key


def test_grey_images_stay_grey(make, network_of, monkeypatch):
    data = {"name": "trees", "fingerprints": ["x"], "image_size": 8, "channels": 1}
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), np.uint8)
    family = models.FAMILIES["gan"]
    fake = models.Family(
        family.recipe, family.train, lambda *_, **__: images, family.save, family.load
    )
    monkeypatch.setitem(banks.FAMILIES, "gan", fake)
    kept = strip(make(data=data), 1.0, 0)
    assert kept.shape == (40, 8, 8, 1)
    assert np.abs(kept[:10].astype(int) - images).mean() < 12


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([5], "class 5 is not known"),
        ([-1], "class -1"),
        ([], "no labels"),
        ([4], "image of 'rose'"),
    ],
)
def test_what_a_bank_cannot_give_is_said_at_once(labels, says, make, no_sampling):
    bank = Bank(make(shares=[0.2, 0.3, 0.3, 0.2, 0.0]))
    no_sampling()
    with pytest.raises(InputError, match=says):
        bank.sample(labels, seed=0)


def test_a_gan_has_no_guided_bank(make):
    with pytest.raises(InputError, match="guidance_scale 2 needs a diffusion model"):
        Bank(make(), 2.0)
    assert Bank(make(), 1).guidance_scale == 1.0
