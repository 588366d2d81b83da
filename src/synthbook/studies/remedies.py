"""The remedies of the study gap (Wang et al., WACV 2024): one training by a method, and its guide.

The experiments of chapters 15 and 16 and the audit of a reader's own images are made of such
trainings. To import this needs no torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from synthbook.recognize.methods import METHODS, keywords_of, train_by
from synthbook.store import atomic_write, cached
from synthbook.studies.plans import Experiment, Trained
from synthbook.studies.rows import Row

if TYPE_CHECKING:
    from synthbook.data import ImageSet
    from synthbook.recognize.methods.guide import Guide
    from synthbook.recognize.models import Classifier
    from synthbook.recognize.train import History
    from synthbook.studies.training_sets import Network


def guide_of(p: Mapping[str, Any], *, channels: int, device: str = "cpu") -> Guide:
    """Return the frozen network of ``guide_backbone`` and its like, for images of ``channels``."""
    from synthbook.recognize.methods.guide import create_guide

    return create_guide(
        p["guide_backbone"], channels=channels, input_size=p["guide_input_size"],
        pretrained=p.get("guide_pretrained", True), device=device,
    )  # fmt: skip


def numbers_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the given numbers that the method has."""
    known = keywords_of(name)
    return {number: value for number, value in given.items() if number in known}


def remedy(
    network: Network, name: str, *, updates: int, seed: int, real: ImageSet | None = None,
    synthetic: ImageSet | None = None, guide: Guide | None = None, device: str = "cpu",
    **numbers: Any,
) -> tuple[Classifier, History]:  # fmt: skip
    """Train a fresh classifier by the method ``name`` of ``METHODS``; return it and its curves.

    Equal seeds give equal initial weights whatever the method and the images are. ``updates`` are
    optimiser steps, the same for all methods that are compared (``updates_of``); the last one's
    weights are kept. ``numbers`` are the method's (``keywords_of``). Plain training for the epochs
    of the recipe is that of chapters 12 to 14, and read again where it is kept.

    Raises:
        InputError: for an unknown name or number, or images or a guide that the method lacks.
        TrainingError: if a loss is not finite.
    """
    from synthbook.recognize.methods.task import Task, updates_of

    alone = [images for images in (real, synthetic) if images is not None]
    if name == "plain" and [updates_of(images, network.recipe) for images in alone] == [updates]:
        return network.train(alone[0], seed=seed, device=device)
    model = network.fresh(real if synthetic is None else synthetic, seed=seed)
    sets = {"real": real, "synthetic": synthetic, "guide": guide}
    how = {"device": device, "precision": network.precision}
    task = Task(network.recipe, updates, seed, **sets, **how)
    return model, train_by(name, model, task, **numbers)


def rated(
    experiment: Experiment, network: Network, name: str, *, updates: int, seed: int,
    real: ImageSet | None = None, synthetic: ImageSet | None = None, guide: Guide | None = None,
    with_model: bool = False, **numbers: Any,
) -> tuple[Trained, Classifier | None]:  # fmt: skip
    """Return the curves and accuracies of what ``remedy`` trains, and the model if it is wanted.

    Accuracies are those on real validation and test images and, of plain training, on its own. All
    of it is kept, and read again by whoever asks for the same, so that a run that was stopped goes
    on with the training at which it was. Weights are kept only ``with_model``: they are large.
    """
    from safetensors.torch import load_model, save_model

    from synthbook.recognize.predict import accuracy
    from synthbook.recognize.pretrained import fingerprint
    from synthbook.recognize.train import History

    device, own = experiment.device, real if synthetic is None else synthetic
    splits = {"val": experiment.real.val, "test": experiment.real.test}
    splits |= {"train": own} if name == "plain" else {}
    how = {"real": real, "synthetic": synthetic, "updates": updates, "seed": seed, **numbers}
    key = how | {"network": network, "method": name, "rated on": splits, "weights": with_model}
    key["guide"] = guide and [fingerprint(guide.network), guide.input_size]

    def build(folder: Path) -> None:
        model, history = remedy(network, name, guide=guide, device=device, **how)
        read = network.reading(device)
        found = {split: accuracy(model, images, **read) for split, images in splits.items()}
        if with_model:
            save_model(model, str(folder / "model.safetensors"))
        with atomic_write(folder / "trained.json") as stream:
            json.dump({"history": dataclasses.asdict(history), "accuracy": found}, stream)

    folder = cached("remedies", key, build, device)
    told = json.loads((folder / "trained.json").read_text())
    trained = Trained(TypeAdapter(History).validate_python(told["history"]), told["accuracy"])
    if not with_model:
        return trained, None
    model = network.fresh(own, seed=seed).to(device)
    load_model(model, str(folder / "model.safetensors"), device=device)
    return trained, model.eval()


def weight_given(name: str, weights: Sequence[float]) -> Row:
    """Return the weight of a guided method where it was given, and not chosen among several."""
    given = METHODS[name].guided and len(weights) == 1
    return {"lambda_3": weights[0]} if given else {}
