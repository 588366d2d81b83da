"""A reader's own generated images: files that are drawn from, or a pipeline that makes them.

Both are asked like a generator of the book, by `sample`. To look at them needs neither torch nor
diffusers.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.data import ImageSet
from synthbook.data.files import conform
from synthbook.data.loading import check_generated, load_generated
from synthbook.data.unlabelled import count_unlabelled, is_unlabelled, read_unlabelled
from synthbook.errors import InputError
from synthbook.randomness import numpy_generator
from synthbook.store import atomic_write, cached, path_of
from synthbook.sums import digest

INDEX = "model_index.json"


def check(
    name: str, path: str, classes: Sequence[str], needed: int,
    why: str = "", fewer: Callable[[int], str] = lambda _: "ask for fewer",
    *, labelled: bool = False,
) -> str:  # fmt: skip
    """Return in a line what the source ``name`` is, or raise InputError; reads no pixels.

    ``classes`` are those of the real data, () where they are not known yet; a folder or .npz must
    hold ``needed`` images. ``why`` so many, and how to ask for ``fewer``, says the caller; and that
    they must be ``labelled``, where no filter labels those that are not.
    """
    if _is_pipeline(path):
        return f"{name}: images of a {_index(path)['_class_name']} in {path}"
    if is_unlabelled(place := path_of(path)):
        if labelled:
            raise InputError(
                f"the images of '{name}' in {path} have no labels, and nothing labels them here; "
                "put those of each class into a folder named after it (in an .npz: add the array "
                "'labels'), or leave it out"
            )
        count, what = count_unlabelled(place), "without labels (the filter gives them)"
    else:
        counts = check_generated(path, classes)
        count, what = int(counts.sum()), f"of {len(counts)} classes"
    if count < needed:
        raise InputError(
            f"'{name}' has {count:,} images in {path} and {needed:,} are needed{why}; add images, "
            f"or {fewer(count)}"
        )
    return f"{name}: {count:,} generated images {what} in {path}"


def opened(name: str, path: str, like: ImageSet, *, device: str = "cpu") -> Images | Pipeline:
    """Return the source ``name``, whose images are in size, channels and classes as ``like``."""
    if _is_pipeline(path):
        return Pipeline(name, Path(path).expanduser(), like, device)
    if is_unlabelled(place := path_of(path)):
        shape = (like.image_size, like.channels)
        pixels, _ = read_unlabelled(place, *shape, skip_unreadable=False)
        none = np.zeros(len(pixels), dtype=np.int64)
        return Images(name, ImageSet(pixels, none, like.classes, place.stem), labelled=False)
    return Images(name, load_generated(path, like))


def _is_pipeline(path: str) -> bool:
    return Path(path, INDEX).expanduser().is_file()


def _index(path: str | Path) -> dict[str, Any]:
    """Return what a pipeline's folder says of its parts, which must be those of a library."""
    file = Path(path, INDEX).expanduser()
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
        known = isinstance(index["_class_name"], str)
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(
            f"{file} names no pipeline of diffusers; give a folder that save_pretrained wrote"
        )
    return index


class Images:
    """Images of files as a generator: each is drawn once, without replacement.

    Those that are not ``labelled`` are drawn without a class; their labels mean nothing.
    """

    def __init__(self, family: str, images: ImageSet, *, labelled: bool = True) -> None:
        self.family, self.images, self.classes = family, images, images.classes
        self.conditional, self.unconditional = labelled, not labelled
        self._undrawn = np.ones(len(images), dtype=bool)

    @property
    def key(self) -> str:
        """What tells it from others, for the cache."""
        return self.images.fingerprint()

    @property
    def left(self) -> np.ndarray:
        """How many images of each class are not drawn yet, int64 [classes].

        Without labels all that are left may be of any.
        """
        if not self.conditional:
            return np.full(len(self.classes), self._undrawn.sum())
        return np.bincount(self.images.labels[self._undrawn], minlength=len(self.classes))

    def sample(self, labels: Sequence[int | None], *, seed: int) -> np.ndarray:
        """Return an image a label, uint8 [N, H, W, C], drawn by ``seed`` of those of its class.

        Of images without labels they are all None.

        Raises:
            InputError: if more are asked for than are left, or classes of images without labels.
        """
        if not self.conditional:
            return self._any(labels, seed)
        asked = np.asarray(labels)
        for label in np.unique(asked):
            number, left = int((asked == label).sum()), int(self.left[label])
            if number > left:
                raise InputError(
                    f"'{self.family}' has {self.images.counts()[label]} images of class "
                    f"'{self.classes[label]}', {left} of them not drawn yet, and {number} more "
                    "are asked for; add images, or ask for fewer"
                )
        chosen = np.empty(len(asked), dtype=np.int64)
        for label in np.unique(asked):
            members = np.flatnonzero(self._undrawn & (self.images.labels == label))
            drawn = numpy_generator(seed, "own images", int(label)).permutation(members)
            chosen[asked == label] = drawn[: (asked == label).sum()]
        return self._drawn(chosen)

    def _any(self, labels: Sequence[int | None], seed: int) -> np.ndarray:
        """Return as many images as ``labels``, which are all None."""
        if {*labels} - {None}:
            raise InputError(
                f"the images of '{self.family}' have no labels and are asked for by class; put "
                "those of each class into a folder named after it, or leave it out here"
            )
        left = np.flatnonzero(self._undrawn)
        if len(labels) > len(left):
            raise InputError(
                f"'{self.family}' has {len(self.images)} images, {len(left)} of them not drawn "
                f"yet, and {len(labels)} more are asked for; add images, or ask for fewer"
            )
        drawn = numpy_generator(seed, "own images").permutation(left)
        return self._drawn(drawn[: len(labels)])

    def _drawn(self, chosen: np.ndarray) -> np.ndarray:
        self._undrawn[chosen] = False
        return self.images.images[chosen]


