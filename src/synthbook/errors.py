"""One kind of error for everything a user can get wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Bad input: one sentence that names the thing, the value and the remedy.

    In a notebook it is shown as that sentence alone, without a traceback, because the fault
    lies in what was asked for and not in the code that noticed.
    """

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'seeds'?" for the nearest of ``known``, or "" if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


@contextmanager
def fault_of(parameter: str) -> Iterator[None]:
    """Let an InputError begin with the parameter whose value is looked at, if it names none."""
    try:
        yield
    except InputError as error:
        if parameter in str(error) or re.match(r"\w+ = ", str(error)):
            raise
        raise InputError(f"{parameter}: {error}") from error


def check_choice(name: str, value: str, known: Collection[str]) -> None:
    """Raise InputError if ``value`` of the setting ``name`` is not in ``known``."""
    if value not in known:
        raise InputError(
            f"{name} '{value}' is not known; choose one of {', '.join(known)}"
            f"{did_you_mean(str(value), known)}"
        )
