"""A reader's own images as a generator: draws from files, and pipelines of diffusers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate import diffusion, own
from synthbook.generate.clones import clone, filtered_clone
from synthbook.generate.unet import DiffusionRecipe, build_unet

CLASSES = ("cat", "dog")
REAL = ImageSet(np.zeros((30, 8, 8, 1), np.uint8), np.arange(30) % 2, CLASSES, "real")
HOW = {"guidance_scale": 1.0, "num_inference_steps": 1}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    own.load.cache_clear()
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Twenty images of 16 x 16 pixels, ten of each class; the pixels of image k are k."""
    for k in range(20):
        path = tmp_path / "made" / CLASSES[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (k, k, k)).save(path)
    return str(tmp_path / "made")


def numbers(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_a_folder_is_drawn_from_without_replacement_by_class_and_seed(folder: str) -> None:
    assert "20 generated images of 2 classes" in own.check("mine", folder, CLASSES, 20)
    source = own.opened("mine", folder, REAL)
    assert (source.family, source.classes, source.left.tolist()) == ("mine", CLASSES, [10, 10])
    first = source.sample([0, 1, 1, 0], seed=0)
    assert first.shape == (4, 8, 8, 1)
    assert [n % 2 for n in numbers(first)] == [0, 1, 1, 0]
    rest = source.sample([0] * 8 + [1] * 8, seed=1)
    assert sorted(numbers(first) + numbers(rest)) == list(range(20))
    draws = [numbers(own.opened("x", folder, REAL).sample([0] * 3, seed=s)) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_more_than_there_are_is_refused_with_their_number(folder: str) -> None:
    source = own.opened("mine", folder, REAL)
    source.sample([1] * 4, seed=0)
    with pytest.raises(InputError, match="'mine' has 10 images of class 'dog', 6 of them not"):
        source.sample([1] * 7, seed=0)
    with pytest.raises(InputError, match=r"'mine' has 20 images in .* and 21 are needed"):
        own.check("mine", folder, CLASSES, 21)
    with pytest.raises(
        InputError, match=r"10 images of class 'cat', 10 of them not .* and 15 more"
    ):
        clone(own.opened("mine", folder, REAL), REAL, count=30, seed=0)


def judge(images: np.ndarray) -> np.ndarray:
    """A classifier that is sure of the class of images from number 4 on."""
    sure = np.where(images[:, 0, 0, 0] >= 4, 1.0, 0.6)
    dog = images[:, 0, 0, 0] % 2 == 1
    return np.stack([np.where(dog, 1 - sure, sure), np.where(dog, sure, 1 - sure)], axis=1)


def test_a_filter_uses_up_a_folder_and_gives_up_once_too_few_are_left(folder: str) -> None:
    how = {"confidence": 0.8, "unconditional": False, "seed": 0}
    source = own.opened("mine", folder, REAL)
    kept, info = filtered_clone(source, REAL, judge, count=16, **how)
    assert sorted(numbers(kept.images)) == list(range(4, 20))
    assert (info["drawn"], info["accepted"]) == (20, 16)
    source = own.opened("mine", folder, REAL)
    words = "took 7 of 18 mine samples for class 'cat', of which 9 are wanted; add images to mine"
    with pytest.raises(InputError, match=words):
        filtered_clone(source, REAL, judge, count=18, **how)


def test_images_without_labels_are_drawn_without_a_class_and_labelled_by_the_filter(
    folder: str, tmp_path: Path
) -> None:
    flat, file = tmp_path / "flat", tmp_path / "flat.npz"
    flat.mkdir()
    for path in Path(folder).glob("*/*.png"):
        path.rename(flat / path.name)
    levels = np.arange(20, dtype=np.uint8)[:, None, None]
    np.savez(file, images=levels * np.ones((8, 8), np.uint8))
    for path in map(str, (flat, file)):
        assert "20 generated images without labels" in own.check("mine", path, CLASSES, 20)
        with pytest.raises(InputError, match=r"'mine' has 20 images in .* and 21 are needed"):
            own.check("mine", path, CLASSES, 21)
        with pytest.raises(InputError, match=r"'mine' in .* have no labels, and nothing labels"):
            own.check("mine", path, CLASSES, 20, labelled=True)
        source = own.opened("mine", path, REAL)
        assert (source.conditional, source.unconditional) == (False, True)
        assert (source.classes, source.left.tolist()) == (CLASSES, [20, 20])
        first = source.sample([None] * 12, seed=0)
        assert first.shape == (12, 8, 8, 1)
        assert source.left.tolist() == [8, 8]
        with pytest.raises(InputError, match="has 20 images, 8 of them not drawn yet, and 9 more"):
            source.sample([None] * 9, seed=1)
        with pytest.raises(InputError, match="'mine' have no labels and are asked for by class"):
            source.sample([None, 1], seed=1)
        assert sorted(numbers(first) + numbers(source.sample([None] * 8, seed=1))) == [*range(20)]
        how = {"confidence": 0.8, "unconditional": True, "seed": 0}
        kept, info = filtered_clone(own.opened("mine", path, REAL), REAL, judge, count=16, **how)
        assert sorted(numbers(kept.images)) == list(range(4, 20))
        assert [n % 2 for n in numbers(kept.images)] == kept.labels.tolist()
        assert info["agreement"] is False
        words = "took 8 of 20 mine samples for class 'cat', of which 9 are wanted; add images to"
        with pytest.raises(InputError, match=words):
            filtered_clone(own.opened("mine", path, REAL), REAL, judge, count=18, **how)
        raw = how | {"confidence": 0.0}  # no filter; the labels are the classifier's still
        kept, _ = filtered_clone(own.opened("mine", path, REAL), REAL, judge, count=20, **raw)
        assert sorted(numbers(kept.images)) == list(range(20))


# Pipelines


@pytest.fixture
def books_own(tmp_path: Path) -> Path:
    """A pipeline of the book, untrained, that knows two classes."""
    recipe = DiffusionRecipe(channels=(8,), steps=1)
    unet = build_unet(recipe, image_size=8, channels=1, num_classes=2, seed=0)
    diffusion.save(diffusion.as_pipeline(unet, recipe), tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_pipeline_of_the_book_is_asked_for_labels_and_its_images_are_kept(
    books_own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "ClassConditionalPipeline" in own.check("mine", str(books_own), CLASSES, 10**9)
    source = own.opened("mine", str(books_own), REAL)
    assert (source.conditional, source.left) == (True, None)
    images = source.sample([0, 1, None], seed=3, **HOW)
    direct = diffusion.sample(diffusion.load(books_own), [0, 1, None], seed=3, **HOW)
    assert (images == direct).all()
    monkeypatch.setattr(diffusion, "sample", None)
    again = own.opened("mine", str(books_own), REAL).sample([0, 1, None], seed=3, **HOW)
    assert (again == images).all()
    other = ImageSet(REAL.images, REAL.labels, ("a", "b", "c"), "three")
    with pytest.raises(InputError, match="knows 2 classes and the real images have 3"):
        own.opened("mine", str(books_own), other).sample([0], seed=0, **HOW)


def dit(names: dict[int, str], folder: Path) -> str:
    """Save a DiT, untrained, whose classes have names."""
    from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    transformer = DiTTransformer2DModel(
        num_attention_heads=1, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1,
        sample_size=4, num_embeds_ada_norm=1000, norm_num_groups=1,
    )  # fmt: skip
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, latent_channels=4)
    DiTPipeline(transformer, vae, DDIMScheduler()).save_pretrained(folder)
    index = json.loads((folder / own.INDEX).read_text())
    (folder / own.INDEX).write_text(json.dumps(index | {"id2label": names}))
    return str(folder)


def test_classes_with_names_go_by_them_and_images_are_brought_to_size(tmp_path: Path) -> None:
    path = dit({3: "dog, hound", 7: "cat", 8: "cow"}, tmp_path / "dit")
    assert "DiTPipeline" in own.check("mine", path, CLASSES, 1)
    source = own.opened("mine", path, REAL)
    assert own._numbers(own.load(source.folder, source.key), source) == [7, 3]
    images = source.sample([0, 1], seed=0, **HOW)
    assert images.shape == (2, 8, 8, 1)
    other = ImageSet(REAL.images, REAL.labels, ("cat", "fox"), "other")
    with pytest.raises(InputError, match="'mine' knows no class 'fox'"):
        own.opened("mine", path, other).sample([0], seed=0, **HOW)
    own.load.cache_clear()
    source = own.opened("mine", dit({}, tmp_path / "numbers"), REAL)
    with pytest.raises(InputError, match="knows 1000 classes and the real images have 2"):
        source.sample([0], seed=0, **HOW)


def test_a_pipeline_without_classes_is_sampled_without(tmp_path: Path) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8,), norm_num_groups=4,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), layers_per_block=1,
    )  # fmt: skip
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "ddpm")
    source = own.opened("mine", str(tmp_path / "ddpm"), REAL)
    assert (source.conditional, source.unconditional) == (False, True)
    assert source.sample([None] * 3, seed=0, **HOW).shape == (3, 8, 8, 1)
    with pytest.raises(InputError, match="'mine' knows no classes"):
        source.sample([None, 1], seed=0, **HOW)


