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
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.errors import InputError
from synthbook.page import figures
from synthbook.page.looks import LINES, PALETTE
from synthbook.store import cached, root

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Card = Mapping[str, Any]
KINDS = {
    "diffusion": "A diffusion model, which learned by flow matching from",
    "gan": "A GAN, whose discriminator looks at features of a frozen network, which learned from",
}
MEASURES = {  # of a training's curve and of samples, as the page calls them
    "probe": "linear layer, % right",
    "accuracy": "small network, % right",
    "fd": "FD to validation",
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

**What the numbers are.** *Linear layer* and *small network*: the accuracy on the validation
photographs of a classifier trained on 1,000 samples: a linear one on EfficientNet-Lite0's features,
and a small convolutional network from random weights. *FD*: the Fréchet distance between 1,000
samples and the validation photographs in those features. The discriminator of the GANs sees
features of the same network, so that compares a family with itself, not the two with each other.
*Agreement*: of 1,000 samples, how many a classifier trained on all real training photographs puts
into the class that they were asked for.
"""
NONE = "\nThis copy of the book holds none: `make models` trains them.\n"


def models_page() -> dict[Path, bytes]:
    """Return the page and its figures: path below the book's top -> content."""
    groups = ("", "pairs/", "encoders/", "web/", "dip/")
    files = [x for of in groups for x in sorted(root().glob(f"models/{of}[!.]*/card.json"))]
    cards = {
        path.parent.relative_to(root() / "models").as_posix(): path.read_text(encoding="utf-8")
        for path in files
    }
    place = cached("pages", {"cards": cards}, partial(_write, cards))
    files = (path for path in place.rglob("*") if path.is_file() and path.suffix != ".json")
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
    read: dict[str, dict[str, Card]] = {
        "": {}, "pairs": {}, "encoders": {}, "web": {}, "dip": {},
    }  # fmt: skip
    for name, content in cards.items():
        read[name.rpartition("/")[0]][name.rpartition("/")[2]] = json.loads(content)
    for name, card in read[""].items():
        text += _section(card, _taken(drawn / f"{name}.npz"), drawn)
    if pairs := read["pairs"]:
        shown = {name: _taken(drawn / f"pairs-{name}.npz")["images"] for name in pairs}
        text += _pairs(pairs, shown, drawn)
    if read["encoders"]:
        text += _encoders(read["encoders"])
    if read["web"]:
        from synthbook.press.web_models import web_section

        text += web_section(read["web"], _taken(drawn / "web.npz"), drawn)
    if kept := read["dip"]:
        shown = {name: _taken(drawn / f"dip-{name}.npz")["images"] for name in kept}
        text += _dip(kept, shown, drawn)
    (folder / "models.md").write_text(text, encoding="utf-8")


def _taken(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file, and remove it."""
    with np.load(path) as arrays:
        held = dict(arrays)
    path.unlink()
    return held


def _pairs(cards: Mapping[str, Card], samples: Mapping[str, np.ndarray], folder: Path) -> str:
    """Return what the page says of the pretrained pairs, and draw their figures."""
    first = next(iter(cards.values()))
    network, recipe = first["learned"]["network"], first["learned"]["recipe"]
    rows = []
    for name, card in cards.items():
        training = card["training"]
        distances = [point["fd"] for point in card["curve"].values()]
        size = sum((root() / "models/pairs" / name / file).stat().st_size for file in card["files"])
        digest = card["files"]["generator.safetensors"]
        rows.append([
            name, f"{distances[0]:.0f}", f"{distances[-1]:.0f}", f"{training['minutes']:.1f}",
            _machine(training), _commit(training), f"{size / 1e6:.1f}", f"`{digest[:16]}`",
        ])  # fmt: skip
    names = [
        "pair",
        "FD untrained",
        "FD at the end",
        "minutes",
        "machine",
        "commit",
        "MB",
        "SHA-256 of the generator",
    ]
    text = (
        "\n## Pretrained pairs\n\n"
        "Generator and discriminator of a small SNGAN that learned from drawn images, or from "
        "the photographs of all other classes than the targets of chapters 52 and 53, which go on "
        f"from them: {recipe['steps']:,} steps of {recipe['batch_size']} images at "
        f"{network['image_size']} pixels. The last networks are kept, as in the public code; the "
        "curve, the Fréchet distance to images of the source, chooses nothing. The whole digests "
        f"stand on the cards.\n\n{_table(names, rows)}"
    )
    text += _figure(
        folder / "pairs-samples.png", _rows([*samples], np.stack([*samples.values()])),
        "Images of each pretrained generator, none chosen.",
        "A grid of generated pictures, a row for each pretrained pair.",
    )  # fmt: skip
    return text + _figure(
        folder / "pairs-curve.png", _pair_curves(cards),
        "The pretraining of the pairs: Fréchet distance to images of their own source over steps.",
        "A curve for each pair: Fréchet distance over training steps.",
    )  # fmt: skip


def _dip(cards: Mapping[str, Card], samples: Mapping[str, np.ndarray], folder: Path) -> str:
    """Return what the page says of the generators with the instance prior, and draw them."""
    rows = []
    for name, card in cards.items():
        training, learned = card["training"], card["learned"]
        against = learned["choosing"]
        curve = {int(step): point[against] for step, point in card["curve"].items()}
        last = max(curve)
        step = last if card["snapshot"] == "last" else min(curve, key=lambda k: (curve[k], k))
        digest = card["files"]["generator.safetensors"]
        size = sum((root() / "models/dip" / name / file).stat().st_size for file in card["files"])
        rows.append([
            name, learned["prior"], f"{learned['recipe']['steps']:,}", f"{step:,}",
            f"{curve[step]:.0f}", f"{training['minutes']:.1f}",
            _machine(training), _commit(training), f"{size / 1e6:.1f}", f"`{digest[:16]}`",
        ])  # fmt: skip
    names = [
        "generator", "prior", "steps", "the step that is kept", "FD there", "minutes", "machine",
        "commit", "MB", "SHA-256",
    ]  # fmt: skip
    text = (
        "\n## GANs with the data instance prior, and without\n\n"
        "Generators of whole trainings, whose images chapters 41 to 44 show. Those of faces have "
        "learned a hundred of them, those of airplanes four hundred after other photographs; of "
        "these the snapshot that is nearest to unseen images is kept. Those of Caltech-101 have "
        "learned all of its training images, and the last one is kept. FD is the "
        f"Fréchet distance to the held-out, or to the validation images.\n\n{_table(names, rows)}"
    )
    return text + _figure(
        folder / "dip-samples.png", _rows([*samples], np.stack([*samples.values()])),
        "Images of each generator, none chosen.",
        "A grid of generated pictures, a row for each generator.",
    )  # fmt: skip


def _pair_curves(cards: Mapping[str, Card]) -> Figure:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7.6, 0.2 * len(cards) + 2.6))
    for place, (name, card) in enumerate(cards.items()):
        steps, fd = zip(*((int(step), of["fd"]) for step, of in card["curve"].items()), strict=True)
        color = PALETTE[place % len(PALETTE)]
        ax.plot(steps, fd, LINES[place // len(PALETTE) % len(LINES)], color=color, label=name)
    ax.set(xlabel="training steps", ylabel="FD to the source", yscale="log")
    figures.numbers_along(ax)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _encoders(cards: Mapping[str, Card]) -> str:
    """Return what the page says of the networks that learned without labels."""
    rows = []
    for name, card in cards.items():
        training, recipe, probe = card["training"], card["recipe"], card["probe"]
        (file, digest), *_ = card["files"].items()
        size = (root() / "models/encoders" / name / file).stat().st_size
        rows.append([
            name, f"{card['data']['images']:,} of {card['data']['name']}",
            f"{recipe['epochs']} × {recipe['batch_size']}",
            *(f"{100 * probe[one]:.1f}" for one in ("untrained", name, "lite0")),
            f"{training['minutes']:.1f}", _machine(training), _commit(training),
            f"{size / 1e6:.1f}", f"`{digest[:16]}`",
        ])  # fmt: skip
    heads = [
        "network", "images", "epochs × batch", "probe untrained (%)", "probe (%)",
        "probe of EfficientNet-Lite0 (%)", "minutes", "machine", "commit", "MB", "SHA-256",
    ]  # fmt: skip
    return (
        "\n## Networks that learned without labels\n\n"
        "A small ResNet that learned by SimCLR {cite}`chen2020simple` to tell two views of an "
        "image from those of others. It is a prior of chapters 41 to 44 (`self-supervised`), in "
        "place of the network that has learned ImageNet with labels. *Probe*: how often a linear "
        "layer on its features is right on the validation photographs of `caltech10`, ten kinds; "
        "of the same network with random weights, of this one, and of EfficientNet-Lite0 at 64 "
        "pixels. It was trained on CIFAR-10 and CIFAR-100 {cite}`krizhevsky2009learning`, which "
        "are not part of the book; the weights are all that comes from them.\n\n"
        + _table(heads, rows)
    )


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
        "Curves over minutes of training: accuracy of classifiers trained on samples, and the "
        "Fréchet distance of the samples.",
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
        f"{KINDS[card['family']]} {data['images']:,} images{few} of `{data['name']}`, at "
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
        [training["device"], training["processor"], f"threads: {training['threads']}",
         training["precision"], f"torch {training['torch']}"]
    )  # fmt: skip
    lines = {
        "budget": f"at most {budget['minutes']:g} minutes; measured every "
        f"{budget['measure_every']:g}, stopped after {budget['patience']} measurements without a "
        "new best",
        "trained": f"{training['minutes']:.1f} minutes; the weights are those after "
        f"{training['best_minutes']:.1f}, {training['steps']:,} steps of "
        f"{card['recipe']['batch_size']} images; {_ended(card)}",
        "when, by": f"{training['begun'][:10]}, commit {_commit(training)}",
        "machine": machine,
        "recipe": ", ".join(
            f"{key} {_text(value)}"
            for key, value in card["recipe"].items()
            if key != "steps"  # the budget ends a training, and no number of steps
        ),
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
        for name, title in MEASURES.items()
        if all(name in of for of in measures.values())
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


def _ended(card: Card) -> str:
    """Return what ended a training, and how far it had come: by the first measure of its curve."""
    curve, budget = card["curve"], card["budget"]
    first = next(name for name in MEASURES if name in curve[0])
    best = max(range(len(curve)), key=lambda k: (curve[k][first], -k))
    spent = curve[-1]["minutes"] >= budget["minutes"] - 0.01
    text = "the budget ended it" if spent else "the rule ended it"
    if best == len(curve) - 1:
        text += ", and its last measurement was its best: more minutes might have taught it more"
    chance = 100 / len((card["kinds"] or card)["classes"])
    return f"{text}. {MEASURES[first]} at best: {curve[best][first]:.1f}, by chance {chance:.1f}"


def _commit(training: Mapping[str, Any]) -> str:
    return f"`{training['commit'][:12]}`" if training["commit"] else "unknown"


def _machine(training: Mapping[str, Any]) -> str:
    """Return in a few words what trained; the card has the instructions of a processor as well."""
    return f"{training['device']}, {training['processor'].partition(' (')[0]}"


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
    names = [fill(name.replace("_", " "), 22) for name in classes]  # models differ at their ends
    side = 0.5 if any("\n" in name for name in names) else 0.42  # two lines are that high
    return figures.sheet(zip(names, images, strict=True), images.shape[1], side).figure


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

    curve = card["curve"]
    minutes = [point["minutes"] for point in curve]
    names = [name for name in MEASURES if all(name in point for point in curve)]
    figure, axes = plt.subplots(1, len(names), figsize=(3.4 * len(names), 2.8), squeeze=False)
    look = figures.mark(card["family"])
    for ax, name in zip(axes[0], names, strict=True):
        ax.plot(minutes, [point[name] for point in curve], **look)
        ax.axvline(card["training"]["best_minutes"], color="#777777", linestyle=":")
        ax.set(xlabel="minutes of training", ylabel=MEASURES[name], xlim=(0, None))
    return figure
