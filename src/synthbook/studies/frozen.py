"""Frozen networks whose features are the Data Instance Prior, by name; and the one of the book.

    python -m synthbook.studies.frozen --data-root DIR [--device D]

trains that one, "web": a small ResNet that has seen CIFAR-10 and CIFAR-100, the web of the
miniature, and none of their labels. It stands for the paper's SimCLR network.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synthbook import machine, sums
from synthbook.data import ImageSet, load
from synthbook.errors import InputError, did_you_mean
from synthbook.generate.cards import (
    CARD,
    check_files,
    places,
    put,
    read,
    remedy,
    restore,
    trained_here,
)
from synthbook.measure import features
from synthbook.measure.features import Extractor
from synthbook.recognize.backbones import check_backbone
from synthbook.recognize.contrastive import (
    ContrastiveRecipe,
    encoder,
    steps_of,
    train_contrastive,
)

WEB, LITE0, TIMM = "web", "lite0", "timm:"
HERE = {"supervised": LITE0, "self-supervised": WEB}  # what these names stand for
FOLDER, WEIGHTS = "encoders", "model.safetensors"  # the folder of encoders, beside models
COMMAND = "python -m synthbook.studies.frozen --data-root DIR"
SIZE = 32  # pixels
DATA = ("cifar10", "cifar100")  # what "web" has seen: the training parts
RECIPE, SEED = ContrastiveRecipe(precision="auto"), 0
PROBED = "caltech10"  # a linear layer on the features of its training part tells how good they are


def networks(priors: Iterable[str], parameter: str = "priors") -> dict[str, str]:
    """Return the network (`check_frozen`) of each prior, by the name that rows have.

    An entry is "supervised" or "self-supervised", which stand for the networks at hand, or
    "NAME=NETWORK" with another network under one of these names or a new one.

    Raises:
        InputError: for a name that stands for none, for one that is given twice, and for weights
            that are not here.
    """
    found: dict[str, str] = {}
    for entry in priors:
        name, given, network = entry.partition("=")
        if not given and name not in HERE:
            raise InputError(
                f"{parameter} has {entry!r}{did_you_mean(name, HERE)}; give {' or '.join(HERE)}, "
                f"or NAME=NETWORK, as in supervised={TIMM}vgg16.tv_in1k"
            )
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or name == "none" or name in found:
            raise InputError(
                f"{parameter} has {entry!r}, whose name is given twice, or is none of small "
                "letters, digits and hyphens; give each prior a name of its own"
            )
        found[name] = network or HERE[name]
        check_frozen(found[name], parameter)
    return found


def check_frozen(name: str, parameter: str = "priors") -> None:
    """Raise InputError unless ``name`` is a network that `frozen` knows and whose weights are here.

    These are "lite0", "web", and timm's: "timm:vgg16.tv_in1k" from the cache of Hugging Face, and
    "timm:resnet50=FILE" with weights of one's own.
    """
    kind = name.removeprefix(TIMM)
    if kind == name and name not in (WEB, LITE0):
        raise InputError(
            f"{parameter} has {name!r}{did_you_mean(name, (WEB, LITE0))}; give {LITE0}, {WEB}, "
            f"{TIMM}NETWORK, or {TIMM}NETWORK=FILE with its weights"
        )
    if kind == name:
        if name == WEB:
            kept()
        return
    network, given, file = kind.partition("=")
    check_backbone(network, pretrained=not given, parameter=parameter, switch="")
    if given and not Path(file).expanduser().is_file():
        raise InputError(f"{parameter} has {name!r}, and there is no file {file}; give another")


def frozen(name: str, device: str = "cpu", *, size: int = 64) -> Extractor:
    """Return the features C(x) of a frozen network, its last layer before the logits.

    "lite0" and timm's networks get images of ``size`` pixels, "web" of its own 32. Names as in
    `check_frozen`, which is called first.
    """
    check_frozen(name)
    if name == LITE0:
        return features.extractor("efficientnet_lite0", device, size=size)
    if name == WEB:
        return opened(kept(), WEB, device)
    network, given, file = name.removeprefix(TIMM).partition("=")
    path = Path(file).expanduser() if given else _cached_weights(network)
    fingerprint = f"{sums.digest(path)[:16]} timm {version('timm')} {device}"
    return Extractor(
        f"{network}@{size}",
        lambda x: _features(_timm(network, path, device), size, device, x),
        fingerprint=fingerprint,
    )


def opened(folder: Path, name: str, device: str = "cpu", *, size: int = SIZE) -> Extractor:
    """Return the features of the `contrastive.encoder` that `save` wrote to a folder."""
    fingerprint = f"{sums.digest(folder / WEIGHTS)[:16]} {device}"
    return Extractor(
        f"{name}@{size}", lambda x: _features(_encoder(folder, device), size, device, x),
        batch_size=128, fingerprint=fingerprint,
    )  # fmt: skip


def save(network: nn.Module, folder: Path) -> None:
    """Write the weights of an encoder to a folder, in half precision."""
    from safetensors.torch import save_file

    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in network.state_dict().items()
    }
    save_file(halves, folder / WEIGHTS)


@torch.inference_mode()
def _features(network: nn.Module, size: int, device: str, images: np.ndarray) -> np.ndarray:
    """Return the features of uint8 [N, H, W, C], resized; the network takes 0..1."""
    images = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
    x = torch.from_numpy(images).permute(0, 3, 1, 2).to(device).float()
    if x.shape[2:] != (size, size):
        how = {"mode": "bicubic", "align_corners": False, "antialias": True}
        x = nn.functional.interpolate(x, size=(size, size), **how)
    x = (x.clamp(0, 255) / 255).contiguous(memory_format=torch.channels_last)
    return network(x).flatten(1).cpu().numpy()


@cache
def _encoder(folder: Path, device: str) -> nn.Module:
    from safetensors.torch import load_file

    network = encoder()
    weights = load_file(folder / WEIGHTS)
    network.load_state_dict({name: value.float() if value.is_floating_point() else value
                             for name, value in weights.items()})  # fmt: skip
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


class Normalised(nn.Module):
    """A network that gets images of 0..1 as it was trained to."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return features of images [N, 3, H, W]."""
        return self.network((images - self.mean) / self.std)


