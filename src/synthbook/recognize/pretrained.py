"""Pretrained backbones: what a training starts from, and what one leaves in a folder for others.

A folder holds ``backbone.safetensors`` and ``backbone.json``: the network's name, how it normalises
images, and what it learned from. `load` gives a classifier with a new head. Weights from elsewhere
are read without running any code of theirs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthbook.errors import InputError, did_you_mean
from synthbook.recognize.models import (
    BUNDLED,
    OWN,
    TIMM_BUNDLED,
    Classifier,
    create_classifier,
)
from synthbook.settings import shown
from synthbook.store import atomic_write
from synthbook.sums import digest

WEIGHTS, ABOUT = "backbone.safetensors", "backbone.json"
FORMAT = 1  # of ABOUT
NEEDED = {"format", "network", "channels", "image_size", "mean", "std", "sha256"}  # in ABOUT
RANDOM, IMAGENET = "random", "imagenet"
QUERY = "encoder_q."  # before the names of weights in checkpoints of MoCo's own code
REMEDY = "give a folder that a pretraining wrote"


# -- Folders --------------------------------------------------------------------------------------


def save(
    model: Classifier, folder: Path, *, image_size: int, about: Mapping[str, Any] | None = None
) -> Path:
    """Write the body of ``model``, without its head, to a folder; return that.

    ``image_size`` are the pixels that it learned from, and ``about`` is whatever else ABOUT shall
    say, such as method, data, recipe and seed; it must be plain (numbers, texts, lists).
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in _state(model).items()}
    save_file(state, folder / WEIGHTS)
    told = {
        "format": FORMAT, "network": model.name, "channels": model.channels,
        "image_size": image_size, "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(), **(about or {}), "sha256": digest(folder / WEIGHTS),
    }  # fmt: skip
    with atomic_write(folder / ABOUT) as stream:
        json.dump(told, stream, indent=1)
        stream.write("\n")
    return folder


def about(folder: Path) -> dict[str, Any]:
    """Return what ABOUT says in a folder of `save`.

    Raises:
        InputError: if there is none, or the weights beside it are missing or other ones.
    """
    try:
        told = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        usable = told["format"] == FORMAT and told.keys() >= NEEDED
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise InputError(f"{folder} holds no pretrained backbone ({ABOUT}); {REMEDY}")
    if not (folder / WEIGHTS).is_file() or digest(folder / WEIGHTS) != told["sha256"]:
        raise InputError(
            f"{folder / WEIGHTS} is missing, or is not the file whose SHA-256 stands in {ABOUT}; "
            "make the folder anew"
        )
    return told


