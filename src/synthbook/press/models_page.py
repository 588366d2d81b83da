"""The page of the models that come with the book, made from their cards and samples.

The samples are read by a program of the other tower (`synthbook.studies.model_samples`), which
leaves them in files.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.errors import InputError
from synthbook.page import figures
from synthbook.store import cached, root

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Card = Mapping[str, Any]
KINDS = {
    "diffusion": "A diffusion model, trained by flow matching",
    "gan": "A GAN whose discriminator looks at features of a frozen network",
}
HEAD = """\
# The models that come with the book

These generators were trained once and ship with the book, as weights in half precision and the
first thousands of their images. Chapters 11 to 16 and the audit ask them; [how to
read](how_to_read.md) says by which rule a training ends. `make models` trains them anew, and
those of other seeds, which the recorded rows use. This page is made from `models/*/card.json`
while the book is built.

**Licence.** The weights and the images are derived from the bundled photographs, a reduced copy
of Caltech 101 {cite}`feifei2004learning` under CC BY 4.0, and come under the same licence, with
the same credit (`LICENSE-DATA.md`). Some of the photographs show people or trade marks; the
licence covers what its authors published, and no right of anybody shown.

**What the numbers are.** *Teaches*: the accuracy, on the validation photographs, of a small
classifier trained on 1,000 samples. *Agreement*: of 1,000 samples, how many a classifier
trained on all real training photographs puts into the class that they were asked for. *FD*: the
Fréchet distance between 1,000 samples and the validation photographs in features of
EfficientNet-Lite0. The discriminator of the GANs sees features of that network too, so their FD
flatters them beside the diffusion models'.
"""
NONE = "\nThis copy of the book holds none: `make models` trains them.\n"


def models_page() -> dict[Path, bytes]:
    """Return the page and its figures: path below the book's top -> content."""
    cards = {
        path.parent.name: path.read_text(encoding="utf-8")
        for path in sorted(root().glob("models/[!.]*/card.json"))
    }
    place = cached("pages", {"cards": cards}, partial(_write, cards))
    files = (path for path in place.rglob("*") if path.is_file() and path.name != "key.json")
    return {Path("book", path.relative_to(place)): path.read_bytes() for path in files}


