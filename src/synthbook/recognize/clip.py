"""A CLIP by name, and the features of images by it: computed once, kept, never stale.

CLIP (Radford et al. 2021) has an image encoder g and a text encoder h, and both end on one sphere.
Any model of open_clip serves, a folder in its format, or the book's own, which is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.data.deferred import Deferred
from synthbook.data.files import in_threads
from synthbook.errors import InputError, did_you_mean
from synthbook.machine import checked_device
from synthbook.recognize import language_image
from synthbook.recognize.language_image import CONFIG, ClipConfig
from synthbook.store import cached, path_of

if TYPE_CHECKING:
    from synthbook.data import ImageSet

LOCAL, OWN = "local-dir:", ("web-clip", "web-clip-narrow")
FORMS = (
    f"{', '.join(map(repr, OWN))}, 'NETWORK:TAG' of open_clip such as 'RN50:openai', or "
    "'local-dir:FOLDER'"
)
UNTRUSTED = "trust_remote_code"  # a setting by which a folder could have its own code run
CHUNK = 2048  # images that are kept together
BATCH = 256  # images that a network sees at once


@dataclass(frozen=True, eq=False)
class Encoder:
    """Both towers of a CLIP, in evaluation mode, and how it sees images and reads texts.

    ``model`` is open_clip's, ``tokens`` maps texts to int64 [N, context length], and
    ``preprocessing`` is open_clip's description of what the image tower sees: size, mean, std,
    interpolation, and what becomes of images that are not square.
    """

    name: str
    model: nn.Module
    tokens: Callable[[Sequence[str]], Tensor]
    preprocessing: dict[str, Any]
    device: str = "cpu"

    @property
    def scale(self) -> float:
        """CLIP's logit scale: logits are so many times the cosine."""
        return float(self.model.logit_scale.exp())

    @cached_property
    def weights(self) -> str:
        """16 hex digits of all weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def key(self) -> dict[str, Any]:
        """Return what features depend on beside the images or the texts."""
        return {"weights": self.weights, "preprocessing": self.preprocessing,
                "open_clip": version("open_clip_torch")}  # fmt: skip

    def view(self, pixels: np.ndarray) -> Tensor:
        """Return what the image tower sees of uint8 [N, H, W, C]: float32 [N, 3, S, S]."""
        return views(pixels, self.preprocessing).to(self.device)

    @torch.inference_mode()
    def images(self, pixels: np.ndarray) -> np.ndarray:
        """Return features of length one, float32 [N, D], of uint8 [N, H, W, C], grey or RGB."""
        found = [self.model.encode_image(self.view(pixels[k : k + BATCH]), normalize=True)
                 for k in range(0, len(pixels), BATCH)]  # fmt: skip
        return torch.cat(found).float().cpu().numpy()

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return features of length one, float32 [N, D]."""
        read, batches = text_tower(self.model), self.tokens(texts).to(self.device).split(BATCH)
        return F.normalize(torch.cat([read(some) for some in batches]).float()).cpu().numpy()


def views(pixels: np.ndarray, preprocessing: dict[str, Any]) -> Tensor:
    """Return uint8 [N, H, W, C] as a model has seen its images, float32 [N, 3, S, S].

    That is open_clip's own transform, image by image, through Pillow; the book's models ("by") were
    trained on `language_image.seen`, the same but for Pillow's rounding.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise InputError(
            f"images are {pixels.dtype} {list(pixels.shape)}; give uint8 [N, H, W, C] with C = 1 "
            "or 3"
        )
    pixels = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
    if preprocessing["by"] == "synthbook":
        planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
        return language_image.seen(planes, preprocessing["size"])
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    told = {name: value for name, value in preprocessing.items() if name != "by"}
    look = image_transform_v2(PreprocessCfg(**told), is_train=False)
    return torch.stack(in_threads(lambda one: look(Image.fromarray(one)), pixels))


def text_tower(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the map from tokens [N, context length] to features [N, D] of any length.

    Of a plain CLIP, whose tokens do not see later ones, padding is left out: the features are the
    same, and come a few times sooner.
    """
    from open_clip.model import CLIP

    plain = type(model) is CLIP and model.attn_mask is not None
    if (
        not plain
        or model.text_pool_type != "argmax"
        or isinstance(model.text_projection, nn.Module)
    ):
        return model.encode_text

    def read(tokens: Tensor) -> Tensor:
        return language_image.encode_texts(model, tokens[:, : int(tokens.argmax(1).max()) + 1])

    return read


