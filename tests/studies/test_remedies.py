"""One training by a method: its numbers, its guide, its start, and what it is rated on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from synthbook.data import Splits
from synthbook.errors import InputError
from synthbook.studies import remedies
from synthbook.studies.real_guidance import RealGuidance
from synthbook.studies.remedies import guide_of, numbers_of, rated, remedy
from synthbook.studies.training_sets import network_of


def test_numbers_are_those_that_the_method_has(p16: dict) -> None:
    given = RealGuidance.numbers(p16) | {"lambda_3": 5.0}
    assert numbers_of("plain", given) == numbers_of("ASG", given) == {}
    assert numbers_of("A-GEM", given) == {"per_layer": False}
    assert numbers_of("Adp", given) == {"second_stage": "epochs"}
    assert numbers_of("RG+PG-R", given) == {k: given[k] for k in given if k != "second_stage"}


def test_the_guide_is_the_one_that_the_parameters_name(p15: dict) -> None:
    guide = guide_of(p15, channels=1)
    assert (guide.network.name, guide.input_size) == ("small_cnn", 8)
    with pytest.raises(InputError, match="no pretrained weights"):
        guide_of(p15 | {"guide_pretrained": True}, channels=1)


def test_methods_of_a_seed_start_alike_and_end_apart(p15: dict, stripes) -> None:
    images, guide = stripes(48), guide_of(p15, channels=1)

    def head(name: str, rate: float, seed: int = 0) -> torch.Tensor:
        network = network_of(p15 | {"learning_rate": rate})
        how = {"synthetic": images, "updates": 6, "guide": guide, "seed": seed}
        return remedy(network, name, **how)[0].head.weight.detach()

    assert torch.allclose(head("plain", 1e-12), head("PG-KL", 1e-12), atol=1e-9)
    assert not torch.allclose(head("plain", 1e-12), head("plain", 1e-12, seed=1), atol=1e-3)
    assert not torch.allclose(head("plain", 0.01), head("PG-KL", 0.01), atol=1e-5)


def test_each_split_is_rated_on_its_own_images(
    p15: dict, monkeypatch: pytest.MonkeyPatch, real: Splits
) -> None:
    monkeypatch.setattr(remedies, "remedy", lambda *_, **__: (None, None))
    monkeypatch.setattr("synthbook.recognize.predict.accuracy", lambda model, images, **_: images)
    experiment = SimpleNamespace(device="cpu", real=real)
    _, found = rated(experiment, network_of(p15), "plain")
    assert found.accuracy["val"] is real.val
    assert found.accuracy["test"] is real.test
