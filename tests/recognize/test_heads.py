"""Zero-shot heads: templates, ensembles, text and random starts."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from synthbook.errors import InputError
from synthbook.recognize.clip import Encoded
from synthbook.recognize.heads import (
    PHOTO,
    TEMPLATES,
    logits,
    probabilities,
    random_head,
    templates_of,
    text_head,
    zero_shot,
)

NAMES = ("red ball", "green cup", "blue hat")


@pytest.mark.parametrize("templates", ["photo", "cifar", "imagenet7"])
def test_a_head_is_that_of_open_clip(look, templates):
    from open_clip import build_zero_shot_classifier

    head = text_head(look, NAMES, templates)
    theirs = build_zero_shot_classifier(look.model, look.tokens, NAMES, templates_of(templates))
    assert np.allclose(head, theirs.T, atol=1e-6)
    assert np.array_equal(text_head(look, NAMES, templates), head)  # from the cache


def test_another_name_or_template_is_another_head(look):
    head = text_head(look, NAMES, "photo")
    assert not np.allclose(text_head(look, (*NAMES[:2], "blue cat"), "photo")[2], head[2])
    assert np.allclose(text_head(look, NAMES[::-1], PHOTO), head[::-1], atol=1e-6)
    assert not np.allclose(text_head(look, NAMES, "dtd"), head)


def test_every_set_of_templates_has_a_place_for_the_name():
    for name in [*TEMPLATES, "imagenet80", "imagenet7"]:
        texts = [template.format("zebra") for template in templates_of(name)]
        assert all("zebra" in text for text in texts)
        assert len(set(texts)) == len(texts)
    assert len(templates_of("imagenet80")) == 80


@pytest.mark.parametrize(
    ("templates", "says"),
    [
        ("eurosatt", "did you mean 'eurosat'"),
        ([], "there are no templates"),
        (["a photo"], "has not one {}"),
        (["a {} of {}"], "has not one {}"),
        (["a {name}"], "has not one {}"),
        (["a {"], "has not one {}"),
    ],
)
def test_templates_that_are_none(templates, says):
    with pytest.raises(InputError, match=re.escape(says)):
        templates_of(templates)


def test_names_that_are_missing(look):
    with pytest.raises(InputError, match="class 1 of 2 has the name ' '"):
        text_head(look, ["red", " "])
    with pytest.raises(InputError, match="class 0 of 2 has the name None"):
        text_head(look, [None, "red"])
    with pytest.raises(InputError, match="there are 1 class names"):
        text_head(look, ["red"])


def test_scores_are_the_softmax_of_scaled_cosines(look):
    draw = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(7, 16, generator=draw), dim=1)
    some = Encoded(features.numpy(), np.arange(7) % 3, NAMES, "some")
    head = text_head(look, NAMES)
    expected = 50.0 * features @ torch.from_numpy(head).T
    assert np.allclose(logits(some, head, 50.0), expected, atol=1e-4)
    assert np.allclose(probabilities(some, head, 50.0), expected.softmax(1), atol=1e-5)
    right = (expected.argmax(1).numpy() == some.labels).mean()
    assert zero_shot(some, head)["top1"] == pytest.approx(100 * right)
    with pytest.raises(InputError, match=r"the head is \[2, 16\], but 'some' has 3 classes"):
        logits(some, head[:2], 1.0)


def test_a_random_head_is_even_on_the_sphere():
    head = random_head(2000, 8, seed=0)
    assert np.allclose(np.linalg.norm(head, axis=1), 1, atol=1e-6)
    assert np.allclose(head.T @ head / len(head), np.eye(8) / 8, atol=0.02)
    assert np.abs(head.mean(0)).max() < 0.03
    assert np.array_equal(head, random_head(2000, 8, seed=0))
    assert not np.allclose(head, random_head(2000, 8, seed=1))
