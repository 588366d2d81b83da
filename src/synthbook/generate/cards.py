"""Which models are kept, by their cards alone: read without torch.

A model's folder holds ``card.json``. Those that come with the book lie in ``models/``; others, such
as those of a reader's own photographs, in ``_build/models`` or ``$SYNTHBOOK_MODELS``. Cards of all
kinds of models are written (`seal`, `put`), read and checked (`read`, `check_files`) here: each has
a SHA-256 of every file, and one of itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from synthbook import machine
from synthbook.errors import InputError
from synthbook.store import atomic_write, commit, root
from synthbook.sums import digest, sums_of

FAMILIES = ("diffusion", "gan")  # those of `models.FAMILIES`
CARD = "card.json"
FORMAT = 1  # of the card
NEEDED = {
    "format", "name", "family", "seed", "data", "classes", "shares", "kinds", "recipe", "sampling",
    "files",
}  # fmt: skip
WEIGHTS = "model/"  # where the network lies in a folder
ANEW = "delete the folder and train it anew (chapter 11 with minutes, or make models)"


def places() -> tuple[Path, Path]:
    """Return where models lie: those that come with the book, and those that were made here."""
    chosen = os.environ.get("SYNTHBOOK_MODELS")
    return root() / "models", Path(chosen) if chosen else root() / "_build" / "models"


def read_card(folder: Path) -> dict[str, Any]:
    """Return a model's card; InputError if there is none, or one of another format."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} is no model ({CARD}: {type(error).__name__}); {remedy(folder)}"
        ) from error
    if (
        not isinstance(card, dict)
        or not card.keys() >= NEEDED
        or not any(name.startswith(WEIGHTS) for name in card["files"])
    ):
        raise InputError(f"{folder / CARD} is no card of a model; {remedy(folder)}")
    if card["format"] != FORMAT or card["family"] not in FAMILIES:
        raise InputError(
            f"the model {folder} is of format {card['format']}, family '{card['family']}', and "
            f"this version reads format {FORMAT}, {' and '.join(FAMILIES)}; train it anew"
        )
    _check_sum(folder, card, remedy(folder))
    return card


def read(folder: Path, needed: Collection[str], kind: str, remedy: str) -> dict[str, Any]:
    """Return the card of another ``kind`` of model; ``needed`` are names that it must have.

    Raises:
        InputError: if it cannot be read, is of another format, or is not as it was written; what
            helps is ``remedy``.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        usable = card["format"] == FORMAT and card.keys() >= {*needed, "files"}
        usable = usable and isinstance(card["files"], dict)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise InputError(f"{folder / CARD} is no card of {kind}; {remedy}")
    _check_sum(folder, card, remedy)
    return card


def _check_sum(folder: Path, card: Mapping[str, Any], remedy: str) -> None:
    if card.get("sum", sum_of(card)) != sum_of(card):  # older ones have none
        raise InputError(f"{folder / CARD} is not as it was written; {remedy}")


def check_files(folder: Path, card: Mapping[str, Any], remedy: str) -> None:
    """Raise InputError if a file of a card is missing, or is not as the card says."""
    for name, written in card["files"].items():
        path = folder / name
        fault = "is missing" if not path.is_file() else ""
        if not fault and digest(path) != written:
            fault = "is not the file whose SHA-256 stands in its card: cut off or altered"
        if fault:
            raise InputError(f"{path} {fault}; {remedy}")


def remedy(folder: Path, otherwise: str = ANEW) -> str:
    """Return how to have the model of a folder whole again, ``otherwise`` if it is no book's."""
    book = places()[0]
    if folder.is_relative_to(book):
        return restore(folder.relative_to(book).as_posix())
    return otherwise


def restore(name: str) -> str:
    """Return how a model that comes with the book comes back; ``name`` is its path in models."""
    return f"restore it from the repository (git checkout -- models/{name})"


def seal(folder: Path, card: Mapping[str, Any]) -> None:
    """Write the card of a folder, with the sums of its files and of the card itself."""
    told = {name: said for name, said in card.items() if name not in ("files", "sum")}
    told = json.loads(json.dumps({**told, "files": sums_of(folder, without=CARD)}))
    with atomic_write(folder / CARD) as stream:
        json.dump({**told, "sum": sum_of(told)}, stream, indent=1, ensure_ascii=False)
        stream.write("\n")


def put(part: Path, folder: Path, card: Mapping[str, Any]) -> None:
    """Seal the finished folder ``part`` and give it the name ``folder``, in place of a former."""
    seal(part, {"format": FORMAT, **card})
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def trained_here(minutes: float, device: str) -> dict[str, Any]:
    """Return what a card says under "training": for how long, where, and by which versions."""
    import torch

    gpu = torch.device(device).type == "cuda"
    return {
        "minutes": minutes, "device": device, "threads": torch.get_num_threads(),
        "processor": torch.cuda.get_device_name(device) if gpu else machine.processor(),
        "torch": torch.__version__,
        "python": platform.python_version(), "commit": commit()[0],
    }  # fmt: skip


def cards() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and card of each model that is kept, those of the book first."""
    for place in places():
        for file in sorted(place.glob(f"[!.]*/{CARD}")):  # a dot: one that is being written
            yield file.parent, read_card(file.parent)


def sum_of(card: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a card says."""
    told = {name: said for name, said in card.items() if name != "sum"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
