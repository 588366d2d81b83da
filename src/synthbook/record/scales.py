"""Scales: the notebook's defaults are ``mini``; each ``params/<chapter>/<scale>.yaml`` is another.

A run has the scale whose defining values it has; any other is ``custom``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthbook.errors import InputError, did_you_mean
from synthbook.record.parameters import Field, check_values, declared
from synthbook.store import root

MINI, CUSTOM = "mini", "custom"

# What a scale may vary without becoming another: which part of its grid is run, how often, and
# where. The other parameters decide what a row means.
FREE_NAMES = frozenset({
    "seeds", "first_seed", "generators", "sources", "methods", "parts", "variants", "targets",
    "policies", "counts", "shares",
    "device", "threads", "workers", "data_root", "download", "rows", "skip_unreadable",
})  # fmt: skip


def notebook_path(chapter: str) -> Path:
    """Return the file that declares a chapter's parameters: its ``.py``, else its ``.ipynb``.

    Raises:
        InputError: if there is no such chapter; the nearest is named.
    """
    folder = root() / "notebooks"
    for suffix in (".py", ".ipynb"):
        if (folder / f"{chapter}{suffix}").is_file():
            return folder / f"{chapter}{suffix}"
    known = sorted({path.stem for path in folder.glob("[0-9]*.*")})
    raise InputError(
        f"no chapter '{chapter}'{did_you_mean(chapter, known)}; the book has "
        f"{', '.join(known) or 'none yet'}"
    )


def scales(chapter: str) -> list[str]:
    """Return the scales of a chapter: ``mini``, then those that have a file, by name."""
    return [MINI, *sorted(path.stem for path in (root() / "params" / chapter).glob("*.yaml"))]


def scale_values(chapter: str, scale: str) -> dict[str, Any]:
    """Return the parameters that a scale sets, {} for ``mini``; the others keep their defaults.

    Raises:
        InputError: if the chapter has no such scale, its file is no YAML mapping, or a value
            would not pass the chapter's checking cell.
    """
    known = scales(chapter)
    if scale not in known:
        raise InputError(
            f"chapter '{chapter}' has no scale '{scale}'{did_you_mean(scale, known)}; "
            f"it has {', '.join(known)}"
        )
    if scale == MINI:
        return {}
    import yaml

    path = root() / "params" / chapter / f"{scale}.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise InputError(f"'{path}' is no YAML ({where}); mend that line") from None
    if not isinstance(values, dict):
        raise InputError(f"'{path}' holds {values!r}; write lines 'name: value'")
    try:
        check_values(notebook_path(chapter), values)
    except InputError as error:
        raise InputError(f"'{path}': {error}") from None
    return values


def _defining(fields: list[Field], values: Mapping[str, Any]) -> dict[str, Any]:
    held = {field.name: field.default for field in fields} | dict(values)
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in held.items()
        if name not in FREE_NAMES
    }


def scale_of(chapter: str, parameters: Mapping[str, Any]) -> str:
    """Return the scale whose defining values all equal those of the run, else ``custom``.

    `FREE_NAMES` define no scale. Of several that fit, ``mini`` comes first, then by name. A
    chapter that is not in the book (a copy under another name) has only ``custom`` runs.
    """
    try:
        fields = declared(notebook_path(chapter))
    except InputError:
        return CUSTOM
    run = _defining([], parameters)
    for scale in scales(chapter):
        if _defining(fields, scale_values(chapter, scale)) == run:
            return scale
    return CUSTOM
