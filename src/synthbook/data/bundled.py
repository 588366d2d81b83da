"""The photographs that come with the package: Caltech-101 reduced to 32 pixels (CC BY 4.0).

Made by ``workflow/photographs.py``; ``LICENSE-DATA.md`` says from what. Which picture is in which
part is fixed by the bundle. A few classes have more pictures than the labelled parts take: the
others are "extra".
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
from PIL.WebPImagePlugin import WebPImageFile

from synthbook.data.npz import DAMAGED
from synthbook.errors import InputError, check_choice

FOLDER = Path(__file__).parent / "photographs"
SIZE = 32  # pixels of a side
TILES = 64  # pictures in a row of a mosaic
MOSAICS = ("photographs-0.webp", "photographs-1.webp")
PARTS = ("train", "val", "test", "extra")
# Names as in everyday speech: a whale would be a sea animal, and a scorpion is an insect.
KINDS: dict[str, tuple[str, ...]] = {
    "bird": ("emu", "flamingo", "flamingo_head", "ibis", "pigeon", "rooster"),
    "mammal": (
        "beaver", "cougar_body", "cougar_face", "dalmatian", "elephant", "gerenuk", "hedgehog",
        "kangaroo", "Leopards", "llama", "okapi", "panda", "platypus", "rhino", "wild_cat",
    ),
    "sea animal": (
        "bass", "crab", "crayfish", "dolphin", "hawksbill", "lobster", "nautilus", "octopus",
        "sea_horse", "starfish",
    ),
    "insect": ("ant", "butterfly", "dragonfly", "mayfly", "scorpion", "tick"),
    "plant": ("bonsai", "joshua_tree", "lotus", "strawberry", "sunflower", "water_lilly"),
    "boat": ("ferry", "ketch", "schooner"),
    "vehicle": ("airplanes", "car_side", "helicopter", "Motorbikes"),
    "instrument": (
        "accordion", "electric_guitar", "euphonium", "grand_piano", "mandolin", "saxophone",
    ),
    "furniture": ("ceiling_fan", "chair", "chandelier", "lamp", "windsor_chair"),
    "device": (
        "binocular", "camera", "cellphone", "gramophone", "headphone", "laptop", "watch",
    ),
}  # fmt: skip
NO_KIND = (
    "Faces_easy", "anchor", "barrel", "brain", "brontosaurus", "buddha", "cannon", "crocodile",
    "crocodile_head", "cup", "dollar_bill", "ewer", "garfield", "inline_skate", "menorah",
    "metronome", "minaret", "pagoda", "pizza", "pyramid", "revolver", "scissors", "snoopy",
    "soccer_ball", "stapler", "stegosaurus", "stop_sign", "trilobite", "umbrella", "wheelchair",
    "wrench", "yin_yang",
)  # fmt: skip
FINE = tuple(chain.from_iterable(KINDS.values()))
CLASSES = tuple(sorted((*FINE, *NO_KIND)))
IN_FULL = ("Faces_easy", "Motorbikes", "airplanes")  # large enough to hold many images out
OTHERS = tuple(name for name in CLASSES if name not in IN_FULL)


@dataclass(frozen=True, eq=False)
class Photographs:
    """All pictures, by class and by their number in Caltech-101.

    ``labels`` are int64 [N], indices into ``CLASSES``; ``parts`` uint8 [N], indices into ``PARTS``;
    ``numbers`` uint16 [N]: 7 is Caltech's image_0007.jpg. Pixels are decoded when asked for.
    """

    labels: np.ndarray
    parts: np.ndarray
    numbers: np.ndarray
    tiles: np.ndarray  # int64 [N]: which tile of its mosaic a picture is, row by row
    mosaics: tuple[WebPImageFile, ...]

    def images(self, chosen: np.ndarray) -> np.ndarray:
        """Return uint8 [M, 32, 32, 3], the pictures that are True in ``chosen``, bool [N]."""
        images = np.empty((len(chosen), SIZE, SIZE, 3), np.uint8)
        first = in_first(self.labels, self.parts)
        for mosaic, held in zip(self.mosaics, (first, ~first), strict=True):
            if (wanted := held & chosen).any():
                rows = np.asarray(mosaic).reshape(-1, SIZE, TILES, SIZE, 3)
                at = self.tiles[wanted]
                images[wanted] = rows[at // TILES, :, at % TILES]
        return images[chosen]


def in_first(labels: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return bool [N]: which pictures lie in the first mosaic, those of ``caltech10``.

    Decoding takes most of the time of loading, and few need the others.
    """
    has_kind = np.array([name in FINE for name in CLASSES])
    return has_kind[labels] & (parts != PARTS.index("extra"))


