"""Scenes with true boxes, made of photographs of single things: detection without a download.

A scene is a room out of focus (a piece of a photograph, enlarged) in which things stand: those that
are to be found, and others of classes that nobody asks for, which are put in likewise. So neither
sharpness nor an edge says where a box is. A thing on plain ground is cut out of it; one on any
other keeps its surroundings, with blended edges. The box is that of what was put in: of the
thing itself where it was cut out, and of the whole picture elsewhere, as tight boxes of
these are not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from pydantic import Field

from synthbook.data import bundled
from synthbook.data.boxed import Boxed, Objects, in_memory
from synthbook.data.images import ImageSet
from synthbook.errors import InputError, check_choice
from synthbook.randomness import numpy_generator
from synthbook.settings import Share, Side, Whole, settings

if TYPE_CHECKING:
    from PIL import Image

Few = Annotated[int, Field(ge=1, le=16)]


@settings
class SceneRecipe:
    """How a scene is made.

    Args:
        size: pixels of its side.
        objects: at most so many things to be found, at least one.
        others: at most so many things of other classes.
        least, most: the longer side of a thing, as shares of the scene's side.
        overlap: of two things, the share of the smaller one's box that the other may cover.
        grain: standard deviation of noise over all, in grey levels.
    """

    size: Side = 64
    objects: Few = 3
    others: Annotated[Whole, Field(le=16)] = 2
    least: Annotated[float, Field(gt=0, le=1)] = 0.28
    most: Annotated[float, Field(gt=0, le=1)] = 0.6
    overlap: Share = 0.1
    grain: Annotated[float, Field(ge=0, le=64)] = 4.0

    def __post_init__(self) -> None:
        """Check that the sizes are in order."""
        if self.least > self.most or self.least * self.size < SMALLEST:
            raise InputError(
                f"things of {self.least:g} to {self.most:g} of {self.size} pixels cannot be; let "
                f"least be at most as large as most, and {SMALLEST} pixels or more"
            )


SMALLEST = 4  # pixels of a thing's longer side
NEAR = 36  # grey levels by which plain ground may differ from its middle colour
PLAIN = 0.6  # share of a picture's rim that must be such
FILLED = (0.06, 0.9)  # what a thing may fill of its picture, to be cut out
SPECK = 0.02  # share of a picture of which a loose piece of a thing is at least
SHARPEST = 1.3  # enlargement of a thing's pixels at most
FEATHER = 0.2  # share of half a picture's side over which its edge blends
TRIES = 12  # places that are looked for
ROOM = (0.45, 0.9)  # side of the piece of a photograph that becomes the room
SETTING = 0.5  # share of the rim of a room's photograph that may be plain at most


class Things(NamedTuple):
    """Pictures of things: uint8 [N, S, S, 4], opacity last, and the corners of what is visible.

    ``corners`` are int64 [N, 4]: left, top, right, bottom.
    """

    pictures: np.ndarray
    corners: np.ndarray


def rim(images: np.ndarray) -> np.ndarray:
    """Return the pixels of the rim, [N, 4 (S - 1), C], of images [N, S, S, C]."""
    sides = images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]
    return np.concatenate(sides, axis=1)


def like_rim(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels look like the rim, bool [N, S, S], and the share of the rim that does.

    They differ in no channel by ``NEAR`` from the median of the rim. A picture on plain ground has
    a share near 1. ``images`` are uint8 [N, S, S, 3].
    """
    middle = np.median(rim(images), axis=1).astype(np.int16)
    near = (np.abs(images - middle[:, None, None]) < NEAR).all(-1)
    return near, rim(near[..., None]).mean((1, 2))


def silhouettes(near: np.ndarray) -> np.ndarray:
    """Return what is left, bool [N, S, S], without the ground: what of ``near`` hangs on the rim.

    Loose pieces smaller than ``SPECK`` go too.
    """
    from scipy.ndimage import label

    within = np.zeros((3, 3, 3), bool)  # neighbours are those of the same image
    cross, square = within.copy(), within.copy()
    cross[1, 1] = cross[1, :, 1] = square[1] = True
    pieces, count = label(near, cross)
    at_rim = np.zeros(count + 1, bool)
    at_rim[rim(pieces[..., None])] = True
    at_rim[0] = False
    left = ~at_rim[pieces]
    pieces, count = label(left, square)
    return left & (np.bincount(pieces.ravel(), minlength=count + 1) >= SPECK * near[0].size)[pieces]


