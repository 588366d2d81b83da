"""Which models are kept, by their cards alone: read without torch.

A model's folder holds ``card.json``. Those that come with the book lie in ``models/``; others, such
as those of a reader's own photographs, in ``_build/models`` or ``$SYNTHBOOK_MODELS``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synthbook.errors import InputError
from synthbook.store import root

FAMILIES = ("diffusion", "gan")  # those of `models.FAMILIES`
CARD = "card.json"
FORMAT = 1  # of the card
NEEDED = {
    "format", "name", "family", "seed", "data", "classes", "shares", "kinds", "recipe", "sampling",
    "files",
}  # fmt: skip
WEIGHTS = "model/"  # where the network lies in a folder


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
    if card.get("sum", sum_of(card)) != sum_of(card):  # older ones have none
        raise InputError(f"{folder / CARD} is not as it was written; {remedy(folder)}")
    return card


def remedy(folder: Path) -> str:
    """Return how to have the model of a folder whole again."""
    if folder.parent == places()[0]:
        return f"restore it from the repository (git checkout -- models/{folder.name})"
    return "delete the folder and train it anew (chapter 11 with minutes, or make models)"


def cards() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and card of each model that is kept, those of the book first."""
    for place in places():
        for file in sorted(place.glob(f"[!.]*/{CARD}")):  # a dot: one that is being written
            yield file.parent, read_card(file.parent)


def sum_of(card: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a card says."""
    told = {name: said for name, said in card.items() if name != "sum"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
