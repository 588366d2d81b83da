"""Samples of the models that come with the book, for the page that shows them.

    python -m synthbook.studies.model_samples FOLDER

writes FOLDER/NAME.npz for each model: of each guidance scale of which images come with it, "g1" and
so on, the first images of each class in its bank, none chosen by anybody; FOLDER/pairs-NAME.npz
for each pretrained pair, and FOLDER/web.npz for the text-to-image model.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np

from synthbook.errors import InputError
from synthbook.gans import networks, sampling
from synthbook.generate import banks, models
from synthbook.generate.cards import CARD, cards, places, read_card
from synthbook.generate.prompted import Prompted
from synthbook.generate.prompts import FORMS
from synthbook.generate.wordnet import class_words
from synthbook.studies import kept, pairs, web

COLUMNS = 12  # images of a class


def samples(folder: Path) -> dict[str, np.ndarray]:
    """Return a model's first images of each class, uint8 [classes, COLUMNS, H, W, C], by scale.

    A class with fewer in the first thousand has white ones at the end of its row. Classes are those
    that are asked for: of ``caltech10`` its ten kinds.
    """
    card = read_card(folder)
    classes = (card["kinds"] or card)["classes"]
    model = models.opened(folder, classes)
    labels, made = banks.labels_of(model, 0), {}
    for name in card["measures"]:
        images = banks.strip(model, float(name.removeprefix("g")), 0)
        rows = np.full((len(classes), COLUMNS, *images.shape[1:]), 255, np.uint8)
        for k in range(len(classes)):
            own = images[labels == k][:COLUMNS]
            rows[k, : len(own)] = own
        made[name] = rows
    return made


def of_pair(folder: Path) -> np.ndarray:
    """Return images of a pretrained pair's averaged generator, uint8 [COLUMNS, H, W, C]."""
    return sampling.sample(networks.load(folder), [None] * COLUMNS, seed=0)


def of_web() -> dict[str, np.ndarray]:
    """Return sheets of images of the ten kinds by prompt and guidance, of those that are kept.

    uint8 [classes, COLUMNS, H, W, C] by what was asked for; none where none are kept.
    """
    words, how = class_words("caltech10"), {"num_inference_steps": 12}
    sheets = {}
    for form, scale in product(FORMS, (1.0, 2.0, 4.0, 7.5)):
        asked = Prompted(None, words, form, kept=web.kept_samples())
        if all(
            asked.has(k, COLUMNS, seed=0, guidance_scale=scale, **how) for k in range(len(words))
        ):
            labels = np.repeat(np.arange(len(words)), COLUMNS).tolist()
            images = asked.sample(labels, seed=0, guidance_scale=scale, **how)
            name = f"{FORMS[form].words}, guidance {scale:g}"
            sheets[name] = images.reshape(len(words), COLUMNS, *images.shape[1:])
    return {"classes": np.array([word.name for word in words])} | sheets


def main(target: Path) -> None:
    """Write the samples of all models, pairs and other generators of the book into a folder."""
    for folder, card in cards():
        if folder.parent == places()[0]:
            np.savez(target / f"{card['name']}.npz", **samples(folder))
    for folder, card in pairs.cards():
        if folder.parent.parent == places()[0]:
            np.savez(target / f"pairs-{card['name']}.npz", images=of_pair(folder))
    if (places()[0] / web.PLACE / web.TEXT2IMAGE / CARD).is_file():
        np.savez(target / "web.npz", **of_web())
    for folder, card in kept.cards():
        if folder.parent.parent == places()[0]:
            name, _, seed = card["name"].rpartition("-")
            images = kept.images(name, int(seed), COLUMNS)
            np.savez(target / f"{kept.PLACE}-{card['name']}.npz", images=images)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except InputError as error:
        sys.exit(f"error: {error}")
