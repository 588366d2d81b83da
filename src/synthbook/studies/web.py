"""The web of the miniature, and the models that have seen it: web-clip and web-text2image.

    python -m synthbook.studies.web [NAME ...] --data-root DIR [--device D]

The web is CIFAR-10 and CIFAR-100 with captions (`generate.captions`); it stands for LAION and for
the pairs that CLIP has learned from. The bundled photographs are not in it. web-clip-narrow is a
second CLIP, with narrower towers, that has read the same web. The models come with the book as
weights, in ``models/web``; those that were made here lie in ``web`` beside other
models. Each folder has ``card.json``: what the model was trained on and how, its curve and
measures, and a SHA-256 of each file. What images come with web-text2image, `web_samples` makes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from synthbook import machine
from synthbook.data import ImageSet, load
from synthbook.errors import InputError, check_choice
from synthbook.generate import text_diffusion
from synthbook.generate.captions import caption, grounds
from synthbook.generate.cards import (
    CARD,
    check_files,
    places,
    put,
    read,
    remedy,
    restore,
    seal,
    trained_here,
)
from synthbook.generate.diffusion import sample
from synthbook.generate.mosaics import mosaic_of, tiles_of
from synthbook.generate.text_diffusion import TextDiffusionRecipe
from synthbook.generate.wordnet import named
from synthbook.measure import features
from synthbook.measure.fidelity import gaussian, gaussian_distance
from synthbook.recognize import language_image
from synthbook.recognize.language_image import ClipConfig, ClipRecipe
from synthbook.store import atomic_write

if TYPE_CHECKING:
    from synthbook.generate.text import TextToImage

PLACE = "web"  # the folder of these models, beside others
COMMAND = "python -m synthbook.studies.web {} --data-root DIR"
CLIP, NARROW, TEXT2IMAGE = "web-clip", "web-clip-narrow", "web-text2image"
SEED = 0
# How often an image is seen in an epoch: of CIFAR-100 there are ninety a class, of CIFAR-10 4,500.
DATA = {"cifar10": 1, "cifar100": 3}
CONFIG, CLIP_RECIPE = ClipConfig(), ClipRecipe(precision="auto")
CLIPS = {CLIP: CONFIG, NARROW: ClipConfig(embed_dim=64, width=8, text_width=64, text_layers=2)}
NAMES = (*CLIPS, TEXT2IMAGE)
TEXT_RECIPE = TextDiffusionRecipe(precision="auto")
TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "a {}.", "one {}, seen from near.")
PROBED = ("cifar10", "cifar100", "caltech10")  # zero-shot, on their validation parts
SAMPLES, ASKED = "samples", "asked.json"  # images that come with a model, and what they are
STRIP = 992  # images in a mosaic
JUDGED = 1000  # images of the Frechet distance
SAMPLING = {"guidance_scale": 2.0, "num_inference_steps": 12}


# -- The web --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Web:
    """Captioned images: the data set of each, its label there, and what its border looks like."""

    images: ImageSet
    of: tuple[str, ...]
    own: tuple[int, ...]
    grounds: tuple[str, ...]

    def caption(self, number: int, time: int) -> str:
        """Return what is said of an image at an epoch or step; another each time."""
        told = self.of[number], self.own[number], number
        return caption(*told, seed=SEED + time, ground=self.grounds[number])


def web(data_root: str = "", part: str = "train") -> Web:
    """Return the web, or its "val" or "test" part: labels are those of all data sets in turn.

    Raises:
        InputError: if a data set is not there.
    """
    images, of, own, classes, first = [], [], [], (), []
    for name, repeats in DATA.items():
        some = getattr(load(name, data_root=data_root), part)
        every = np.tile(np.arange(len(some)), repeats if part == "train" else 1)
        images.append(some.images[every])
        of += [name] * len(every)
        own += some.labels[every].tolist()
        first += [len(classes)] * len(every)
        classes += some.classes
    pixels, called = np.concatenate(images), "the web" if part == "train" else f"the web, {part}"
    labels = np.array(first) + np.array(own)
    looks = tuple(grounds(pixels))
    return Web(ImageSet(pixels, labels, classes, called), tuple(of), tuple(own), looks)


# -- Found ----------------------------------------------------------------------------------------


def kept(name: str) -> Path:
    """Return the folder of one of `NAMES`, checked.

    Raises:
        InputError: if it is not there, or a file is not as its card says.
    """
    check_choice("model of the web", name, NAMES)
    gone = restore(f"{PLACE}/{name}")
    for place in places():
        folder = place / PLACE / name
        if not (folder / CARD).is_file():
            continue
        helps = remedy(folder, f"delete the folder and make it anew ({COMMAND.format(name)})")
        check_files(folder, read(folder, (), "a model of the web", helps), helps)
        return folder
    raise InputError(f"'{name}' is not among the models of the book; {gone}")


@cache
def web_clip(device: str = "cpu") -> tuple[Any, ClipConfig]:
    """Return the book's tiny CLIP, an open_clip model, and its settings."""
    model, config = language_image.load(kept(CLIP))
    return model.to(device), config