# Encoders by name


def encoder(name: str, *, own: Callable[[str], Path] | None = None, device: str = "cpu") -> Encoder:
    """Return an encoder by name: `FORMS`.

    Args:
        name: "NETWORK:TAG" as ``open_clip.list_pretrained`` has them, whose weights are fetched
            once unless ``HF_HUB_OFFLINE`` is set; "ViT-B/16" is "ViT-B-16". "local-dir:FOLDER" has
            open_clip_config.json and weights beside it.
        own: gives the folder of a model of the book by its name (`studies.web.kept`).
        device: a device of torch.

    Raises:
        InputError: for a name that nobody has, with the nearest; for weights that are not there.
    """
    checked_device(device)
    if name in OWN:
        if own is None:
            raise InputError(
                f"encoder '{name}' is the book's, and nobody said where it lies; give "
                "own=synthbook.studies.web.kept"
            )
        return _of_folder(own(name), name, device)
    if name.startswith(LOCAL):
        return _of_folder(path_of(name.removeprefix(LOCAL)), name, device)
    return _of_tag(name, device)


def _of_tag(name: str, device: str) -> Encoder:
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    network, _, tag = name.partition(":")
    network = network.replace("/", "-")
    if network not in (known := open_clip.list_models()):
        raise InputError(
            f"encoder '{name}': open_clip has no network '{network}'"
            f"{did_you_mean(network, [*known, *OWN])}; give {FORMS}"
        )
    tags = list_pretrained_tags_by_model(network)
    if not (told := get_pretrained_cfg(network, tag)):
        said = f"no weights '{tag}' of '{network}'" if tag else f"weights of '{network}' by a tag"
        remedy = f"one of {', '.join(f'{network}:{known}' for known in tags)}" if tags else FORMS
        raise InputError(
            f"encoder '{name}': open_clip has {said}{did_you_mean(tag, tags)}; give {remedy}"
        )
    # open_clip only warns where a tag's activation is not that of the network's configuration.
    how = {"pretrained": tag, "force_quick_gelu": bool(told.get("quick_gelu"))}
    return _made(network, name, device, f"fetch them once with internet, or give {FORMS}", **how)


def _of_folder(folder: Path, name: str, device: str) -> Encoder:
    if not (folder / CONFIG).is_file():
        raise InputError(f"encoder '{name}': {folder} has no {CONFIG}; give a folder of open_clip")
    try:
        text = (folder / CONFIG).read_text(encoding="utf-8")
        told = json.loads(text)
        config = ClipConfig(**told["synthbook"]) if "synthbook" in told else None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"encoder '{name}': {folder / CONFIG} cannot be read ({error}); make it anew"
        ) from error
    if UNTRUSTED in text:
        raise InputError(
            f"encoder '{name}': {folder / CONFIG} sets {UNTRUSTED}, and no code of a model is run; "
            "take it out"
        )
    return _made(f"{LOCAL}{folder}", name, device, f"complete {folder}", config=config)


