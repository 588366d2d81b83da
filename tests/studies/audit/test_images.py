"""What goes into an audit: checks, class order, images without labels, draws."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthbook import data
from synthbook.data import ImageSet, Splits
from synthbook.errors import InputError
from synthbook.record.parameters import declared
from synthbook.store import root
from synthbook.studies import audit
from synthbook.studies.audit import images

P = {
    "seeds": 2, "first_seed": 0, "skip_unreadable": False, "data_root": "", "confidence": 0.5,
    "train_images": 0, "most_images": 200, "neighbours": 3, "extractor": "efficientnet_lite0",
    "backbone": "small_cnn", "pretrained": False, "epochs": 6, "batch_size": 32,
    "learning_rate": 0.005,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    import torch

    torch.set_num_threads(1)
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))


def noise(count: int, seed: int = 0, size: int = 8, channels: int = 1) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), np.uint8)
    return ImageSet(pixels, np.arange(count) % 3, ("a", "b", "c"), f"noise{seed}")


def splits(count: int = 90) -> Splits:
    return Splits(noise(count, 1), noise(30, 2), noise(count, 3))


def write_folder(path: Path, names: tuple[str, ...], each: int = 5) -> str:
    for k, name in enumerate(names):
        (path / name).mkdir(parents=True)
        for n in range(each):
            Image.fromarray(noise(1, 100 * k + n).images[0, ..., 0]).save(path / name / f"{n}.png")
    return str(path)


def test_families_are_those_of_the_generators():
    from synthbook.generate.generators import FAMILIES

    assert tuple(FAMILIES) == audit.images.FAMILIES


def test_recipes_are_those_of_the_chapter_on_the_gap():
    """Else the cached generator would be trained twice."""
    fields = [{f.name: f for f in declared(root() / "notebooks" / name)}
              for name in ("61_audit.py", "12_not_mutual.py")]  # fmt: skip
    shared = [n for n in fields[0] if n.startswith(("gan_", "diffusion_", "guidance_", "num_inf"))]
    assert len(shared) == 13
    assert [fields[0][n].default for n in shared] == [fields[1][n].default for n in shared]


def test_check_imports_no_torch():
    code = "import sys; from synthbook.studies import audit; audit.check('digits', 'gan')"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_check_names_what_is_wrong(tmp_path):
    real = write_folder(tmp_path / "real", ("cat", "dog"))
    other = write_folder(tmp_path / "other", ("cat", "fox"))
    one = write_folder(tmp_path / "one", ("cat",))
    for generated, words in {
        str(tmp_path / "missing"): "neither 'diffusion' nor 'gan'",
        "difusion": "did you mean 'diffusion'",
        real + "/../real": "real and generated are both",
        other: "lack 'dog' and have in excess 'fox'",
        one: "one class only",
    }.items():
        with pytest.raises(InputError, match=words):
            audit.check(real, generated)
    with pytest.raises(InputError, match="one class only"):
        audit.check(one, "gan")
    good = audit.check(real, write_folder(tmp_path / "good", ("cat", "dog")))
    assert good.count("2 classes") == 2


def test_generated_labels_follow_the_order_of_the_real_classes(tmp_path):
    made, path = noise(30, channels=3, size=12), tmp_path / "made.npz"
    np.savez(path, images=made.images, labels=made.labels, names=np.array(["c", "a", "b"]))
    pool = audit.load_generated(str(path), splits(), P)
    assert pool.everything.classes == ("a", "b", "c")
    assert pool.everything.images.shape == (30, 8, 8, 1)  # size and channels of the real images
    assert pool.everything.counts().tolist() == [10, 10, 10]
    alone = data.load(str(path), image_size=8, channels=1).train
    first = np.flatnonzero((pool.everything.images == alone.images[0]).all(axis=(1, 2, 3)))[0]
    assert pool.everything.classes[pool.everything.labels[first]] == alone.classes[alone.labels[0]]


def test_images_without_labels_from_a_folder_and_an_archive(tmp_path):
    made = noise(25)
    (tmp_path / "flat").mkdir()
    for k, image in enumerate(made.images):
        Image.fromarray(image[..., 0]).save(tmp_path / "flat" / f"{k:02}.png")
    np.savez(tmp_path / "flat.npz", images=made.images)
    for path in (tmp_path / "flat", tmp_path / "flat.npz"):
        assert images.unlabelled.is_unlabelled(path)
        assert images.unlabelled.check(path) == 25
        read = images.unlabelled.read(path, 8, 1, skip_unreadable=False)
        np.testing.assert_array_equal(read, made.images)
        assert "25 images without labels" in audit.check("digits", str(path))
    (tmp_path / "flat" / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"bad\.png"):
        images.unlabelled.check(tmp_path / "flat")
    assert images.unlabelled.check(tmp_path / "flat", skip_unreadable=True) == 25


def test_labels_come_from_a_classifier_that_is_sure():
    real = data.load("digits")
    shown = np.concatenate([real.test.images[:200], noise(100, size=8).images])
    pool = images.labelled(shown, "mine", real, P | {"confidence": 0.9, "epochs": 20})
    assert len(pool.everything) == 300
    kept = len(pool.labelled)
    assert f"{kept} of 300" in pool.note
    digits = pool.everything.labels[:200] == real.test.labels[:200]
    assert digits.mean() > 0.8
    with pytest.raises(InputError, match="lower confidence"):
        images.labelled(shown[:30], "mine", real, P | {"confidence": 0.999999, "epochs": 1})


@given(st.integers(1, 40), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_draws_are_disjoint_and_stratified(count, seed):
    some = noise(45)
    chosen, rest = audit.draw(some, count, seed, "test")
    assert sorted([*chosen, *rest]) == list(range(45))
    counts = some.subset(chosen).counts()
    assert len(chosen) == count
    assert counts.max() - counts.min() <= 1
