"""Scenes: boxes are where things stand, parts stay apart, and a seed says all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthbook.data import bundled, scenes
from synthbook.data.images import ImageSet
from synthbook.data.scenes import SceneRecipe, bundled_scenes, cut_out, like_rim
from synthbook.errors import InputError

RECIPE = SceneRecipe(size=48, objects=2, others=0, grain=0.0)


def pictures(*colours: tuple[int, int, int], each: int = 3, classes: int = 0) -> ImageSet:
    """Return plain pictures of 16 pixels, ``each`` of every colour; a colour is a class."""
    images = np.array(colours, np.uint8).repeat(each, 0)[:, None, None]
    images = np.broadcast_to(images, (len(images), 16, 16, 3)).copy()
    labels = np.arange(len(colours)).repeat(each)
    names = [f"colour {k}" for k in range(classes or len(colours))]
    return ImageSet(images, labels, tuple(names), "colours")


def disc(size: int = 32, radius: float = 8) -> np.ndarray:
    """Return a dark disc on white, uint8 [S, S, 3], with a dark speck in a corner."""
    axis = np.arange(size) - 13
    image = np.where((axis**2)[:, None] + axis**2 <= radius**2, 20, 250).astype(np.uint8)
    image[-3:-1, -3:-1] = 20
    return image[..., None].repeat(3, 2)


RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (99, 99, 99)


def test_a_box_is_where_its_thing_is() -> None:
    found = scenes.scenes(12, pictures(RED, BLUE), pictures(GREY), RECIPE, seed=1)
    for number, seen in enumerate(found.objects):
        image = found.read(number).astype(int)
        for box, label in zip(seen.boxes.astype(int), seen.labels, strict=True):
            left, top, right, bottom = box
            inside = image[top:bottom, left:right]
            middle = inside[inside.shape[0] // 2, inside.shape[1] // 2]
            assert middle.argmax() == (0, 2)[label]
            assert middle.max() - middle.min() > 200
            changed = (inside != 99).any(-1)
            assert changed.any(0).mean() > 0.8
            assert changed.any(1).mean() > 0.8
        outside = np.ones(image.shape[:2], bool)
        for left, top, right, bottom in seen.boxes.astype(int):
            outside[top:bottom, left:right] = False
        assert (image[outside] == 99).all()


def test_things_cover_little_of_each_other() -> None:
    recipe = replace(RECIPE, objects=5, others=2, overlap=0.2)
    found = scenes.scenes(20, pictures(RED, BLUE), pictures(GREY), recipe, seed=0)
    pairs = 0
    for seen in found.objects:
        assert 1 <= len(seen) <= 5
        for a in range(len(seen)):
            for b in range(a):
                one, other = seen.boxes[a], seen.boxes[b]
                shared = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
                areas = [(box[2:] - box[:2]).prod() for box in (one, other)]
                assert shared.clip(0).prod() <= 0.2 * min(areas) + 1e-6
                pairs += 1
    assert pairs > 20


def test_a_thing_on_plain_ground_is_cut_out_of_it() -> None:
    busy = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    things = cut_out(np.stack([disc(), busy, np.full_like(busy, 250)]))
    opaque = things.pictures[..., 3] > 127
    assert np.array_equal(opaque[0], (disc()[..., 0] == 20) & (np.arange(32) < 28))
    assert things.corners[0].tolist() == [5, 5, 22, 22]
    for whole in (1, 2):  # nothing to cut: no plain ground, or nothing else
        assert opaque[whole, 3:-3, 8:-8].all()
        assert opaque[whole, 8:-8, 3:-3].all()
        assert things.corners[whole].tolist() == [1, 1, 31, 31]
    _, share = like_rim(np.stack([disc(), busy]))
    assert share[0] > 0.9 > 0.2 > share[1]


def test_a_scene_is_a_function_of_seed_and_number() -> None:
    made = [
        scenes.scenes(n, pictures(RED, BLUE), pictures(GREY), RECIPE, seed=s)
        for n, s in ((4, 0), (7, 0), (4, 1))
    ]
    assert made[1].subset(range(4)).objects[3].boxes.tolist() == made[0].objects[3].boxes.tolist()
    assert all(np.array_equal(made[0].read(k), made[1].read(k)) for k in range(4))
    assert not all(np.array_equal(made[0].read(k), made[2].read(k)) for k in range(4))


def test_parts_of_the_bundle_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, set[bytes]] = {}
    real = scenes.scenes

    def kept(count, things, others, recipe, *, seed, name):
        given[name] = {image.tobytes() for image in (*things.images, *others.images)}
        return real(count, things, others, recipe, seed=seed, name=name)

    monkeypatch.setattr(scenes, "scenes", kept)
    found = bundled_scenes({"train": 60, "val": 10, "test": 10}, seed=0)
    parts = list(given.values())
    assert [len(found[part]) for part in found] == [60, 10, 10]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    assert found["train"].classes == tuple(bundled.KINDS)
    assert (found["train"].counts() > 0).all()  # each class is as likely as any other
    assert found["train"].read(0).shape == (64, 64, 3)


def test_what_makes_no_scene_is_refused() -> None:
    grey = ImageSet(np.zeros((2, 16, 16, 1), np.uint8), np.zeros(2, int), ("a",), "grey")
    with pytest.raises(InputError, match="'grey' has 1 channels"):
        scenes.scenes(1, grey, pictures(GREY), RECIPE, seed=0)
    with pytest.raises(InputError, match="class 'colour 1' of 'colours' has no pictures"):
        scenes.scenes(1, pictures(RED, classes=2), pictures(GREY), RECIPE, seed=0)
    with pytest.raises(InputError, match="0 scenes cannot be made"):
        scenes.scenes(0, pictures(RED), pictures(GREY), RECIPE, seed=0)
    with pytest.raises(InputError, match=r"things of 0.5 to 0.2 of 64 pixels"):
        SceneRecipe(least=0.5, most=0.2)
    with pytest.raises(InputError, match="part 'training' is not known"):
        bundled_scenes({"training": 1}, seed=0)