def test_a_pipeline_from_text_gets_the_classes_in_a_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Text:
        def __call__(self, prompt, guidance_scale):
            """Take a prompt."""

    asked = []

    def sample(pipeline, conditions, **how):
        asked.extend(conditions)
        return np.zeros((len(conditions), 32, 32, 3), np.uint8)

    (tmp_path / own.INDEX).write_text('{"_class_name": "StableDiffusionPipeline"}')
    monkeypatch.setattr(own, "load", lambda folder, key: Text())
    monkeypatch.setattr(diffusion, "sample", sample)
    like = ImageSet(REAL.images, REAL.labels, ("cat", "hot_dog"), "real")
    images = own.opened("mine", str(tmp_path), like).sample([1, None, 0], seed=0, **HOW)
    assert asked == ["a photo of a hot dog", None, "a photo of a cat"]
    assert images.shape == (3, 8, 8, 1)
    renamed = ImageSet(REAL.images, REAL.labels, ("kitten", "hot_dog"), "real")
    own.opened("mine", str(tmp_path), renamed).sample([1, None, 0], seed=0, **HOW)
    assert asked[3:] == ["a photo of a hot dog", None, "a photo of a kitten"]


def test_files_that_are_replaced_are_another_pipeline(books_own: Path) -> None:
    first = own.opened("mine", str(books_own), REAL)
    before = first.sample([0, 1], seed=0, **HOW)
    weights = next(books_own.rglob("*.safetensors"))
    times = weights.stat()
    recipe = DiffusionRecipe(channels=(8,), steps=1)
    unet = build_unet(recipe, image_size=8, channels=1, num_classes=2, seed=1)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.1)
    diffusion.save(diffusion.as_pipeline(unet, recipe), books_own)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert weights.stat().st_size == times.st_size
    again = own.opened("mine", str(books_own), REAL)
    assert again.key != first.key
    made = again.sample([0, 1], seed=0, **HOW)
    direct = diffusion.sample(diffusion.load(books_own), [0, 1], seed=0, **HOW)
    assert (made == direct).all()
    assert (made != before).any()
    with pytest.raises(InputError, match="were replaced after it was opened; open it anew"):
        first.sample([0, 0], seed=0, **HOW)


