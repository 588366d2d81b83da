"""A progress bar that leaves nothing on the page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from synthbook.machine import console

Item = TypeVar("Item")


def progress(iterable: Iterable[Item], label: str) -> Iterator[Item]:
    """Yield from ``iterable`` while tqdm shows on the terminal, if there is one, how far it is."""
    stream = console()
    try:
        if stream is not None and stream.isatty():
            from tqdm import tqdm

            iterable = tqdm(iterable, desc=label, file=stream, leave=False)
        yield from iterable
    finally:
        if stream not in (None, sys.__stderr__):
            stream.close()