def _write(cards: Mapping[str, str], folder: Path) -> None:
    """Write the page of these cards into a folder, ``models.md``, and its figures beside it."""
    drawn = folder / "models"
    drawn.mkdir(exist_ok=True)
    if cards:
        command = [sys.executable, "-m", "synthbook.studies.model_samples", str(drawn)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise InputError(done.stderr.strip().rpartition("\n")[2].removeprefix("error: "))
    figures.style()
    text = HEAD if cards else HEAD + NONE
    for name, content in cards.items():
        card = json.loads(content)
        with np.load(drawn / f"{name}.npz") as arrays:
            samples = dict(arrays)
        (drawn / f"{name}.npz").unlink()
        text += _section(card, samples, drawn)
    (folder / "models.md").write_text(text, encoding="utf-8")


def _section(card: Card, samples: Mapping[str, np.ndarray], folder: Path) -> str:
    """Return what the page says of a model, and draw its figures into the folder."""
    name, first = card["name"], next(iter(samples))
    classes = (card["kinds"] or card)["classes"]
    text = f"\n## {name}\n\n{_sentence(card)}\n\n{_facts(card)}\n"
    text += _figure(
        folder / f"{name}-samples.png", _rows(classes, samples[first]),
        f"The first images of {name} of each class, none chosen.",
        f"A grid of small generated pictures with a row for each of {len(classes)} classes: "
        f"{', '.join(classes[:10])}.",
    )  # fmt: skip
    text += _figure(
        folder / f"{name}-curve.png", _curve(card),
        f"The training of {name}: what samples teach, and their distance to validation "
        "photographs, over minutes of training. The dotted line is where the weights are from.",
        "Two curves over minutes of training: accuracy of a classifier trained on samples, and "
        "the Fréchet distance of the samples.",
    )  # fmt: skip
    if len(samples) > 1:
        rows = [of_scale[: len(classes), 0] for of_scale in samples.values()]
        text += _figure(
            folder / f"{name}-guidance.png", _guided([*samples], rows, classes),
            f"Guidance of {name}: in a column the same noise and class, in a row the same scale.",
            "A grid of generated pictures, a row for each guidance scale and a column a class.",
        )  # fmt: skip
    return text + _measures(card)


def _sentence(card: Card) -> str:
    data, kinds = card["data"], card["kinds"]
    few = f", {data['images'] // len(card['classes'])} a class," if data["images"] < 1000 else ""
    text = (
        f"{KINDS[card['family']]} on {data['images']:,} images{few} of `{data['name']}`, at "
        f"{data['image_size']} pixels, with seed {card['seed']}. It is told "
        f"{len(card['classes'])} classes"
    )
    return text + (f" and asked for {len(kinds['classes'])} kinds of them." if kinds else ".")


def _facts(card: Card) -> str:
    """Return a table of what was done: recipe, budget, training, sampling, files."""
    training, budget = card["training"], card["budget"]
    place = root() / "models" / card["name"]
    sizes = {name: (place / name).stat().st_size for name in card["files"]}
    weights = [name for name in card["files"] if name.endswith(".safetensors")]
    drawn = sum(size for name, size in sizes.items() if name.startswith("samples/"))
    machine = ", ".join(
        [training["device"], training["processor"], f"{training['threads']} threads",
         training["precision"], f"torch {training['torch']}"]
    )  # fmt: skip
    lines = {
        "budget": f"at most {budget['minutes']:g} minutes; measured every "
        f"{budget['measure_every']:g}, stopped after {budget['patience']} measurements without a "
        "new best",
        "trained": f"{training['minutes']:.1f} minutes; the weights are those after "
        f"{training['best_minutes']:.1f}, {training['steps']:,} steps of "
        f"{card['recipe']['batch_size']} images",
        "when, by": f"{training['begun'][:10]}, commit `{(training['commit'] or '')[:12]}`",
        "machine": machine,
        "recipe": ", ".join(f"{key} {_text(value)}" for key, value in card["recipe"].items()),
    }
    if steps := card["sampling"].get("num_inference_steps"):
        tried = ", ".join(f"{fd:g} with {count}" for count, fd in card["steps_tried"].items())
        lines["sampling"] = f"{steps} steps; FD of those tried: {tried}"
    lines["size"] = f"{sum(sizes.values()) / 1e6:.1f} MB, {drawn / 1e6:.1f} of them samples"
    lines["weights, SHA-256"] = "; ".join(f"`{card['files'][name]}`" for name in weights)
    return _table(["", ""], [[key, value] for key, value in lines.items()])


def _measures(card: Card) -> str:
    """Return the tables of what samples teach and of the agreement by class, a column a scale."""
    measures = card["measures"]
    heads = [f"guidance {name.removeprefix('g')}" for name in measures]
    heads = heads if len(heads) > 1 else ["samples"]
    rows = [
        [title, *(f"{of[name]:.1f}" for of in measures.values())]
        for title, name in (("teaches, %", "accuracy"), ("FD", "fd"))
    ]
    classes = list(dict.fromkeys(k for of in measures.values() for k in of["class_agreement"]))
    by_class = [
        [name, *(_percent(of["class_agreement"].get(name)) for of in measures.values())]
        for name in classes
    ]
    return (
        f"\n{_table(['', *heads], rows)}\n"
        "Agreement by class, in percent, of a classifier trained on real photographs, which is "
        f"right on {card['real_classifier']:.1f} % of the validation photographs:\n\n"
        f"{_table(['class', *heads], by_class)}"
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _text(value: Any) -> str:
    return "–".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, its first column of words, the others to the right if numbers."""
    lines = [heads, ["---", *["---:" if heads[-1] else "---"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _figure(path: Path, figure: Figure, caption: str, alt: str) -> str:
    import matplotlib.pyplot as plt

    path.write_bytes(figures.png(figure))
    plt.close(figure)
    return (
        f"\n```{{figure}} models/{path.name}\n:name: fig-{path.stem}\n:alt: {alt}\n\n"
        f"{caption}\n```\n"
    )


def _rows(classes: Sequence[str], images: np.ndarray) -> Figure:
    names = [name.replace("_", " ")[:14] for name in classes]
    return figures.sheet(zip(names, images, strict=True), images.shape[1]).figure


def _guided(scales: Sequence[str], rows: Sequence[np.ndarray], classes: Sequence[str]) -> Figure:
    import matplotlib.pyplot as plt

    count = min(len(classes), 12)
    figure, ax = plt.subplots(figsize=(0.62 * count + 1.0, 0.62 * len(rows) + 0.9))
    grid = figures.light(images[:count] for images in rows)
    titles, names = [name.replace("_", " ")[:12] for name in classes[:count]], []
    names = [f"scale {scale.removeprefix('g')}" for scale in scales]
    figures.image_grid(grid, len(rows), count, titles, ax, row_titles=names)
    ax.tick_params(axis="x", labelrotation=35)
    return figure


def _curve(card: Card) -> Figure:
    """Draw the measurements of a training over its minutes, a panel each."""
    import matplotlib.pyplot as plt

    minutes = [point["minutes"] for point in card["curve"]]
    figure, axes = plt.subplots(1, 2, figsize=(8.0, 2.8))
    look = figures.mark(card["family"])
    for ax, name, words in zip(
        axes, ("accuracy", "fd"), ("teaches, percent right", "FD to validation"), strict=True
    ):
        ax.plot(minutes, [point[name] for point in card["curve"]], **look)
        ax.axvline(card["training"]["best_minutes"], color="#777777", linestyle=":")
        ax.set(xlabel="minutes of training", ylabel=words, xlim=(0, None))
    return figure
