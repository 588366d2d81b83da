"""What a run asks of this machine: networks that exist, models and weights, enough memory.

A checking cell asks before anything is trained, without torch. Amounts of memory are lower bounds:
what is refused cannot fit, and what passes may still not.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import inf
from pathlib import Path
from typing import Any

from synthbook import machine
from synthbook.data import Summary
from synthbook.errors import InputError
from synthbook.generate.cards import cards, places
from synthbook.machine import check_memory
from synthbook.recognize.backbones import BUNDLED, check_backbone

# Bytes that a step of training keeps for each pixel of a batch, in float32, rounded down.
PER_PIXEL = {
    "small_cnn": 300, "resnet18_cifar": 4600, "resnet34_cifar": 4600, "resnet50_cifar": 25_000,
    BUNDLED: 1500,
}  # fmt: skip
OTHERS = 200  # of any other network
FLOAT, MAPS = 4, 4  # bytes of a number; copies of a feature map that training a GAN keeps
KEPT_OF_GENERATOR, KEPT_OF_DISCRIMINATOR = 5, 4  # weights, gradients, two of Adam, an average
FEATURES = 1280  # numbers that an extractor gives an image, at least
BOOK, BOOK_SIDE = "caltech10", 32  # what the models that come with the book learned, in pixels


def check_classifiers(p: Mapping[str, Any], summary: Summary, images: int = 0) -> None:
    """Raise InputError if classifiers cannot be trained on the data as a chapter's parameters say.

    A batch holds ``images`` at most; 0: all training images.
    """
    side = p.get("image_size") or summary.side
    check_backbone(p["backbone"], pretrained=p.get("pretrained", False))
    check_device(p.get("device", "cpu"))
    check_padding(p, summary, "crop_padding")
    count = min(p["batch_size"], images or _training(summary))
    size = "input_size" if p["input_size"] else "image_size"
    check_batch(p, p["backbone"], p["input_size"] or side, count, size)


def check_padding(p: Mapping[str, Any], summary: Summary, name: str) -> None:
    """Raise InputError if windows of padded images would be empty, or the images do not fit."""
    side, padding = p.get("image_size") or summary.side, p.get(name, 0)
    training = _training(summary)
    if padding >= (side or inf):
        raise InputError(
            f"{name} = {padding} and images have {side} pixels a side: windows "
            f"would show nothing of them; give at most {side - 1}"
        )
    check_memory(
        training * (side + 2 * padding) ** 2 * summary.channels,
        f"{name} = {padding} around {training:,} images of {side} pixels",
        "give less",
    )


def _training(summary: Summary) -> int:
    return sum(count for part, count in summary.counts.items() if part != "test")


def check_batch(p: Mapping[str, Any], network: str, side: int, count: int, size: str) -> None:
    """Raise InputError if a step on ``count`` images of a ``side``, the ``size``, cannot fit."""
    device = p.get("device", "cpu")
    image = PER_PIXEL.get(network, OTHERS) * side**2 / (1 + (p.get("precision") == "bfloat16"))
    remedy = f"give a smaller {size}"
    if image and 4 * image <= machine.memory(device) < inf:  # with room for all else
        remedy = (
            f"give a batch_size of {machine.memory(device) // image // 2:.0f}, or a smaller {size}"
        )
    what = f"a batch of {count:,} images of {side} pixels in {network}"
    check_memory(image * count, what, remedy, device)


def check_guide(p: Mapping[str, Any]) -> None:
    """Raise InputError if the frozen network of Pretrained Guidance cannot be had."""
    pretrained = p.get("guide_pretrained", True)
    check_backbone(
        p["guide_backbone"], pretrained=pretrained, parameter="guide_backbone",
        switch="guide_pretrained" if "guide_pretrained" in p else "",
    )  # fmt: skip


def check_device(device: str) -> None:
    """Raise InputError for a device that this machine lacks; torch is asked of no CPU."""
    if device not in ("auto", "cpu"):
        machine.checked_device(device)


def check_extractor(p: Mapping[str, Any]) -> None:
    """Raise InputError if the features of the measures cannot be had."""
    if p["extractor"] == BUNDLED:
        return
    from synthbook.measure.features import extractor

    extractor(p["extractor"], size=p.get("extractor_size", 64))


def check_gan(
    widths: Sequence[int], side: int, batch: int, *, latent: int, mapping: int, name: str,
    device: str = "cpu",
) -> None:  # fmt: skip
    """Raise InputError if a GAN cannot be trained in this machine's memory.

    ``widths`` are the channels of its maps at 4, 8, ..., ``side`` pixels; ``mapping`` layers lead
    from z to w. ``name`` begins the names of its parameters.
    """
    inner = list(zip(widths, [*widths[1:], widths[-1]], strict=True))
    layers = sum(9 * wide * (wide + other) for wide, other in inner)
    weights = layers * (KEPT_OF_GENERATOR + KEPT_OF_DISCRIMINATOR)
    weights += (mapping * latent**2 + latent * widths[0]) * KEPT_OF_GENERATOR
    check_memory(
        weights * FLOAT,
        f"a GAN of up to {max(widths):,} channels with latent vectors of {latent:,} numbers",
        f"give less of {name}channels or {name}latent",
        device,
    )
    maps = sum(wide * (4 * 2**k) ** 2 for k, wide in enumerate(widths)) * MAPS * FLOAT
    left = machine.memory(device) - weights * FLOAT
    remedy = f"give a batch size of {left // maps // 2:.0f}" if left < inf else ""
    remedy = remedy if left > 8 * maps else f"give less of {name}channels"
    what = f"a batch of {batch:,} images of {side} pixels in a GAN of {max(widths):,} channels"
    check_memory(weights * FLOAT + maps * batch, what, remedy, device)


def check_generated(count: int, side: int, name: str) -> None:
    """Raise InputError if so many generated RGB images and their features cannot be held."""
    one = 3 * side**2 + FEATURES * FLOAT
    what = f"{name} = {count:,} images of {side} pixels"
    check_memory(count * one, what, f"give {machine.memory() // one // 2:,.0f} at most")


# -- Models that are kept -------------------------------------------------------------------------


def check_kept(
    families: Iterable[str], numbers: Sequence[int], p: Mapping[str, Any], summary: Summary
) -> dict[str, str]:
    """Return in words, by family, which kept models of these numbers a run asks for images.

    Models are found by the pixels that they learned from, and a check reads none. It goes by what
    else stands on the cards: the classes, the number and the size of the images.

    Raises:
        InputError: if none that is kept can be the one that is asked for.
    """
    known = [(folder, card) for folder, card in cards() if _fits(card, p, summary)]
    said = {}
    for family in families:
        of_number: dict[int, tuple[Path, Mapping[str, Any]]] = {}
        for folder, card in known:
            if card["family"] == family:  # the first is the one that is found
                of_number.setdefault(card["seed"], (folder, card))
        for missing in (number for number in numbers if number not in of_number):
            raise not_kept(family, missing, p)
        names = ", ".join(of_number[number][1]["name"] for number in numbers)
        count = of_number[numbers[0]][1]["data"]["images"]
        how = dict.fromkeys(_how_trained(*of_number[number]) for number in numbers)
        said[family] = f"{names}, trained on {count:,} images{' and'.join(how)}"
    return said


def _how_trained(folder: Path, card: Mapping[str, Any]) -> str:
    """Return how long and how large a model was trained, "" for one that comes with the book."""
    if folder.parent == places()[0] or "budget" not in card:
        return ""
    channels = str(card["recipe"]["channels"]).strip("[]")
    return f" for {card['budget']['minutes']:g} minutes at most ({channels} channels)"


def _fits(card: Mapping[str, Any], p: Mapping[str, Any], summary: Summary) -> bool:
    """Return whether a model may have learned from the data, by all but the pixels."""
    learned, kinds = card["data"], card["kinds"] or {}
    named = [card["classes"], kinds.get("classes")]
    same = [*summary.classes] in named if summary.classes else learned["name"] == summary.name
    return (
        same
        and (p.get("image_size") or summary.side) in (0, learned["image_size"])
        and summary.counts.get("train") in (None, learned["images"])
    )


def check_kept_of_few(families: Sequence[str], p: Mapping[str, Any], summary: Summary) -> None:
    """Raise InputError if a seed's models of ``p["shots"]`` images a class cannot be there.

    Of these, model number s is seed s's. It goes by what else than pixels stands on the cards.
    """
    count = p["shots"] * summary.num_classes
    there = {
        (card["family"], card["seed"])
        for _, card in cards()
        if card["data"]["images"] == count
        and (not summary.classes or [*card["classes"]] == [*summary.classes])
    }
    first = p.get("first_seed", 0)
    for seed, family in product(range(first, first + p.get("seeds", 1)), families):
        if (family, seed) not in there:
            raise not_kept_of_few(family, seed, count, p)


def not_kept_of_few(family: str, seed: int, count: int, p: Mapping[str, Any]) -> InputError:
    """Return the error for a model of few images that is not kept."""
    return InputError(
        f"no {family} model number {seed} of these {count} images of '{p['data']}' is kept; the "
        f"book has those of {BOOK} with shots = 10 (make models): set that, or leave same_images "
        "out"
    )


def not_kept(family: str, number: int, p: Mapping[str, Any]) -> InputError:
    """Return the error for a model that is not kept, with the command that makes it."""
    said = f"no {family} model number {number} of '{p['data']}'"
    if size := p.get("image_size"):
        said += f" at {size} pixels"
    if p["data"] == BOOK:
        own = size in (None, 0, BOOK_SIDE)
        remedy = "make it with make models" if own else f"leave out image_size = {size}"
    else:
        others = {} if _larger_scale(p) else {"minutes": 30}
        others |= {"first_seed": number, "generators": p["generators"]} if number else {}
        remedy = f"train it with {to_run('11_generators', p, **others)}"
    if number:
        remedy += f", or set generators to {number}"
    return InputError(f"{said} is kept; {remedy}")


def to_run(chapter: str, p: Mapping[str, Any], **others: Any) -> str:
    """Return the command that runs a chapter on the data that another has, with ``others``.

    At a scale of the book, which a chapter's `Parameters` know, it is that chapter at this scale.
    """
    scale = _larger_scale(p)
    names = ("data_root",) if scale else ("data", "image_size", "data_root")
    given = {name: p[name] for name in names if p.get(name)} | others
    texts = [f"-p {shlex.quote(f'{name}={value}')}" for name, value in given.items()]
    return " ".join(["synthbook run", chapter, *([f"--scale {scale}"] if scale else []), *texts])


def _larger_scale(p: Mapping[str, Any]) -> str:
    """Return the scale of a run that is at one of the book's, but for mini; "" for any other."""
    scale = getattr(p, "scale", "custom")
    return "" if scale in ("mini", "custom") else scale