@cache
def web_text2image(device: str = "cpu") -> Any:
    """Return the book's pipeline from captions to images of 32 pixels."""
    folder = kept(TEXT2IMAGE)
    return text_diffusion.load(folder, *_reader(web_clip())).to(device)


def text_to_image(device: str = "cpu") -> TextToImage:
    """Return it as the chapters ask it for images."""
    from synthbook.generate.text import ON_A_GPU, TextToImage

    how = {"name": TEXT2IMAGE, "batch_size": ON_A_GPU, "device": device}
    return TextToImage(web_text2image(device), **how)


def _reader(clip: tuple[Any, ClipConfig]) -> tuple[Any, Any]:
    """Return the text tower and its tokenizer, as a pipeline takes them."""
    return language_image.text_encoder(*clip), language_image.transformers_tokenizer(clip[1])


def kept_samples() -> dict[str, np.ndarray]:
    """Return the images that come with web-text2image, by what was asked for (`prompted`).

    They are what seed 0 of the chapters that ask it is made of at mini, so that a page need not
    sample (`web_samples` makes them).
    """
    return _samples(kept(TEXT2IMAGE) / SAMPLES)


@cache
def _samples(folder: Path) -> dict[str, np.ndarray]:
    if not (folder / ASKED).is_file():
        return {}
    asked = json.loads((folder / ASKED).read_text(encoding="utf-8"))
    files = sorted(folder.glob("*.webp"))
    mosaics = (Image.open(file, formats=["WEBP"]).convert("RGB") for file in files)
    tiles = [tiles_of(np.asarray(mosaic)) for mosaic in mosaics]
    return dict(zip(asked, np.concatenate(tiles), strict=False))  # the last strip may have blanks


def keep_samples(images: Mapping[str, np.ndarray], folder: Path) -> None:
    """Put images, by what was asked for, beside a model, without loss, and on its card."""
    place = folder / SAMPLES
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    every = np.stack([*images.values()])
    for k in range(0, len(every), STRIP):
        with atomic_write(place / f"{k // STRIP:03d}.webp", "wb") as stream:
            strip = Image.fromarray(mosaic_of(every[k : k + STRIP]))
            strip.save(stream, format="WEBP", lossless=True, quality=100, method=6)
    with atomic_write(place / ASKED) as stream:
        json.dump([*images], stream, indent=0)
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    seal(folder, card)


# -- Made -----------------------------------------------------------------------------------------


def make_clip(
    some: Web, config: ClipConfig = CONFIG, recipe: ClipRecipe = CLIP_RECIPE, *,
    name: str = CLIP, data_root: str = "", place: Path | None = None, device: str = "cpu",
    probed: Sequence[str] = PROBED,
) -> Path:  # fmt: skip
    """Train a tiny CLIP on a web and keep it under a name; return its folder, which appears whole.

    A training that was stopped goes on. What it measures on ``probed`` chooses nothing.
    """
    steps = language_image.steps_of(recipe, len(some.images))
    with _Making(name, some, recipe, steps, place, device) as making:
        model = language_image.train_clip(
            language_image.create(config, seed=SEED), config, some.images, some.caption, recipe,
            seed=SEED, device=device, folder=making.begun, on_step=making.on_step,
        ).cpu()  # fmt: skip
        making.card["config"] = dataclasses.asdict(config)
        making.card["zero_shot"] = {
            data: round(zero_shot((model, config), data, data_root=data_root), 4) for data in probed
        }
        language_image.save(model, config, making.part)
    return making.folder


def zero_shot(
    clip: tuple[Any, ClipConfig], name: str, *, data_root: str = "", part: str = "val"
) -> float:
    """Return the share of a data set's images whose class a CLIP names first, with TEMPLATES."""
    some = getattr(load(name, data_root=data_root), part)
    classes = [words.lemmas[0] for words in named(some.classes, name)]
    heads = language_image.class_features(*clip, classes, TEMPLATES)
    found = (language_image.image_features(*clip, some.images) @ heads.T).argmax(1)
    return float((found.numpy() == some.labels).mean())


