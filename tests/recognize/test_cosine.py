"""The cosine softmax: its formula, what it forgets, and that it plugs in."""

from __future__ import annotations

import math

import pytest
import torch

from synthbook.errors import InputError
from synthbook.recognize.cosine import CosineHead, with_cosine_head
from synthbook.recognize.models import create_classifier


def test_logits_are_cosines_over_the_temperature() -> None:
    torch.manual_seed(0)
    head, features = CosineHead(5, 3, temperature=0.2), torch.randn(4, 5)
    logits = head(features)
    for i, f in enumerate(features.tolist()):
        for k, w in enumerate(head.weight.tolist()):
            dot = sum(a * b for a, b in zip(f, w, strict=True))
            cosine = dot / math.sqrt(sum(a * a for a in f)) / math.sqrt(sum(b * b for b in w))
            assert logits[i, k].item() == pytest.approx(cosine / 0.2, abs=1e-4)
    assert torch.allclose(head(7 * features), logits, atol=1e-5)
    with torch.no_grad():
        head.weight *= 3
    assert torch.allclose(head(features), logits, atol=1e-5)
    assert logits.abs().max() <= 5 + 1e-4


def test_it_takes_the_place_of_a_head_by_its_seed() -> None:
    made = {"num_classes": 3, "channels": 3, "image_size": 8}
    one, two, other = (
        with_cosine_head(create_classifier("small_cnn", **made), 0.1, seed=s) for s in (0, 0, 1)
    )
    images = torch.rand(2, 3, 8, 8)
    assert one.eval()(images).shape == (2, 3)
    assert torch.equal(one.head.weight, two.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert one.head.bias is None


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_is_above_zero(temperature: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        CosineHead(2, 2, temperature)


def test_logits_are_float32_under_autocast() -> None:
    torch.manual_seed(0)
    head, features = CosineHead(64, 5, temperature=0.07), torch.randn(8, 64)
    plain = head(features)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(features)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, plain)