@cache
def photographs(folder: Path = FOLDER) -> Photographs:
    """Read the bundle; InputError unless all of its files are as they were made."""
    words = _content(folder / "SHA256SUMS").decode("ascii", "replace").split()
    sums = dict(zip(words[1::2], words[::2], strict=False))
    index_file, *files = (folder / name for name in ("index.npz", *MOSAICS))
    index_content, *contents = (_content(file, sums) for file in (index_file, *files))
    try:
        with np.load(io.BytesIO(index_content)) as index:
            names = tuple(index["classes"])
            labels, parts, numbers = (index[name] for name in ("label", "part", "number"))
    except DAMAGED as error:
        raise _damaged(index_file, f"is no index of photographs ({error})") from error
    if names != CLASSES or not len(labels) == len(parts) == len(numbers):
        raise _damaged(index_file, "does not fit the classes that the code knows")
    first = in_first(labels, parts)
    mosaics = []
    for file, content, count in zip(files, contents, (first.sum(), (~first).sum()), strict=True):
        mosaic = WebPImageFile(io.BytesIO(content))  # Image.open imports all formats, for 0.1 s
        wanted = TILES * SIZE, -(-int(count) // TILES) * SIZE
        if mosaic.size != wanted:
            found, fit = ("{} x {}".format(*size) for size in (mosaic.size, wanted))
            raise _damaged(file, f"has {found} pixels, not {fit} as index.npz says")
        mosaics.append(mosaic)
    tiles = np.where(first, np.cumsum(first), np.cumsum(~first)) - 1
    order = np.lexsort((numbers, labels))
    columns = labels.astype(np.int64), parts, numbers, tiles
    return Photographs(*(column[order] for column in columns), tuple(mosaics))


def _content(file: Path, sums: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a file of the bundle, which ``sums`` (name -> SHA-256) must name."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _damaged(file, f"cannot be read ({error.strerror})") from error
    if sums is not None and sums.get(file.name) != hashlib.sha256(content).hexdigest():
        raise _damaged(file, "is not the file whose SHA-256 stands in SHA256SUMS beside it")
    return content


def _damaged(file: Path, fault: str) -> InputError:
    return InputError(
        f"{file} {fault}; restore it from the repository (git checkout -- {file.parent}) or "
        "install the package again"
    )


def parts_of(
    classes: Sequence[str], *, extra: bool = False
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return train, val and test of ``classes``: uint8 [N, 32, 32, 3], and labels int64 [N].

    Labels go by the order of ``classes``; the order of the pictures, which is that of
    `photographs`, does not. With ``extra``, what lies beyond the labelled parts is in train too.
    """
    found = photographs()
    new_label = np.full(len(CLASSES), -1)
    new_label[[CLASSES.index(name) for name in classes]] = np.arange(len(classes))
    labels, parts = new_label[found.labels], found.parts
    if extra:
        parts = np.where(parts == PARTS.index("extra"), PARTS.index("train"), parts)
    chosen = (labels >= 0) & (parts != PARTS.index("extra"))
    images, labels, parts = found.images(chosen), labels[chosen], parts[chosen]
    return {part: (images[parts == k], labels[parts == k]) for k, part in enumerate(PARTS[:3])}


def kinds_of(classes: Sequence[str]) -> np.ndarray:
    """Return the kind of each class, int64 [len(classes)], indices into the names of ``KINDS``."""
    kind_of = {name: k for k, names in enumerate(KINDS.values()) for name in names}
    for name in classes:
        check_choice("class", name, kind_of)
    return np.array([kind_of[name] for name in classes], dtype=np.int64)
