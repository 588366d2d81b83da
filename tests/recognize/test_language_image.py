"""The tiny CLIP: its words, its loss, what it learns, and its files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.recognize import language_image as clip
from synthbook.recognize.language_image import ClipConfig, ClipRecipe

SMALL = ClipConfig(
    embed_dim=16, width=2, image_size=32, text_width=16, text_layers=1, text_heads=2,
    context_length=12, merges=300,
)  # fmt: skip
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


def coloured(count: int = 48) -> ImageSet:
    """Return flat images of three colours, with some noise."""
    draw = np.random.default_rng(0)
    labels = np.arange(count) % 3
    pixels = np.array(list(COLOURS.values()))[labels][:, None, None]
    pixels = pixels + draw.integers(-25, 25, (count, 16, 16, 3))
    return ImageSet(pixels.clip(0, 255).astype(np.uint8), labels, tuple(COLOURS), "colours")


def said(number: int, epoch: int) -> str:
    return f"{('a', 'one')[epoch % 2]} {list(COLOURS)[number % 3]} thing"


def test_fewer_merges_are_the_first_of_clips_tokenizer():
    """With all of them it is open_clip's own; with none a word falls into its letters."""
    from open_clip.tokenizer import SimpleTokenizer

    whole = SimpleTokenizer()
    ours = clip.tokenizer(len(whole.bpe_ranks), 77)
    text = "A photo of a German shepherd's puppy, number 42."
    assert ours.encode(text) == whole.encode(text)
    letters = clip.tokenizer(0, 77)
    assert len(letters.encode("shepherd")) == len("shepherd")
    assert letters.vocab_size == 512 + 2
    some = clip.tokenizer(1000, 77)
    assert some.vocab_size == 512 + 1000 + 2
    assert list(some.bpe_ranks) == list(whole.bpe_ranks)[:1000]


@settings(max_examples=25)
@given(text=st.text(max_size=30))
def test_transformers_reads_the_same_tokens(text):
    config = ClipConfig(merges=300, context_length=77)
    ours = clip.tokenizer(300, 77).encode(text)
    theirs = clip.transformers_tokenizer(config)(text).input_ids
    if text.isascii() and text.isprintable() and "&" not in text:  # open_clip mends other texts
        assert theirs[1:-1] == ours
    assert theirs[0] == 812
    assert theirs[-1] == 813


def test_a_text_that_is_too_long_is_not_cut_in_silence():
    assert clip.tokens(["a red thing"], SMALL).shape == (1, 12)
    with pytest.raises(InputError, match="has 22 tokens and the text tower reads 12"):
        clip.tokens(["a " * 20], SMALL)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"image_size": 40}, "no multiple of 32.*give 32"), ({"text_heads": 3}, "give a multiple")],
)
def test_settings_that_do_not_fit(changes, says):
    with pytest.raises(InputError, match=says):
        ClipConfig(**changes)


def test_the_loss_is_that_of_open_clip():
    from open_clip.loss import ClipLoss

    draw = torch.Generator().manual_seed(0)
    images, texts = F.normalize(torch.randn(2, 6, 4, generator=draw), dim=2)
    loss = clip.contrastive_loss(images, texts, 7.0)
    torch.testing.assert_close(loss, ClipLoss()(images, texts, 7.0))
    assert clip.contrastive_loss(images, images, 1e4) < 1e-4  # each is its own


def test_crops_keep_what_does_not_depend_on_the_place():
    draw = torch.Generator().manual_seed(0)
    flat = torch.arange(5)[:, None, None, None].expand(5, 3, 8, 8).to(torch.uint8)
    torch.testing.assert_close(clip.cropped(flat, 0.3, draw), flat.float())
    ramp = torch.arange(16.0).expand(40, 1, 16, 16)
    whole = clip.cropped(ramp, 1.0, draw)
    turned = (whole - ramp.flip(3)).abs().amax((1, 2, 3)) < 1e-3
    assert ((whole - ramp).abs().amax((1, 2, 3)) < 1e-3).logical_xor(turned).all()
    parts = clip.cropped(ramp, 0.25, draw)
    slope = (parts[..., 9] - parts[..., 6]).abs().mean((1, 2)) / 3
    assert (slope >= 0.5 - 1e-3).all()  # a quarter of the area is half of the side
    assert (slope <= 1 + 1e-3).all()
    assert slope.std() > 0.05


def test_short_texts_are_read_as_if_they_were_filled_up():
    model = clip.create(ClipConfig(**{**SMALL.__dict__, "context_length": 40}), seed=0)
    texts = torch.zeros(30, 40, dtype=torch.long)
    for k in range(30):
        texts[k, : k + 2] = torch.arange(k + 2) + 5
        texts[k, k + 2] = 813
    texts = texts[torch.randperm(30, generator=torch.Generator().manual_seed(0))]
    ours, whole = clip.encode_texts(model, texts), model.encode_text(texts)
    torch.testing.assert_close(ours, whole)
    ours.square().sum().backward()
    gradients = [p.grad.clone() for p in model.transformer.parameters()]
    model.zero_grad()
    whole.square().sum().backward()
    for ours, parameter in zip(gradients, model.transformer.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad, rtol=1e-4, atol=1e-4)
    assert clip.encode_texts(model, texts[:1]).shape == (1, 16)