def cut_out(images: np.ndarray) -> Things:
    """Return things with opacity: cut out of plain ground, or whole with blended edges.

    ``images`` are uint8 [N, S, S, 3].
    """
    from scipy.ndimage import gaussian_filter

    near, share = like_rim(images)
    plain = np.flatnonzero(share >= PLAIN)
    cut = silhouettes(near[plain])
    filled = cut.mean((1, 2))
    kept = (filled >= FILLED[0]) & (filled <= FILLED[1])
    plain, cut = plain[kept], cut[kept]
    whole = _rounded(near.shape[1])
    opacity = np.tile(whole, (len(images), 1, 1))
    opacity[plain] = gaussian_filter(cut.astype(np.float32), (0, 0.6, 0.6), mode="nearest")
    seen = np.tile(whole > 0, (len(images), 1, 1))
    seen[plain] = cut
    across, down = seen.any(1), seen.any(2)
    corners = [
        across.argmax(1), down.argmax(1),
        across.shape[1] - across[:, ::-1].argmax(1), down.shape[1] - down[:, ::-1].argmax(1),
    ]  # fmt: skip
    levels = np.rint(255 * opacity).astype(np.uint8)
    return Things(np.concatenate([images, levels[..., None]], -1), np.stack(corners, 1))


def _rounded(size: int) -> np.ndarray:
    """Return the opacity of a picture that is put in whole, [S, S]: a square with soft corners."""
    axis = np.abs(np.linspace(-1, 1, size))
    distance = (axis[:, None] ** 6 + axis**6) ** (1 / 6)
    return np.clip((1 - distance) / FEATHER, 0, 1).astype(np.float32)


def _thing(things: Things, number: int, side: float, draw: np.random.Generator) -> Image.Image:
    """Return a thing, RGBA, its longer side ``side`` pixels or as many as it is sharp with."""
    from PIL import Image

    left, top, right, bottom = things.corners[number]
    picture = Image.fromarray(things.pictures[number, top:bottom, left:right])
    if draw.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = min(side / max(picture.size), SHARPEST)
    size = [max(1, round(scale * length)) for length in picture.size]
    return picture.resize(size, Image.Resampling.BILINEAR)


def _room(rooms: np.ndarray, size: int, draw: np.random.Generator) -> Image.Image:
    """Return a piece of one of ``rooms`` [N, S, S, 3] as a square of ``size`` pixels."""
    from PIL import Image

    picture = rooms[draw.integers(len(rooms))]
    side = draw.uniform(*ROOM) * len(picture)
    left, top = draw.uniform(0, len(picture) - side, 2)
    box = (left, top, left + side, top + side)
    return Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC, box)


def _place(
    size: tuple[int, int], taken: list[tuple[int, int, int, int]], recipe: SceneRecipe,
    draw: np.random.Generator,
) -> tuple[int, int, int, int] | None:  # fmt: skip
    """Return a place for a thing of ``size`` (width, height) that covers little of what is there.

    None if no place was found in ``TRIES``.
    """
    wide, high = size
    for _ in range(TRIES):
        left = int(draw.integers(recipe.size - wide + 1))
        top = int(draw.integers(recipe.size - high + 1))
        box = left, top, left + wide, top + high
        for other in taken:
            across = min(box[2], other[2]) - max(left, other[0])
            down = min(box[3], other[3]) - max(top, other[1])
            area = min(wide * high, (other[2] - other[0]) * (other[3] - other[1]))
            if max(0, across) * max(0, down) > recipe.overlap * area:
                break
        else:
            return box
    return None


