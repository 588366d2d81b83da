"""GANs that have learned other images before: what methods of chapters 41 and 42 start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from synthbook.gans.recipes import Training
from synthbook.settings import from_texts
from synthbook.studies import few_images
from synthbook.studies.prim import OF_TRAINING, recipe_of
from synthbook.studies.targets import labelled_source

if TYPE_CHECKING:
    from synthbook.data import ImageSet


def pretraining_of(p: Any) -> Training:
    """Return how a bed's GAN learns other images first: without augmentation.

    Raises:
        InputError: if ``pretrain_settings`` are none of a training.
    """
    from_texts(Training, p.pretrain_settings, "pretrain_settings", OF_TRAINING)
    names = [{text.replace("=", ":").partition(":")[0].strip(): text for text in some}
             for some in (p.training_settings, p.pretrain_settings)]  # fmt: skip
    texts = [*(names[0] | names[1]).values()]
    own = SimpleNamespace(**{**vars(p), "training_settings": texts})
    return replace(recipe_of(own), augment="", steps=p.pretrain_steps)


def gan_of_others(
    p: Any, network: Mapping[str, Any], taken: Sequence[str], *, seed: int, device: str
) -> Path:
    """Return the folder of a GAN that has learned the real source without the targets ``taken``.

    It knows the classes of the source, where that has some. ``p`` are the parameters of its bed.
    """
    source, network = _learned(p, network, taken)
    return few_images.pretrained(source, pretraining_of(p), network, seed=seed, device=device)


def told_of_others(
    p: Any, network: Mapping[str, Any], taken: Sequence[str], *, seed: int
) -> dict[str, Any]:
    """Return what tells that GAN from others, without training it: source, networks, recipe."""
    source, network = _learned(p, network, taken)
    recipe = asdict(pretraining_of(p))
    return {"source": source.fingerprint(), "network": network, "recipe": recipe, "seed": seed}


def _learned(
    p: Any, network: Mapping[str, Any], taken: Sequence[str]
) -> tuple[ImageSet, dict[str, Any]]:
    how = {"image_size": p.image_size, "data_root": p.data_root}
    source = labelled_source(p.real_source, without=taken, **how)
    classes = source.num_classes if source.num_classes > 1 else 0
    return source, {**network, "num_classes": classes}
