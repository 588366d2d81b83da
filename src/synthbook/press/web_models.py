"""What the page of the models says of those that have read captions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.page import figures
from synthbook.press.models_page import _commit, _figure, _machine, _rows, _table
from synthbook.store import root

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Card = Mapping[str, Any]
KINDS = {  # of a model's name, what it is
    "web-clip": "a tiny CLIP, by open_clip",
    "web-clip-narrow": "a smaller one, with narrower towers",
    "web-text2image": "a text-to-image model, a pipeline of diffusers",
}


def web_section(cards: Mapping[str, Card], samples: Mapping[str, np.ndarray], folder: Path) -> str:
    """Return the section, and draw its figures into the folder.

    ``samples`` are sheets of images uint8 [classes, N, H, W, 3] by what they were asked for, with
    the names of the ``classes``.
    """
    rows = []
    for name, card in cards.items():
        training, recipe = card["training"], card["recipe"]
        sizes = [(root() / "models/web" / name / file).stat().st_size for file in card["files"]]
        weights = next(file for file in card["files"] if file.endswith(".safetensors"))
        steps = recipe.get("steps") or card["curve"][-1]["steps"]
        rows.append([
            name, KINDS.get(name, ""), f"{steps:,} of {recipe['batch_size']}",
            f"{training['minutes']:.0f}", _machine(training), _commit(training),
            f"{sum(sizes) / 1e6:.1f}", f"`{card['files'][weights][:16]}`",
        ])  # fmt: skip
    heads = ["model", "what it is", "steps", "minutes", "machine", "commit", "MB", "SHA-256"]
    first = next(iter(cards.values()))
    told = "; ".join(f"\u201c{one}\u201d" for one in first["captions"])
    text = (
        "\n## Models that have read captions\n\n"
        "The CLIPs and the Stable Diffusion of the miniature, for chapters 21 to 23 and 31 to 33. "
        f"They learned {first['data']['images']:,} captioned pictures of "
        f"{first['data']['classes']} classes, "
        "CIFAR-10 once and CIFAR-100 three times {cite}`krizhevsky2009learning`, and none of the "
        "bundled photographs. The captions are made of WordNet's words by some fifty templates, "
        f"such as {told}. The text-to-image model reads them through the text tower of web-clip. "
        "CIFAR is not part of the book; the weights are all that comes from it.\n\n"
        f"{_table(heads, rows)}"
    )
    if named := {name: card["zero_shot"] for name, card in cards.items() if "zero_shot" in card}:
        sets = list(next(iter(named.values())))
        told = [[name, *(f"{100 * got[of]:.1f}" for of in sets)] for name, got in named.items()]
        text += (
            "\nWhat a CLIP names without having been told any label, of validation images in "
            f"percent:\n\n{_table(['model', *(f'`{of}`' for of in sets)], told)}"
        )
    if "fd" in cards.get("web-text2image", {}):
        text += (
            f"\nThe Fr\u00e9chet distance of the text-to-image model's images to the validation "
            f"pictures whose captions they were asked by: {cards['web-text2image']['fd']:.0f}.\n"
        )
    text += _figure(
        folder / "web-curves.png", _curves(cards),
        "The trainings: loss of each model over its steps.",
        "A line chart for each model: its loss over training steps.",
    )  # fmt: skip
    classes = [str(name) for name in samples.get("classes", ())]
    for asked, sheet in samples.items():
        if asked == "classes":
            continue
        slug = "".join(c if c.isalnum() else "-" for c in asked)
        text += _figure(
            folder / f"web-{slug}.png", _rows(classes, sheet),
            f"Images of the text-to-image model, none chosen: {asked}.",
            f"A grid of small generated pictures, a row for each class: {', '.join(classes)}.",
        )  # fmt: skip
    return text


def _curves(cards: Mapping[str, Card]) -> Figure:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(cards), figsize=(3.6 * len(cards), 2.7), squeeze=False)
    for ax, (name, card) in zip(axes[0], cards.items(), strict=True):
        steps = [point["steps"] for point in card["curve"]]
        ax.plot(steps, [point["loss"] for point in card["curve"]], color=figures.color("diffusion"))
        ax.set(title=name, xlabel="training steps", ylabel="loss")
    return figure
