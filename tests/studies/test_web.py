"""The web of the miniature: its captions, and how its two models are made, kept and found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from synthbook.data import ImageSet, Splits
from synthbook.errors import InputError
from synthbook.generate import captions
from synthbook.generate.cards import CARD
from synthbook.generate.diffusion import sample
from synthbook.generate.text_diffusion import TextDiffusionRecipe
from synthbook.generate.wordnet import JOIN, class_words
from synthbook.recognize import language_image
from synthbook.recognize.clip import encoder
from synthbook.recognize.language_image import ClipConfig, ClipRecipe
from synthbook.studies import web

CONFIG = ClipConfig(embed_dim=8, width=2, image_size=32, text_width=16, text_layers=1,
                    text_heads=2)  # fmt: skip
LEARN = ClipRecipe(epochs=2, batch_size=8, warmup_steps=1)
DRAW = TextDiffusionRecipe(channels=(16, 16), attention_heads=2, steps=6, batch_size=4)


def pictures(count: int, seed: int = 0, classes: int = 10) -> ImageSet:
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    names = [words.name for words in class_words("cifar10")][:classes]
    return ImageSet(pixels, np.arange(count) % classes, tuple(names), "pictures")


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    """CIFAR of thirty images, and no models but those that a test makes."""

    def load(name, **_):
        classes = 10 if name == "cifar10" else 100
        names = tuple(words.name for words in class_words(name))
        sets = []
        for k, count in enumerate((30, 20, 10)):
            some = pictures(count, k)
            sets.append(ImageSet(some.images, np.arange(count) % classes, names, name))
        return Splits(*sets)

    monkeypatch.setattr(web, "load", load)
    monkeypatch.setattr(web, "places", lambda: (tmp_path / "book", tmp_path / "models"))
    for held in (web.web_clip, web.web_text2image):
        held.cache_clear()
    yield
    for held in (web.web_clip, web.web_text2image):
        held.cache_clear()


def test_the_web_has_both_data_sets_and_rare_classes_more_often():
    whole, held = web.web(), web.web(part="val")
    assert len(whole.images) == 30 + 3 * 30
    assert len(held.images) == 20 + 20
    assert whole.images.num_classes == 110
    assert np.array_equal(whole.images.images[30:60], whole.images.images[60:90])
    assert whole.images.labels[30:33].tolist() == [10, 11, 12]
    assert whole.own[30:33] == (0, 1, 2)
    assert not np.isin(held.images.images.sum((1, 2, 3)), whole.images.images.sum((1, 2, 3))).any()


def test_a_caption_is_of_the_images_class_and_another_each_time():
    whole = web.web()
    told = {whole.caption(31, time) for time in range(12)}
    assert len(told) > 6
    assert whole.caption(31, 3) == whole.caption(31, 3)
    same = [whole.caption(31, time) == whole.caption(61, time) for time in range(12)]
    assert not all(same)  # the same image, once more
    ships = whole.own.index(8)
    words = " ".join(whole.caption(ships, time) for time in range(40))
    assert "ship" in words
    assert "frog" not in words


def test_the_text_tower_reads_every_caption_to_its_end():
    """The longest of each class and template: with its longest name, general word and scene."""
    look = language_image.tokenizer(web.CONFIG.merges, web.CONFIG.context_length)

    def long(texts):
        return max(texts, key=lambda text: len(look.encode(text)))

    scene, texts = long([s for some in captions.GROUNDS.values() for s in some]), []
    for words in (*class_words("cifar10"), *class_words("cifar100")):
        name, word = long(captions.names(words)), long(captions.general(words))
        for template in captions.TEMPLATES:
            texts.append(template.format(
                c=name, a=captions.article(name), l=JOIN.join(words.lemmas), w=word,
                p=JOIN.join(words.parents), d=words.definition, h=captions.article(word),
                b=scene, g="brown",
            ))  # fmt: skip
    assert language_image.tokens(texts, web.CONFIG).shape == (110 * len(captions.TEMPLATES), 77)


def test_both_models_are_made_found_and_asked(monkeypatch):
    with pytest.raises(InputError, match="'web-clip' is not among the models"):
        web.kept(web.CLIP)
    whole = web.web()
    folder = web.make_clip(whole, CONFIG, LEARN, probed=["cifar10"])
    assert web.kept(web.CLIP) == folder
    card = json.loads((folder / CARD).read_text())
    assert 0 <= card["zero_shot"]["cifar10"] <= 1
    assert card["curve"][-1]["steps"] == language_image.steps_of(LEARN, len(whole.images))
    _, config = web.web_clip()
    assert config == CONFIG
    monkeypatch.setattr(web, "JUDGED", 12)
    made = web.make_text2image(whole, DRAW, validation=web.web(part="val"))
    card = json.loads((made / CARD).read_text())
    assert card["fd"] > 0
    assert sorted(path.name for path in made.parent.iterdir()) == [web.CLIP, web.TEXT2IMAGE]
    images = sample(web.web_text2image(), ["a ship", "a frog"], guidance_scale=2.0,
                    num_inference_steps=2, seed=0)  # fmt: skip
    assert images.shape == (2, 8, 8, 3)


def test_a_second_clip_lies_beside_the_first_under_its_own_name():
    first, second = (
        web.make_clip(web.web(), CONFIG, LEARN, name=name, probed=[]) for name in web.CLIPS
    )
    assert (first.name, second.name) == ("web-clip", "web-clip-narrow")
    assert json.loads((second / CARD).read_text())["name"] == second.name
    looks = [encoder(name, own=web.kept) for name in web.CLIPS]
    assert [look.name for look in looks] == [*web.CLIPS]
    assert looks[0].weights == looks[1].weights  # of the same recipe and seed


def test_the_second_clip_has_fewer_weights_and_reads_as_the_first():
    made = [language_image.create(config, seed=0) for config in web.CLIPS.values()]
    wide, narrow = (sum(one.numel() for one in model.parameters()) for model in made)
    assert narrow < wide / 1.5
    for name in ("merges", "context_length", "image_size"):
        assert len({getattr(config, name) for config in web.CLIPS.values()}) == 1


def test_a_stopped_training_goes_on_with_its_curve(monkeypatch):
    whole, steps = web.web(), language_image.steps_of(LEARN, 120)
    assert steps == 30
    straight = web.make_clip(whole, CONFIG, LEARN, probed=[])
    wanted = (straight / language_image.WEIGHTS).read_bytes()
    curve = json.loads((straight / CARD).read_text())["curve"]
    straight.rename(straight.with_name("away"))
    train = language_image.train_clip

    def often(*given, on_step, **how):
        def stop(done, numbers):
            on_step(done, numbers)
            if done == 17:
                raise KeyboardInterrupt

        return train(*given, on_step=stop, checkpoint_every=10, **how)

    monkeypatch.setattr(language_image, "train_clip", often)
    with pytest.raises(KeyboardInterrupt):
        web.make_clip(whole, CONFIG, LEARN, probed=[])
    monkeypatch.setattr(language_image, "train_clip", train)
    again = web.make_clip(whole, CONFIG, LEARN, probed=[])
    assert (again / language_image.WEIGHTS).read_bytes() == wanted
    assert json.loads((again / CARD).read_text())["curve"] == curve


def test_an_altered_file_is_told():
    folder = web.make_clip(web.web(), CONFIG, LEARN, probed=[])
    weights = folder / language_image.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="is not the file whose SHA-256"):
        web.kept(web.CLIP)
    with pytest.raises(InputError, match="model of the web 'web-clp' is not known"):
        web.kept("web-clp")


def test_zero_shot_names_the_class_whose_words_are_nearest(monkeypatch):
    """With features that say the class, all are right; with those turned by one, none is."""

    def image_features(model, config, images):
        import torch

        return torch.eye(10)[torch.arange(len(images)) % 10]

    def class_features(model, config, classes, templates):
        import torch

        assert classes[0] == "airplane"
        return torch.eye(10).roll(model, 0)

    monkeypatch.setattr(language_image, "image_features", image_features)
    monkeypatch.setattr(language_image, "class_features", class_features)
    assert web.zero_shot((0, None), "cifar10") == 1.0
    assert web.zero_shot((1, None), "cifar10") == 0.0


def test_images_that_come_with_a_model_are_kept_without_loss(tmp_path, monkeypatch):
    folder = tmp_path / "web-text2image"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    (folder / CARD).write_text(json.dumps({"format": 1, "files": {}}))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    images = {f"{k:016x}": image for k, image in enumerate(pixels)}
    monkeypatch.setattr(web, "STRIP", 32)
    web.keep_samples(images, folder)
    found = web._samples(folder / web.SAMPLES)
    assert list(found) == list(images)
    assert all(np.array_equal(found[name], image) for name, image in images.items())
    files = json.loads((folder / CARD).read_text())["files"]
    assert set(files) == {"weights", "samples/000.webp", "samples/001.webp", "samples/asked.json"}
    web.keep_samples(dict(list(images.items())[:3]), folder)  # in place of those before
    web._samples.cache_clear()
    assert len(web._samples(folder / web.SAMPLES)) == 3
    assert web._samples(tmp_path / "nothing") == {}