def test_it_learns_which_words_belong_to_which_images(tmp_path):
    """Three colours: zero-shot with a template that was never said; resumed as if never stopped."""
    images, recipe = (
        coloured(),
        ClipRecipe(epochs=14, batch_size=12, learning_rate=5e-3, warmup_steps=4),
    )
    steps, losses = clip.steps_of(recipe, len(images)), []
    assert steps == 56

    def trained(folder=None, stop=None):
        def on_step(done, numbers):
            losses.append(numbers["loss"])
            if done == stop:
                raise KeyboardInterrupt

        model = clip.create(SMALL, seed=0)
        how = {"seed": 0, "folder": folder, "on_step": on_step, "checkpoint_every": 10}
        return clip.train_clip(model, SMALL, images, said, recipe, **how)

    model = trained()
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])
    heads = clip.class_features(model, SMALL, images.classes, ["{}", "the {} thing"])
    torch.testing.assert_close(heads.norm(dim=1), torch.ones(3))
    found = (clip.image_features(model, SMALL, images.images) @ heads.T).argmax(1).numpy()
    assert (found == images.labels).mean() > 0.9
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "c", stop=25)
    again = trained(tmp_path / "c")
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_every_epoch_asks_anew_what_is_said_of_each_image(monkeypatch):
    """The rate rises and falls as a half cosine; what decays has two axes or more."""
    asked, groups, step = [], [], torch.optim.AdamW.step

    def note(self, *given):
        groups.append([(g["lr"], g["weight_decay"]) for g in self.param_groups])
        for group in self.param_groups:
            assert all((p.dim() > 1) == (group["weight_decay"] > 0) for p in group["params"])
        return step(self, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    recipe = ClipRecipe(epochs=2, batch_size=6, learning_rate=0.01, warmup_steps=1)
    caption = lambda number, epoch: asked.append((epoch, number)) or said(number, epoch)  # noqa: E731
    model = clip.create(SMALL, seed=0)
    model.logit_scale.data.fill_(6)
    clip.train_clip(model, SMALL, coloured(12), caption, recipe, seed=0)
    assert model.logit_scale.exp().item() == pytest.approx(100, abs=2)  # it is cut off there
    epochs = [[number for e, number in asked[2:] if e == epoch] for epoch in (0, 1)]  # 2: the key
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert epochs[0] != epochs[1] != sorted(epochs[1])
    rates = [0.01 * min(1, (k + 1) / 2) * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert groups == [[(pytest.approx(rate), 0.1), (pytest.approx(rate), 0)] for rate in rates]


@pytest.mark.parametrize(
    "images",
    [coloured().subset([0]), ImageSet(np.zeros((4, 8, 8, 1), np.uint8), [0] * 4, ("a",), "grey")],
)
def test_images_that_do_not_do(images):
    with pytest.raises(InputError, match="CLIP needs two images or more, in colour"):
        clip.train_clip(clip.create(SMALL, seed=0), SMALL, images, said, ClipRecipe(), seed=0)


def test_files_are_open_clips_and_a_broken_one_is_told(tmp_path):
    import open_clip

    model = clip.create(SMALL, seed=3).eval()
    clip.save(model, SMALL, tmp_path)
    ours, config = clip.load(tmp_path)
    assert config == SMALL
    texts, pixels = ["a red thing", "blue"], coloured(4).images
    torch.testing.assert_close(
        clip.text_features(ours, config, texts), clip.text_features(model, SMALL, texts),
        rtol=0, atol=2e-3,
    )  # fmt: skip
    theirs, _, look = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    torch.testing.assert_close(
        theirs.eval().encode_text(clip.tokens(texts, config)),
        ours.encode_text(clip.tokens(texts, config)),
    )
    from PIL import Image

    seen = torch.stack([look(Image.fromarray(image)) for image in pixels])
    torch.testing.assert_close(
        theirs.encode_image(seen),
        ours.encode_image(clip.seen(torch.from_numpy(pixels).permute(0, 3, 1, 2), 32)),
        rtol=0, atol=0.02,  # Pillow rounds what it has resized
    )  # fmt: skip
    told = json.loads((tmp_path / clip.CONFIG).read_text())
    assert told["model_cfg"]["text_cfg"]["vocab_size"] == 814
    weights = tmp_path / clip.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="holds no CLIP of this book"):
        clip.load(tmp_path)
    with pytest.raises(InputError, match="holds no CLIP of this book"):
        clip.load(tmp_path / "none")


def test_the_text_tower_is_the_same_in_transformers():
    model = clip.create(SMALL, seed=1).eval()
    tower, look = clip.text_encoder(model, SMALL), clip.transformers_tokenizer(SMALL)
    texts = ["a red thing", "a very green one", ""]
    ours = clip.tokens(texts, SMALL)
    theirs = look(texts, padding="max_length", return_tensors="pt").input_ids
    ends = ours.argmax(1)
    with torch.no_grad():
        pooled = tower(theirs).last_hidden_state[torch.arange(3), ends]
        torch.testing.assert_close(pooled @ model.text_projection, model.encode_text(ours))
