"""Parameters that fit a reader's own images: what `synthbook run` and `audit` take unless given."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from synthbook.data import check
from synthbook.data.named import REGISTRY
from synthbook.errors import InputError
from synthbook.generate.cards import FAMILIES
from synthbook.store import path_of

STEPS = 200  # of a classifier's training, about
LEAST, MOST = 10, 100  # epochs
BATCH = 64  # images a step, by default


def is_own(data: str) -> bool:
    """Return whether ``data`` is a path that exists, of a reader's own; a set's name wins."""
    return bool(data) and data not in REGISTRY and path_of(data).exists()


def fitting(images: int, batch_size: int = BATCH) -> dict[str, Any]:
    """Return values of parameters that fit ``images`` photographs of a reader's own, by name.

    Samples are drawn by class: the filter cannot wait for a class that comes seldom. Classifiers
    take some 200 steps, in 10 to 100 epochs.
    """
    epochs = min(max(round(STEPS * batch_size / images), LEAST), MOST)
    return {"unconditional": [], "epochs": epochs}


def fitting_of(p: Mapping[str, Any], images: int) -> dict[str, Any]:
    """Return those of `fitting` that are parameters of a chapter, for its size of a batch."""
    fit = fitting(images, p.get("batch_size", BATCH))
    return {name: value for name, value in fit.items() if name in p}


def written(values: Mapping[str, Any]) -> str:
    """Return values of parameters as one types them on the command line."""
    texts = {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in values.items()}
    return " ".join(f"-p {name}={text}" for name, text in texts.items())


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def told(p: Mapping[str, Any], images: int) -> str:
    """Return, in a sentence, what a run would take that is not fitted to ``images``, or "".

    It is for who starts a notebook by papermill or in Jupyter; of the book's own data it is "".
    """
    if "epochs" not in p or not is_own(p["data"]):
        return ""
    other = {k: v for k, v in fitting_of(p, images).items() if _listed(p[k]) != v}
    if not other:
        return ""
    steps = p["epochs"] * ceil(images / p.get("batch_size", BATCH))
    return (
        f"epochs = {p['epochs']} are {steps:,} steps on {images:,} training images; at the scale "
        f"mini synthbook run takes, unless given: {written(other)}"
    )


def own_images(p: Mapping[str, Any]) -> int:
    """Return how many images of the reader's own a run trains on; 0 for the book's own data.

    0 too for what has no such parameters, and for images that cannot be read.
    """
    data = p.get("data")
    if not data or not is_own(data):
        return 0
    how = {name: p[name] for name in ("image_size", "skip_unreadable") if name in p}
    try:
        counts = check(data, **how).counts
    except InputError:
        return 0  # the chapter's own check says what is wrong, and what to do
    # With test images of their own all others are trained on, but by a generator of the book.
    whole = p.get("test") and p.get("samples") not in FAMILIES
    images = sum(number for part, number in counts.items() if whole or "train" in part)
    return min(images, *(p.get(most) or images for most in ("train_images", "set_size")))