def scenes(
    count: int, things: ImageSet, others: ImageSet, recipe: SceneRecipe, *, seed: int,
    name: str = "scenes",
) -> Boxed:  # fmt: skip
    """Return ``count`` scenes in which pictures of ``things`` are to be found.

    Each class is as frequent as any other. Of ``others``, whose classes are not to be found, come
    what else stands in the scenes, and the rooms. A scene is a function of (seed, its number),
    whatever ``count`` is.

    Raises:
        InputError: for a class without pictures, or pictures that are not square and coloured.
    """
    if things.channels != 3 or others.channels != 3 or not len(others):
        raise InputError(
            f"scenes are made of RGB pictures, and '{things.name}' has {things.channels} channels, "
            f"'{others.name}' {others.channels} and {len(others)} pictures; load both with "
            "channels 3"
        )
    if not things.counts().all():
        empty = things.classes[int(things.counts().argmin())]
        raise InputError(
            f"class '{empty}' of '{things.name}' has no pictures to make scenes of; leave it out "
            "with of_classes"
        )
    if count < 1:
        raise InputError(f"{count} scenes cannot be made; give one at least")
    things.image_size, others.image_size  # noqa: B018 - they say so if pictures are no squares
    of_class = [np.flatnonzero(things.labels == k) for k in range(things.num_classes)]
    found, clutter = cut_out(things.images), cut_out(others.images)
    _, plain = like_rim(others.images)
    rooms = others.images[plain <= max(SETTING, plain.min())]
    made = [
        _scene(recipe, found, of_class, clutter, rooms, numpy_generator(seed, "scene", name, k))
        for k in range(count)
    ]
    return in_memory(
        np.stack([image for image, _ in made]), [seen for _, seen in made], things.classes, name
    )


def _scene(
    recipe: SceneRecipe, things: Things, of_class: list[np.ndarray], others: Things,
    rooms: np.ndarray, draw: np.random.Generator,
) -> tuple[np.ndarray, Objects]:  # fmt: skip
    """Return a scene, uint8 [S, S, 3], and what is to be found in it."""
    scene = _room(rooms, recipe.size, draw)
    labels = draw.integers(len(of_class), size=draw.integers(1, recipe.objects + 1)).tolist()
    clutter = [-1] * int(draw.integers(recipe.others + 1))
    low, high = np.log([recipe.least * recipe.size, recipe.most * recipe.size])
    taken: list[tuple[int, int, int, int]] = []
    seen: list[int] = []
    for label in (*labels, *clutter):  # what is to be found comes first, so that one always is
        pool = things if label >= 0 else others
        number = draw.choice(of_class[label]) if label >= 0 else draw.integers(len(others.pictures))
        thing = _thing(pool, number, np.exp(draw.uniform(low, high)), draw)
        if box := _place(thing.size, taken, recipe, draw):
            scene.paste(thing, box[:2], thing)
            taken.append(box)
            seen.append(label)
    pixels = np.asarray(scene) + recipe.grain * draw.normal(size=(recipe.size, recipe.size, 1))
    image = np.rint(pixels).clip(0, 255).astype(np.uint8)
    held = np.array(seen) >= 0
    boxes, numbers = np.array(taken, np.float32)[held], np.array(seen, np.int64)[held]
    return image, Objects(boxes, numbers, np.zeros(len(numbers), bool))


def bundled_scenes(
    counts: dict[str, int], recipe: SceneRecipe | None = None, *, seed: int
) -> dict[str, Boxed]:
    """Return scenes of the bundled photographs by part, as many as ``counts`` says.

    The ten kinds of `caltech10` are to be found; the classes that have no kind are the rest. Parts
    are 'train', 'val' and 'test', and no photograph of one is in another.
    """
    found = {}
    for part, count in counts.items():
        check_choice("part", part, bundled.PARTS[:3])
        pictures, labels = bundled.parts_of(bundled.FINE)[part]
        kinds = bundled.kinds_of(bundled.FINE)[labels]
        things = ImageSet(pictures, kinds, tuple(bundled.KINDS), "caltech10")
        rest = ImageSet(*bundled.parts_of(bundled.NO_KIND)[part], bundled.NO_KIND, "others")
        how = recipe or SceneRecipe()
        found[part] = scenes(count, things, rest, how, seed=seed, name=f"scenes ({part})")
    return found
