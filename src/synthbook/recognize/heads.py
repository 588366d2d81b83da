"""Zero-shot heads: class weights W of a CLIP from texts about the classes, or drawn at random.

    W = [h(s_1), ..., h(s_k)],  f(x) = scale * g(x)^T W          (He et al. 2023, Section 3)

with unit features g(x) and columns; here W is kept as [K, D], a row a class. Of several templates a
column is the mean of their features, of length one (Radford et al. 2021, Section 3.1.4).
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synthbook.errors import InputError, did_you_mean
from synthbook.randomness import numpy_generator
from synthbook.recognize.clip import Encoded, Encoder
from synthbook.recognize.ranks import measures
from synthbook.store import cached

PHOTO = "a photo of a {}"  # He et al. 2023, Section 3: the s_i of all data sets
# By data set, as CoOp (Zhou et al. 2022) and Tip-Adapter (Zhang et al. 2022) prompt for them.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "photo": (PHOTO,),
    "cifar": tuple(f"a {kind} of a {{}}." for kind in ("photo", "blurry photo", "close-up photo")),
    "caltech101": ("a photo of a {}.",),
    "aircraft": ("a photo of a {}, a type of aircraft.",),
    "birdsnap": ("a photo of a {}, a type of bird.",),
    "cars": ("a photo of a {}.",),
    "cub": ("a photo of a {}, a type of bird.",),
    "dtd": ("{} texture.",),
    "eurosat": ("a centered satellite photo of {}.",),
    "flowers": ("a photo of a {}, a type of flower.",),
    "food": ("a photo of {}, a type of food.",),
    "pets": ("a photo of a {}, a type of pet.",),
    "sketch": ("a sketch of a {}.",),
    "sun397": ("a photo of a {}.",),
}  # fmt: skip
# Ensembles that open_clip has: all of ImageNet's templates, and the seven that are best together.
ENSEMBLES = {"imagenet80": "OPENAI_IMAGENET_TEMPLATES", "imagenet7": "SIMPLE_IMAGENET_TEMPLATES"}


def templates_of(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Return templates by name (`TEMPLATES`, `ENSEMBLES`), one as a text, or some, checked.

    Raises:
        InputError: for an unknown name, no template, or one without exactly one {}.
    """
    if isinstance(templates, str) and "{" not in templates:
        known = [*TEMPLATES, *ENSEMBLES]
        if templates not in known:
            raise InputError(
                f"templates '{templates}' are not known{did_you_mean(templates, known)}; choose "
                f"one of {', '.join(known)}, or give templates such as '{PHOTO}'"
            )
        if templates in TEMPLATES:
            return TEMPLATES[templates]
        import open_clip.zero_shot_metadata as library

        return tuple(told("{}") for told in getattr(library, ENSEMBLES[templates]))
    found = (templates,) if isinstance(templates, str) else tuple(templates)
    if not found:
        raise InputError(f"there are no templates; give one at least, such as '{PHOTO}'")
    for text in found:
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(text)]
        except ValueError:
            fields = []
        if [field for field in fields if field is not None] != [""]:
            raise InputError(
                f"template '{text}' has not one {{}}, the place of the class's name; write it "
                f"like '{PHOTO}'"
            )
    return found


def check_names(names: Sequence[str]) -> None:
    """Raise InputError unless there are two class names or more, and each says something."""
    if len(names) < 2:
        raise InputError(f"there are {len(names)} class names; a head needs two at least")
    for k, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"class {k} of {len(names)} has the name {name!r}; give it a name")


def text_head(
    look: Encoder, names: Sequence[str], templates: str | Sequence[str] = "photo"
) -> np.ndarray:
    """Return the zero-shot head of class names, unit rows float32 [K, D]; kept like features."""
    check_names(names)
    forms = templates_of(templates)
    tokens = look.tokens([form.format(name) for name in names for form in forms])
    digest = hashlib.sha256(tokens.numpy().tobytes()).hexdigest()[:16]
    key = {"tokens": digest, "shape": list(tokens.shape), "forms": len(forms), **look.key()}

    def build(part: Path) -> None:
        rows = (look.texts([form.format(name) for form in forms]).mean(0) for name in names)
        np.save(part / "head.npy", unit(np.stack([*rows])))

    folder = cached("clip_heads", key, build, look.device)
    return np.load(folder / "head.npy", allow_pickle=False)


def random_head(classes: int, width: int, *, seed: int) -> np.ndarray:
    """Return unit rows float32 [K, D] drawn evenly on the sphere: a start that knows no text."""
    draw = numpy_generator(seed, "random head").standard_normal((classes, width))
    return unit(draw.astype(np.float32))


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows [N, D] of length one."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def check_fits(head: np.ndarray, images: Encoded) -> None:
    """Raise InputError unless a head has a row a class of a set, as wide as its features."""
    if head.shape != (images.num_classes, images.features.shape[1]):
        raise InputError(
            f"the head is {list(head.shape)}, but '{images.name}' has {images.num_classes} classes "
            f"and features of {images.features.shape[1]} numbers; give a name for each class, and "
            "one encoder for both"
        )


def check_alike(images: Encoded, others: Encoded) -> None:
    """Raise InputError unless two sets have the same classes in the same order."""
    if images.classes != others.classes:
        raise InputError(
            f"'{images.name}' has the classes {', '.join(images.classes[:5])} ... and "
            f"'{others.name}' {', '.join(others.classes[:5])} ...; bring both to one list with "
            "of_classes"
        )


def logits(images: Encoded, head: np.ndarray, scale: float) -> np.ndarray:
    """Return scale * g(x)^T W, float32 [N, K]."""
    check_fits(head, images)
    return np.float32(scale) * images.features @ head.T


def probabilities(images: Encoded, head: np.ndarray, scale: float) -> np.ndarray:
    """Return the softmax of `logits`, float32 [N, K]: CLIP's scores, normalised."""
    from scipy.special import softmax

    return softmax(logits(images, head, scale), axis=1)


def zero_shot(images: Encoded, head: np.ndarray) -> dict[str, float]:
    """Return top-1, top-5 and mean per-class accuracy in percent (`ranks.measures`)."""
    return measures(logits(images, head, 1.0), images.labels)
