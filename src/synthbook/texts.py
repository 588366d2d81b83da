"""YAML from outside, read as it is written: no aliases, no octals, sexagesimals or dates."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from synthbook.errors import InputError

MOST_SIGNS = 100_000  # of a text; the longest file of parameters has some thousand
MOST_DIGITS = 300  # of a number: no float has more
DEPTH = 20  # of lists in lists
_TAG = "tag:yaml.org,2002:"
_OTHERS = {f"{_TAG}{kind}" for kind in ("int", "float", "timestamp")}
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers; a date, or "1:30", is a text. What is named once is there once."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in found if tag not in _OTHERS]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise InputError("it has an alias (*name); write the value out")
        if self.depth > DEPTH:
            raise InputError(f"it has more than {DEPTH} lists in one another")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_number(self, node: Any) -> int | float:
        if len(node.value) > MOST_DIGITS:
            raise InputError(f"it has a number of {len(node.value):,} digits")
        kind = self.construct_yaml_int if node.tag == f"{_TAG}int" else self.construct_yaml_float
        return kind(node)


_Loader.add_implicit_resolver(f"{_TAG}int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+0123456789."))
for _kind in ("int", "float"):
    _Loader.add_constructor(f"{_TAG}{_kind}", _Loader.construct_number)


def read_yaml(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        InputError: in half a sentence that says what is wrong with it.
    """
    if len(text) > MOST_SIGNS:
        raise InputError(f"it has {len(text):,} signs, more than {MOST_SIGNS:,}")
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(" ".join(said.split())[:300]) from None