@cache
def _timm(name: str, path: Path, device: str) -> nn.Module:
    import timm
    from timm.models import load_state_dict

    network = timm.create_model(name, num_classes=0)
    heads = network.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    try:
        weights = load_state_dict(str(path), weights_only=True)
        network.load_state_dict({k: v for k, v in weights.items() if not k.startswith(heads)})
    except Exception as error:  # whatever a library says of a file
        raise InputError(
            f"{path} holds no weights of timm's {name} ({type(error).__name__}); give a file of "
            "that network, a state_dict or safetensors"
        ) from error
    told = network.pretrained_cfg
    network = Normalised(network, told["mean"], told["std"]).eval().requires_grad_(False)
    return network.to(device, memory_format=torch.channels_last)


def _cached_weights(name: str) -> Path:
    """Return the file of timm's weights in the cache of Hugging Face; `check_backbone` saw it."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    hub = timm.get_pretrained_cfg(name).hf_hub_id
    return Path(try_to_load_from_cache(hub, "model.safetensors"))


# -- The network of the book -----------------------------------------------------------------------


def kept() -> Path:
    """Return the folder of the network "web", checked.

    Raises:
        InputError: if it is not there, or a file is not as its card says.
    """
    gone = restore(f"{FOLDER}/{WEB}")
    for place in places():
        folder = place / FOLDER / WEB
        if not (folder / CARD).is_file():
            continue
        helps = remedy(folder, f"delete the folder and make it anew ({COMMAND})")
        check_files(folder, read(folder, (), "an encoder", helps), helps)
        return folder
    raise InputError(f"the network '{WEB}' is not among the models of the book; {gone}")


def web_images(data_root: str = "") -> ImageSet:
    """Return what the network "web" is trained on: training parts, without labels."""
    parts = [load(name, data_root=data_root).train.images for name in DATA]
    images = np.concatenate(parts)
    return ImageSet(images, np.zeros(len(images), np.int64), ("any",), "+".join(DATA))


def probe(network: Extractor, data: str = PROBED) -> float:
    """Return the share right, on a set's validation part, of a linear layer on features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sets = load(data)
    layer = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    layer.fit(network(sets.train.images), sets.train.labels)
    return float(layer.score(network(sets.val.images), sets.val.labels))


def make(
    images: ImageSet, recipe: ContrastiveRecipe = RECIPE, *, place: Path | None = None,
    device: str = "cpu", probed: bool = True,
) -> Path:  # fmt: skip
    """Train the network "web" on ``images`` and keep it; return its folder, which appears whole.

    A training that was stopped goes on.
    """
    folder = (place or places()[1]) / FOLDER / WEB
    begun, begin, losses = folder.with_name(f".{WEB}.begun"), time.monotonic(), []
    steps = steps_of(recipe, len(images))
    tell, every = machine.telling(WEB, steps), max(1, steps // 20)

    def on_step(done: int, numbers: dict[str, float]) -> None:
        tell(done)
        if done % every == 0:
            losses.append([done, round(numbers["loss"], 3)])

    how = {"seed": SEED, "device": device, "folder": begun, "on_step": on_step}
    network = train_contrastive(encoder(seed=SEED), images, recipe, **how)
    part = folder.with_name(f".{WEB}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save(network, part)
    card: dict[str, Any] = {
        "name": WEB, "seed": SEED,
        "data": {"name": images.name, "images": len(images), "fingerprint": images.fingerprint()},
        "recipe": dataclasses.asdict(recipe), "loss": losses,
        "training": trained_here(round((time.monotonic() - begin) / 60, 1), device),
    }  # fmt: skip
    if probed:
        bodies = {"untrained": encoder(seed=SEED).eval(), WEB: network.cpu()}
        looked = {
            name: Extractor(name, partial(_features, body, SIZE, "cpu"), batch_size=128)
            for name, body in bodies.items()
        }
        looked[LITE0] = frozen(LITE0)
        card["probe"] = {name: round(probe(one), 4) for name, one in looked.items()}
    put(part, folder, card)
    shutil.rmtree(begun, ignore_errors=True)
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the network "web" and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-root", default="", help=f"where {' and '.join(DATA)} lie")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    try:
        device = machine.prepare(given.device)
        folder = make(web_images(given.data_root), device=device)
    except InputError as error:
        sys.exit(f"error: {error}")
    machine.say(f"kept in {folder.name}; {json.loads((folder / CARD).read_text())['probe']}")


if __name__ == "__main__":
    main()
