"""A progress bar that leaves nothing on the page."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

Item = TypeVar("Item")


def _terminal() -> TextIO | None:
    """Return the terminal that this process was started from, or None.

    A kernel redirects file 2 into the notebook, where a bar would be litter, and keeps a copy of
    the real one: the terminal in which papermill or Jupyter runs.
    """
    copy = getattr(sys.stderr, "_original_stdstream_copy", None)
    if copy is not None:
        return os.fdopen(os.dup(copy), "w", encoding="utf-8") if os.isatty(copy) else None
    usual = sys.__stderr__
    return usual if usual and not usual.closed and usual.isatty() else None


def progress(iterable: Iterable[Item], label: str) -> Iterator[Item]:
    """Yield from ``iterable`` while tqdm shows on the terminal, if there is one, how far it is."""
    terminal = _terminal()
    if terminal is None:
        yield from iterable
        return
    from tqdm import tqdm

    try:
        yield from tqdm(iterable, desc=label, file=terminal, leave=False)
    finally:
        if terminal is not sys.__stderr__:
            terminal.close()