@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_a_damaged_pipeline_of_the_book_is_told_with_the_remedy(books_own: Path, harm: str) -> None:
    weights = next(books_own.rglob("*.safetensors"))
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        weights.unlink()
    with pytest.raises(InputError, match=r"cannot be loaded .*; save it anew with save_pretrained"):
        own.opened("mine", str(books_own), REAL)


def test_a_safety_checker_blackens_no_image_that_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    told: dict = {}
    parts = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    index = {"_class_name": "StableDiffusionPipeline"} | parts
    (tmp_path / own.INDEX).write_text(json.dumps(index))
    monkeypatch.setattr(
        diffusers.DiffusionPipeline, "from_pretrained", lambda folder, **how: told.update(how)
    )
    own.load(tmp_path, own.key_of(tmp_path))
    assert (told["safety_checker"], told["requires_safety_checker"]) == (None, False)


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"_class_name": ["code.py", "Mine"]}'])
def test_an_index_that_names_no_pipeline_of_diffusers_is_refused(tmp_path: Path, index) -> None:
    (tmp_path / own.INDEX).write_text(index)
    with pytest.raises(InputError, match="names no pipeline of diffusers"):
        own.check("mine", str(tmp_path), CLASSES, 1)


def test_neither_pickles_nor_code_beside_them_are_loaded(tmp_path: Path, books_own: Path) -> None:
    dit({0: "cat", 1: "dog"}, tmp_path / "dit")
    weights = next((tmp_path / "dit" / "transformer").glob("*.safetensors"))
    loaded = own.load(tmp_path / "dit", own.key_of(tmp_path / "dit"))
    torch.save(loaded.transformer.state_dict(), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        own.load(tmp_path / "dit", own.key_of(tmp_path / "dit"))
    path, trace = dit({0: "cat", 1: "dog"}, tmp_path / "code"), tmp_path / "trace"
    code = f"open({str(trace)!r}, 'w')\nclass Mine: ...\n"
    (Path(path) / "transformer" / "mine.py").write_text(code)
    index = json.loads((Path(path) / own.INDEX).read_text()) | {"transformer": ["mine", "Mine"]}
    (Path(path) / own.INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match="cannot be loaded"):
        own.load(Path(path), own.key_of(Path(path)))
    assert not trace.exists()