def load(folder: Path, *, num_classes: int = 1, image_size: int = 0, seed: int = 0) -> Classifier:
    """Return the backbone in a folder of `save`, with a new head that is drawn from ``seed``.

    ``image_size`` is that of the images to come, 0 for those that it learned from: a transformer's
    positions are resampled to it. Ready to be trained on, or to be the body of a detector.

    Raises:
        InputError: as `about`, or if the weights do not fit the network that it names.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    told = about(folder)
    how = {"channels": told["channels"], "image_size": told["image_size"]}
    model = create_classifier(told["network"], num_classes=num_classes, seed=seed, **how)
    for name in ("mean", "std"):
        setattr(model, name, torch.tensor(told[name]).view(1, -1, 1, 1))
    _fill(model, load_file(folder / WEIGHTS), folder / WEIGHTS)
    _resize(model, image_size)
    return model


def fingerprint(model: Classifier) -> str:
    """Return 16 hex digits of the weights of a body and of how it normalises images."""
    said = hashlib.sha256(repr([model.name, model.mean.tolist(), model.std.tolist()]).encode())
    for name, value in _state(model).items():
        said.update(name.encode())
        said.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return said.hexdigest()[:16]


# -- Starts ---------------------------------------------------------------------------------------


def started(
    backbone: str, start: str = RANDOM, *, num_classes: int, image_size: int, channels: int = 3,
    seed: int = 0,
) -> Classifier:  # fmt: skip
    """Return a network with the weights that a training starts from, and a new head.

    Args:
        backbone: a name of `create_classifier`.
        start: "random" (from ``seed``), "imagenet" (the weights of that name on this computer), a
            folder of `save`, or a file of weights (safetensors, or a state_dict of torch, also
            within a checkpoint of MoCo's own code), which is taken to have been trained on images
            normalised as timm says of the network. All but random ones have three channels.

    Raises:
        InputError: for an unknown name, a start that is not there, and weights of other networks.
    """
    sizes = {"num_classes": num_classes, "channels": channels, "image_size": image_size}
    if start in (RANDOM, IMAGENET):
        return create_classifier(backbone, **sizes, pretrained=start == IMAGENET, seed=seed)
    path = Path(start).expanduser()
    if path.is_dir():
        told = about(path)
        if told["network"] != backbone:
            raise InputError(
                f"{path} holds a '{told['network']}' and not '{backbone}'; give the backbone that "
                "is there, or another folder"
            )
        return load(path, num_classes=num_classes, image_size=image_size, seed=seed)
    if path.is_file():
        return _of_file(backbone, path, num_classes=num_classes, image_size=image_size, seed=seed)
    raise InputError(
        f"start = {shown(start)} is not there; give '{RANDOM}', '{IMAGENET}', a folder that a "
        f"pretraining wrote, or a file of weights{did_you_mean(start, (RANDOM, IMAGENET))}"
    )


def _of_file(
    backbone: str, path: Path, *, num_classes: int, image_size: int, seed: int
) -> Classifier:
    """Return a network whose body has the weights of a file; its head's are left out."""
    import timm

    name = TIMM_BUNDLED if backbone == BUNDLED else backbone
    config = None if backbone in OWN else timm.get_pretrained_cfg(name)
    native = config.input_size[-1] if config and config.fixed_input_size else image_size
    sizes = {"num_classes": num_classes, "channels": 3, "image_size": native}
    model, heads = create_classifier(backbone, **sizes, seed=seed), ("head.",)
    if config:
        for statistic in ("mean", "std"):
            value = torch.tensor(getattr(config, statistic)).view(1, -1, 1, 1)
            setattr(model, statistic, value)
        named = config.classifier or ()
        heads += tuple(f"{head}." for head in ((named,) if isinstance(named, str) else named))
    _fill(model, _read(path), path, without=heads)
    _resize(model, image_size)
    return model


def _read(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file, by the names of the network itself."""
    from timm.models import load_state_dict

    try:
        weights = load_state_dict(str(path), weights_only=True)
        weights = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    except Exception as error:  # whatever a library says of a file
        raise InputError(
            f"{path} holds no weights ({type(error).__name__}); give a state_dict or safetensors"
        ) from error
    of_query = {
        name.removeprefix(QUERY): v for name, v in weights.items() if name.startswith(QUERY)
    }
    weights = of_query or weights
    return {name.removeprefix("body."): value for name, value in weights.items()}


def _state(model: Classifier) -> dict[str, Tensor]:
    return model.body.state_dict()


def _fill(
    model: Classifier, weights: Mapping[str, Tensor], path: Path, without: tuple[str, ...] = ()
) -> None:
    """Load ``weights`` into the body; refuse those of another network, naming the first key.

    Names that begin as ``without`` says are left out, unless the body has them.
    """
    own = _state(model)
    given = {k: v for k, v in weights.items() if k in own or not k.startswith(without)}
    if fault := next(_faults(own, given), ""):
        raise InputError(
            f"{path} holds no weights of '{model.name}': it {fault}; give the network that they "
            "are of, or a file of its own"
        )
    model.body.load_state_dict({**own, **given})


def _faults(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    for name, value in own.items():
        if name not in given and not name.endswith("num_batches_tracked"):  # old files have none
            yield f"has no '{name}'"
        elif name in given and given[name].shape != value.shape:
            yield f"has '{name}' as {list(given[name].shape)} and not {list(value.shape)}"
    yield from (f"has '{name}', which the network has not" for name in given if name not in own)


def _resize(model: Classifier, image_size: int) -> None:
    """Let a transformer take images of another size; other networks take any."""
    embed = getattr(model.body, "patch_embed", None)
    size = getattr(embed, "img_size", None)
    if image_size and size and tuple(size) != (image_size, image_size):
        model.body.set_input_size(img_size=(image_size, image_size))