def _made(
    source: str, name: str, device: str, remedy: str, *, config: ClipConfig | None = None,
    **how: Any,
) -> Encoder:  # fmt: skip
    """Return the encoder that open_clip makes of ``source``; ``config`` is of the book's models."""
    import open_clip

    try:
        how |= {"require_pretrained": True, "weights_only": True, "device": device}
        model = open_clip.create_model(source, **how).eval().requires_grad_(False)
        tokens = _reading(name, open_clip.get_tokenizer(source)) if config is None else (
            lambda texts: language_image.tokens(texts, config)
        )  # fmt: skip
    except Exception as error:  # whatever is missing or damaged
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"encoder '{name}' cannot be loaded ({reason}); {remedy}") from error
    seen = asdict(_preprocessing(model)) | {"by": "open_clip" if config is None else "synthbook"}
    return Encoder(name, model, tokens, seen, device)


def _preprocessing(model: nn.Module) -> Any:
    from open_clip.transform import PreprocessCfg

    return PreprocessCfg(**model.visual.preprocess_cfg)


def _reading(name: str, look: Any) -> Callable[[Sequence[str]], Tensor]:
    """Return a tokenizer of open_clip that cuts no text in silence, where that can be told."""
    from open_clip.tokenizer import SimpleTokenizer

    def tokens(texts: Sequence[str]) -> Tensor:
        limit = look.context_length if isinstance(look, SimpleTokenizer) else None
        for text in texts if limit else ():
            if (length := len(look.encode(text)) + 2) > limit:
                raise InputError(
                    f"'{text}' has {length} tokens and '{name}' reads {limit}; shorten it"
                )
        return look(list(texts))

    return tokens


# Features, kept


@dataclass(frozen=True, eq=False)
class Encoded:
    """Images as an encoder has them: unit ``features`` float32 [N, D], ``labels`` int64 [N].

    It draws and counts like an `ImageSet`: `data.few_shot` takes both, and with one seed draws the
    same images of both.
    """

    features: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """The number of classes, those without images included."""
        return len(self.classes)

    def counts(self) -> np.ndarray:
        """Return int64 [num_classes]: the number of images in each class."""
        return np.bincount(self.labels, minlength=self.num_classes)

    def subset(self, indices: np.ndarray) -> Encoded:
        """Return the images at ``indices`` (integers, or a boolean mask) in that order."""
        chosen = np.asarray(indices, dtype=None if len(indices) else np.int64)
        return Encoded(self.features[chosen], self.labels[chosen], self.classes, self.name)


def encoded(look: Encoder, images: ImageSet | Deferred) -> Encoded:
    """Return a set's features, from the cache where these pixels were seen before.

    The key holds the pixels themselves, the weights and the preprocessing; a name has no say, so
    that no other set's features can come back. Sets on a disk are read in any case.
    """
    if not len(images):
        raise InputError(f"'{images.name}' has no images; an encoder needs some")
    found = [_kept(look, pixels) for pixels in _chunks(images)]
    return Encoded(np.concatenate(found), images.labels, images.classes, images.name)


def _chunks(images: ImageSet | Deferred) -> Iterator[np.ndarray]:
    for start in range(0, len(images), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(images)))
        yield images.read(rows) if isinstance(images, Deferred) else images.images[rows]


def _kept(look: Encoder, pixels: np.ndarray) -> np.ndarray:
    """Return features [N, D] of pixels, from the cache or computed and put there."""
    digest = hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).data)
    key = {"images": digest.hexdigest()[:16], **look.key()}

    def build(part: Path) -> None:
        np.save(part / "features.npy", look.images(pixels))

    folder = cached("clip_features", key, build, look.device)
    return np.load(folder / "features.npy", allow_pickle=False)


class NamedCache:
    """A fault, to be measured: features kept under a name alone, as in the public code.

    There (CVMI-Lab/SyntheticData, 2023) it is the data set's class and the part. Whoever encodes
    another synthetic set under the same name, unfiltered, filtered, of other prompts, gets the
    first one's features and labels back.
    """

    def __init__(self, look: Encoder) -> None:
        self.look, self.held = look, {}

    def __call__(self, images: ImageSet | Deferred, name: str) -> Encoded:
        """Return the features of ``images``, or of whatever had this name first."""
        if name not in self.held:
            self.held[name] = encoded(self.look, images)
        return self.held[name]
