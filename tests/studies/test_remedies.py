"""One training by a method: its numbers, its guide, its start, and what it is rated on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from synthbook.data import Splits
from synthbook.errors import InputError
from synthbook.recognize.train import History
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
    p15: dict, monkeypatch: pytest.MonkeyPatch, real: Splits, stripes
) -> None:
    made, values = stripes(16), {}
    for value, images in enumerate((real.val, real.test, made)):
        values[images.fingerprint()] = float(value)
    monkeypatch.setattr(
        "synthbook.recognize.predict.accuracy",
        lambda model, images, **_: values[images.fingerprint()],
    )
    experiment, network = SimpleNamespace(device="cpu", real=real), network_of(p15)
    how = {"synthetic": made, "updates": 2, "seed": 0, "guide": guide_of(p15, channels=1)}
    found, model = rated(experiment, network, "plain", **how)
    assert model is None
    assert found.accuracy == {"val": 0.0, "test": 1.0, "train": 2.0}
    assert rated(experiment, network, "PG-KL", **how)[0].accuracy == {"val": 0.0, "test": 1.0}


def test_a_training_is_kept_and_read_again_as_it_was(
    p15: dict, real: Splits, trained: list[dict], stripes
) -> None:
    experiment, network = SimpleNamespace(device="cpu", real=real), network_of(p15)
    how = {"synthetic": stripes(16), "updates": 2, "seed": 0, "guide": guide_of(p15, channels=1)}
    first, model = rated(experiment, network, "PG-KL", with_model=True, **how)
    again, same = rated(experiment, network, "PG-KL", with_model=True, **how)
    assert len(trained) == 1
    assert again == first
    assert type(again.history.train_loss) is tuple
    assert {*again.history.extra} == {"guidance", "guidance_gradient", "task_gradient"}
    assert all(torch.equal(a, b) for a, b in zip(
        model.state_dict().values(), same.state_dict().values(), strict=True
    ))  # fmt: skip
    assert (model.training, same.training) == (False, False)
    inner = remedy(network, "PG-KL", **how)
    assert inner[1].train_loss == first.history.train_loss
    assert torch.equal(inner[0].head.weight, same.head.weight)


@pytest.mark.parametrize(
    "other",
    [
        {"updates": 4}, {"seed": 1}, {"lambda_3": 2.0}, {"synthetic": 1}, {"real": 0},
        {"guide": {"guide_input_size": 12}}, {"guide": {"guide_backbone": "resnet18_cifar"}},
        {"network": {"learning_rate": 0.02}}, {"device": "meta"}, {"test": 1}, {"val": 1},
    ],
    ids=lambda other: "-".join(map(str, other)),
)  # fmt: skip
def test_what_differs_in_anything_is_trained_anew(
    p15: dict, real: Splits, monkeypatch: pytest.MonkeyPatch, stripes, other: dict
) -> None:
    calls = []
    monkeypatch.setattr(remedies, "remedy", lambda *_, **__: calls.append(1) or (None, History()))
    monkeypatch.setattr("synthbook.recognize.predict.accuracy", lambda *_, **__: 1.0)

    def one(**changed) -> None:
        splits = {name: stripes(8, seed=9) for name in ("val", "test") if name in changed}
        experiment = SimpleNamespace(
            device=changed.pop("device", "cpu"), real=replace(real, **splits)
        )
        network = network_of(p15 | changed.pop("network", {}))
        how = {
            "updates": 2,
            "seed": 0,
            "guide": guide_of(p15 | changed.pop("guide", {}), channels=1),
        }
        how["synthetic"] = stripes(16, seed=changed.pop("synthetic", 0))
        if "real" in changed:
            how["real"] = stripes(16, seed=changed.pop("real"))
        for name in splits:
            del changed[name]
        rated(experiment, network, "PG-KL", **how | changed)

    one()
    one()
    assert len(calls) == 1
    one(**other)
    assert len(calls) == 2