class Pipeline:
    """A pipeline of diffusers as a generator: asked for class labels, by a prompt, or neither."""

    left = None  # as many as are asked for

    def __init__(self, family: str, folder: Path, like: ImageSet, device: str) -> None:
        _index(folder)
        self.family, self.folder, self.classes = family, folder, like.classes
        self.shape, self.device = (like.image_size, like.channels), device
        self.key = key_of(folder)  # what tells it from others, for the cache
        takes = _takes(self)
        self.conditional = bool({"class_labels", "prompt"} & takes)
        self.unconditional = not self.conditional

    def sample(
        self, labels: Sequence[int | None], *, seed: int, guidance_scale: float = 1.0,
        num_inference_steps: int = 50,
    ) -> np.ndarray:  # fmt: skip
        """Return an image a label, uint8 [N, H, W, C]; made once, then read from the cache.

        A pipeline from text to image gets the prompt "a photo of a CLASS".
        """
        if {*labels} - {None} and not self.conditional:
            raise InputError(
                f"the pipeline '{self.family}' knows no classes and is asked for some; leave it "
                "out here"
            )
        how = {"guidance_scale": float(guidance_scale), "seed": seed}
        how |= {"num_inference_steps": int(num_inference_steps)}
        wanted = [None if label is None else int(label) for label in labels]
        key = {"pipeline": self.key, "classes": self.classes, "labels": wanted}
        key |= {"shape": self.shape, **how}
        build = partial(_make, self, wanted, how)
        return np.load(cached("samples", key, build, self.device) / "images.npy")


def _make(
    source: Pipeline, labels: Sequence[int | None], how: Mapping[str, Any], folder: Path
) -> None:
    """Write images of a pipeline, brought to size."""
    from synthbook.generate import diffusion

    pipeline = load(source.folder, source.key)
    conditions: list[int | str | None] = list(labels)
    if "prompt" in _takes(source):
        names = [f"a photo of a {name.replace('_', ' ')}" for name in source.classes]
        conditions = [None if label is None else names[label] for label in labels]
    elif source.conditional:
        numbers = _numbers(pipeline, source)
        conditions = [None if label is None else numbers[label] for label in labels]
    images = diffusion.sample(pipeline, conditions, batch_size=32, device=source.device, **how)
    with atomic_write(folder / "images.npy", "wb") as stream:
        np.save(stream, conform(images, *source.shape))


def _numbers(pipeline: Any, source: Pipeline) -> list[int]:
    """Return the pipeline's numbers of the classes: by their names if it has any."""
    known = getattr(pipeline, "labels", None)
    if known:
        if missing := [name for name in source.classes if name not in known]:
            raise InputError(
                f"the pipeline '{source.family}' knows no class '{missing[0]}'; give classes the "
                "names that it has for them"
            )
        return [known[name] for name in source.classes]
    if (count := getattr(pipeline, "null_class", None)) is None:  # as in a DiT without names
        count = pipeline.transformer.config.num_embeds_ada_norm
    if count != len(source.classes):
        raise InputError(
            f"the pipeline '{source.family}' knows {count} classes and the real images have "
            f"{len(source.classes)}; give one that was trained on the same classes"
        )
    return list(range(count))


def _takes(source: Pipeline) -> set[str]:
    """Return the names of what a pipeline takes when it is called."""
    return {*inspect.signature(load(source.folder, source.key).__call__).parameters}


def key_of(folder: Path) -> str:
    """Return 16 hex digits of the files in a folder: their names and their SHA-256."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    told = [(str(file.relative_to(folder)), _sum(file, *_state(file))) for file in files]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _state(file: Path) -> tuple[int, ...]:
    """Return what changes when a file does, whatever times an archive gives it."""
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


@cache
def _sum(file: Path, *_: int) -> str:
    return digest(file)  # weights are gigabytes: read once a process


@lru_cache(maxsize=1)
def load(folder: Path, key: str) -> Any:
    """Return the pipeline in a folder: its safetensors, no other code, nothing from a network.

    A safety checker is left out: what it blackens would be learned as an image of its class.

    Raises:
        InputError: if it cannot be loaded, or the files are not those of ``key`` (`key_of`).
    """
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    from synthbook.generate import diffusion

    logging.disable_progress_bar()
    index = _index(folder)
    how = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    if "safety_checker" in index:
        how |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        own = index["_class_name"] == "ClassConditionalPipeline"  # the book's
        made = diffusion.load(folder) if own else DiffusionPipeline.from_pretrained(folder, **how)
    except InputError:
        raise
    except Exception as error:  # whatever is missing or damaged
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"the pipeline in {folder} cannot be loaded ({reason}); save it anew with "
            "save_pretrained(..., safe_serialization=True)"
        ) from error
    if key_of(folder) != key:
        raise InputError(
            f"the files of the pipeline in {folder} were replaced after it was opened; open it anew"
        )
    return made
