"""Images in tar files: the shards that a generated data set may be kept in, or WebDataset's.

An image and its record have the same name up to the first dot: ``000000012.png`` and
``000000012.json``, which says its "label" and may say its "class".
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthbook.data.files import FORMATS, SUFFIXES, Unreadable, in_threads, pixels, reason, refuse
from synthbook.data.files import stack as stacked
from synthbook.data.images import ImageSet
from synthbook.errors import InputError


def load_shards(folder: str | Path, *, image_size: int = 0, channels: int = 0) -> ImageSet:
    """Return the images of all tar files of a folder, file by file in the order of their names.

    They are brought to ``image_size`` and ``channels`` as files are (`files.pixels`; 0: as they
    are). Classes are those that have an image, in the order of their labels.

    Raises:
        InputError: if there is no such file, or one is damaged or has an image without a label.
    """
    folder = Path(folder).expanduser()
    files = sorted(folder.glob("*.tar"))
    if not files:
        raise InputError(f"{folder} holds no tar files; give a folder of shards")
    images: list[np.ndarray] = []
    labels: list[int] = []
    names: dict[int, str] = {}
    for file in files:
        pairs = [*_pairs(file)]
        decoded = in_threads(lambda pair: _decoded(*pair[:2], image_size, channels), pairs)
        refuse([image for image in decoded if isinstance(image, Unreadable)], str(file))
        images += decoded
        for _, _, record in pairs:
            labels.append(record["label"])
            names.setdefault(record["label"], str(record.get("class", record["label"])))
    order = sorted(names)
    return ImageSet(
        stacked(images, str(folder)), np.searchsorted(order, labels),
        tuple(names[label] for label in order), folder.resolve().name,
    )  # fmt: skip


def _pairs(file: Path) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Yield name, content and record of each image of a tar file."""
    content: dict[str, tuple[str, bytes]] = {}
    records: dict[str, Any] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                key, _, suffix = member.name.partition(".")
                if f".{suffix.lower()}" in SUFFIXES:
                    content[key] = f"{file}: {member.name}", tar.extractfile(member).read()
                elif suffix == "json":
                    records[key] = json.loads(tar.extractfile(member).read())
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(
            f"{file} is no whole shard ({' '.join(str(error).split())[:200]}); make it again"
        ) from error
    for key, (name, data) in content.items():
        record = records.get(key)
        label = record.get("label") if isinstance(record, dict) else None
        if not isinstance(label, int) or label < 0:
            raise InputError(f"{name} has no label in a {key}.json beside it; make the shard again")
        yield name, data, record


def _decoded(name: str, data: bytes, image_size: int, channels: int) -> np.ndarray | Unreadable:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return pixels(image, image_size, channels)
    except Exception as error:  # decoders of damaged files raise nearly anything
        return Unreadable(name, reason(error))