def make_text2image(
    some: Web, recipe: TextDiffusionRecipe = TEXT_RECIPE, *,
    clip: tuple[Any, ClipConfig] | None = None, validation: Web | None = None,
    place: Path | None = None, device: str = "cpu",
) -> Path:  # fmt: skip
    """Train the diffusion model that reads captions and keep it; return its folder.

    ``clip``, by default the book's, gives the text tower, which stays as it is. With
    ``validation`` the card has the Frechet distance between samples of the captions of its images
    and these.
    """
    tower, tokenizer = _reader(clip or web_clip())
    tower = tower.to(device)

    @torch.no_grad()
    def encode(texts: Sequence[str]) -> torch.Tensor:
        how = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        return tower(tokenizer(list(texts), **how).input_ids.to(device)).last_hidden_state

    with _Making(TEXT2IMAGE, some, recipe, recipe.steps, place, device) as making:
        unet = text_diffusion.train_text_diffusion(
            some.images, some.caption, encode, recipe,
            seed=SEED, device=device, folder=making.begun, on_step=making.on_step,
        )  # fmt: skip
        pipeline = text_diffusion.as_pipeline(unet, tower, tokenizer, recipe)
        if validation:
            making.card["sampling"] = SAMPLING
            making.card["fd"] = round(judged(pipeline, validation, device=device), 1)
        text_diffusion.save(pipeline, making.part)
    return making.folder


def judged(pipeline: Any, validation: Web, *, count: int = JUDGED, device: str = "cpu") -> float:
    """Return the Frechet distance between images of a part of the web and samples of captions."""
    look = features.extractor("efficientnet_lite0", device, size=64)
    every = np.random.default_rng(SEED).permutation(len(validation.images))[:count]
    texts = [validation.caption(int(k), 0) for k in every]
    made = sample(pipeline, texts, seed=SEED, device=device, **SAMPLING)
    real = validation.images.images[every]
    return gaussian_distance(gaussian(look(real)), gaussian(look(made)))


class _Making:
    """A training on the way to its folder: checkpoints, curve and card; then the folder, whole."""

    def __init__(
        self, name: str, some: Web, recipe: Any, steps: int, place: Path | None, device: str
    ) -> None:
        self.name, self.folder = name, (place or places()[1]) / PLACE / name
        self.begun = self.folder.with_name(f".{name}.begun")
        self.part = self.folder.with_name(f".{name}.part")
        self.log = self.folder.with_name(f".{name}.curve.json")  # of a training that was stopped
        self.tell, self.every = machine.telling(name, steps), max(1, steps // 40)
        self.begin, self.curve, self.device = time.monotonic(), [], device
        self.before = 0.0  # seconds
        images = some.images
        self.card: dict[str, Any] = {
            "name": name, "seed": SEED,
            "data": {"name": images.name, "images": len(images), "classes": images.num_classes,
                     "fingerprint": images.fingerprint()},
            "captions": [some.caption(k, 0) for k in range(3)],
            "recipe": dataclasses.asdict(recipe),
        }  # fmt: skip

    def on_step(self, done: int, numbers: dict[str, float]) -> None:
        if done > 1 and not self.curve and self.log.is_file():  # it goes on
            told = json.loads(self.log.read_text(encoding="utf-8"))
            self.curve = [point for point in told["curve"] if point["steps"] < done]
            self.before = told["seconds"]
        self.tell(done)
        if done % self.every == 0:
            point = {name: round(value, 4) for name, value in numbers.items()}
            self.curve.append({"steps": done, **point})
            with atomic_write(self.log) as stream:
                json.dump({"curve": self.curve, "seconds": self.seconds()}, stream)

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.begin

    def __enter__(self) -> _Making:
        shutil.rmtree(self.part, ignore_errors=True)
        self.part.mkdir(parents=True)
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            return
        self.card["curve"] = self.curve
        self.card["training"] = trained_here(round(self.seconds() / 60, 1), self.device)
        put(self.part, self.folder, self.card)
        shutil.rmtree(self.begun, ignore_errors=True)
        self.log.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the models of the web that are named, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--data-root", default="", help=f"where {' and '.join(DATA)} lie")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    make: dict[str, Callable[..., Path]] = {
        name: partial(make_clip, config=config, name=name, data_root=given.data_root)
        for name, config in CLIPS.items()
    }
    make[TEXT2IMAGE] = lambda some, device: make_text2image(
        some, validation=web(given.data_root, "val"), device=device
    )
    try:
        for name in given.names:
            check_choice("model of the web", name, NAMES)
        device = machine.prepare(given.device)
        for name in given.names or NAMES:
            folder = make[name](web(given.data_root), device=device)
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            told = {key: card[key] for key in ("zero_shot", "fd") if key in card}
            machine.say(f"{folder.name}: kept; {told}")
            if name == TEXT2IMAGE:
                machine.say("no images come with it yet: python -m synthbook.studies.web_samples")
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
