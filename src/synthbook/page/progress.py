"""A progress bar that leaves nothing behind on the page."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")
# A display message is a round trip to the browser, and an executed notebook is saved after each.
UPDATE_SECONDS = 0.5
BAR = 24  # characters


def _terminal() -> TextIO | None:
    """Return the terminal that this process was started from, or None.

    A kernel redirects file 2 into the notebook, where a bar would be litter, and keeps a copy of
    the real one: the terminal in which papermill runs.
    """
    copy = getattr(sys.stderr, "_original_stdstream_copy", None)
    if copy is not None and os.isatty(copy):
        return os.fdopen(os.dup(copy), "w", encoding="utf-8")
    plain = sys.__stderr__
    if copy is None and plain is not None and not plain.closed and plain.isatty():
        return plain
    return None


def _notebook_display() -> Any:
    """Return a handle on a new line of the running cell, or None outside a kernel."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import get_ipython
    from IPython.display import DisplayHandle

    return DisplayHandle() if hasattr(get_ipython(), "kernel") else None


def _line(label: str, done: int, total: int | None, seconds: float) -> str:
    """Return "label ████░░░░ 3/8, 12 s left" (without a total: "label 3, 12 s")."""
    if not total:
        return f"{label} {done}, {seconds:.0f} s"
    full = round(BAR * min(done / total, 1))
    left = f", {seconds * (total - done) / done:.0f} s left" if 0 < done < total else ""
    return f"{label} {'█' * full}{'░' * (BAR - full)} {done}/{total}{left}"


def progress(iterable: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Yield from ``iterable`` and show how far it is; the display is emptied at the end.

    In a notebook one line of the cell is rewritten in place, and in the terminal behind it (if
    there is one) tqdm draws a bar. Nothing goes to the cell's stdout or stderr. The line ends as
    an output without text, since a kernel cannot take an output back: the step that executes a
    notebook drops it with `without_litter`.

    Args:
        iterable: what to go through.
        label: a word or two on what is done.
        total: number of items; None: ``len(iterable)`` where it has one.
    """
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)
    handle, terminal = _notebook_display(), _terminal()
    bar = None
    if terminal is not None:
        from tqdm import tqdm

        bar = tqdm(total=total, desc=label, file=terminal, leave=False, mininterval=UPDATE_SECONDS)
    start = shown = time.monotonic()
    if handle is not None:
        handle.display({"text/plain": _line(label, 0, total, 0.0)}, raw=True)
    try:
        for done, item in enumerate(iterable, start=1):
            yield item
            if bar is not None:
                bar.update()
            now = time.monotonic()
            if handle is not None and now - shown >= UPDATE_SECONDS:
                handle.update({"text/plain": _line(label, done, total, now - start)}, raw=True)
                shown = now
    finally:
        if handle is not None:
            handle.update({"text/plain": ""}, raw=True)
        if bar is not None:
            bar.close()
            if terminal is not sys.__stderr__:
                terminal.close()


def without_litter(outputs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return a cell's outputs (nbformat) without the emptied lines that `progress` leaves."""
    return [
        output
        for output in outputs
        if output.get("output_type") != "display_data"
        or any("".join(text) for text in output.get("data", {}).values())
    ]
