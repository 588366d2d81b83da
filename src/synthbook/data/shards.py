"""Images in tar files: the shards that a generated data set may be kept in, or WebDataset's.

An image and its record lie in one folder of the file and have the same name up to its first dot:
``000000012.png`` and ``000000012.json``, which says its "label" and may say its "class".
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synthbook.data.files import SUFFIXES, Read, Unread, in_threads, pixels, subfolders, worked
from synthbook.errors import InputError


class _Entry(NamedTuple):
    """An image, where it lies in a tar file, and what its record says."""

    file: Path
    member: str
    start: int  # bytes
    size: int
    label: int
    name: str | None

    def content(self) -> io.BytesIO:
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            return io.BytesIO(stream.read(self.size))

    def read(self, wanted: tuple[int, int] | None) -> Read:
        """Return the pixels at (image_size, channels), or (height, width), or why there are none.

        As of files (`files.pixels`).
        """
        return worked(
            f"{self.file}: {self.member}", self.content,
            lambda image: pixels(image, *wanted) if wanted else image.size[::-1],
        )  # fmt: skip


def holds_shards(folder: Path) -> bool:
    """Return whether a folder has tar files, and no class folders beside them."""
    return any(folder.glob("*.tar")) and not subfolders(folder)


def open_shards(folder: Path) -> Unread:
    """Return the images of all tar files of a folder, unread, in the order of the files' names.

    Classes are those that have an image, in the order of their labels; without names they are
    called by these.

    Raises:
        InputError: if a file is damaged, or has an image without a label.
    """
    entries = [entry for file in sorted(folder.glob("*.tar")) for entry in _entries(file)]
    if not entries:
        raise InputError(f"the tar files in {folder} hold no images; give a folder of shards")
    named = {(entry.label, str(entry.label) if entry.name is None else entry.name)
             for entry in entries}  # fmt: skip
    names = dict(sorted(named))
    if len(named) > len(names) or len(names) > len({*names.values()}):
        raise InputError(
            f"in {folder} a label has several classes, or a class several labels; make the shards "
            "of one data set anew, in a folder of their own"
        )
    labels = np.searchsorted([*names], [entry.label for entry in entries])

    def read(part: str, wanted: tuple[int, int] | None) -> Sequence[Read]:
        return in_threads(lambda entry: entry.read(wanted), entries)

    terms = f"shards in {folder}", "as their owner says"
    numbered = all(entry.name is None for entry in entries)
    name, classes = folder.resolve().name, tuple(names.values())
    return Unread(name, classes, {"pool": labels}, read, *terms, numbered=numbered)


def _entries(file: Path) -> Iterator[_Entry]:
    """Yield the images of a tar file, whose pixels are not read."""
    found: dict[str, tarfile.TarInfo] = {}
    records: dict[str, Any] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, slash, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}{slash}{stem}"
                if f".{suffix.lower()}" in SUFFIXES:
                    found[key] = member
                elif suffix == "json":
                    records[key] = json.loads(tar.extractfile(member).read())
            tar.fileobj.seek(tar.offset)  # tarfile takes a broken head for the end
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"it is cut off or damaged at byte {tar.offset:,}")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(
            f"{file} is no whole shard ({' '.join(str(error).split())[:200]}); make it again"
        ) from error
    for key, member in found.items():
        record = records.get(key)
        label = record.get("label") if isinstance(record, dict) else None
        if not isinstance(label, int) or label < 0:
            raise InputError(
                f"{file}: {member.name} has no label in a {key}.json beside it; make the shard "
                "again"
            )
        name = record.get("class")
        where = member.offset_data, member.size
        yield _Entry(file, member.name, *where, label, None if name is None else str(name))
