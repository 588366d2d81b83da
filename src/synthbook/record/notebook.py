"""Reading a chapter as a file: its cells and their tags, without running or converting it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from synthbook.errors import InputError

_MARKER = re.compile(r"^# %%(?P<rest>.*)$")
_TAGS = re.compile(r"\btags=(\[[^\]]*\])")


class Cell(NamedTuple):
    """One cell: ``kind`` is "code" or "markdown"."""

    kind: str
    tags: tuple[str, ...]
    source: str


def cells(path: str | Path) -> list[Cell]:
    """Return the cells of an ``.ipynb`` or of a jupytext percent ``.py``.

    Raises:
        InputError: if the file is missing or is not a notebook.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no notebook '{path}'; check its name")
    text = path.read_text(encoding="utf-8")
    return _percent(text) if path.suffix == ".py" else _ipynb(text, path)


def _ipynb(text: str, path: Path) -> list[Cell]:
    try:
        found = json.loads(text)["cells"]
        return [
            Cell(
                cell["cell_type"],
                tuple(cell.get("metadata", {}).get("tags", ())),
                "".join(cell["source"]),  # a list of lines, or one text
            )
            for cell in found
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is no Jupyter notebook ({error!r}); convert it again") from None


def _percent(text: str) -> list[Cell]:
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        marker = _MARKER.match(line)
        if marker:
            found.append((marker["rest"], []))
        elif found:  # what comes before the first marker is the jupytext header
            found[-1][1].append(line)
    result = []
    for head, lines in found:
        tags = _TAGS.search(head)
        kind = "markdown" if "[markdown]" in head or "[md]" in head else "code"
        result.append(
            Cell(kind, tuple(json.loads(tags[1])) if tags else (), "\n".join(lines).strip("\n"))
        )
    return result
