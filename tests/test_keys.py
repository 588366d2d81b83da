"""What a key stands for: settings, and the source of all that can change a number, alone."""

from __future__ import annotations

import functools
import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbook import keys
from synthbook.keys import code_behind, code_of, key_hash
from synthbook.store import cached

FILES = {
    "__init__.py": "",
    "top.py": """
        from synthbook_t.sub import middle
        from synthbook_t.registry import CHOICES

        def run(x):
            \"\"\"Return something.\"\"\"
            return middle.double(x) + CHOICES["one"](x)

        def other(x):
            return x
        """,
    "sub/__init__.py": "",
    "sub/middle.py": """
        FACTOR = 2

        BY_NAME = {"plain": "near:plain"}

        def double(x):
            find(BY_NAME)
            from synthbook_t.bottom import Adder
            return Adder().add(FACTOR * x)

        def unused():
            return 0
        """,
    "sub/near.py": "def plain(x):\n    return x\n",
    "bottom.py": """
        class Adder:
            def add(self, x):
                return x + 1
        """,
    "registry.py": """
        import importlib

        def _one(x):
            return importlib.import_module("synthbook_t.lazy").f(x)

        CHOICES = {"one": _one}
        """,
    "lazy.py": "def f(x):\n    return 3 * x\n",
    "island.py": "Y = 1\n",
}


class Package:
    """A package in a temporary folder, whose files tests rewrite."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        for module in [m for m in sys.modules if m.startswith("synthbook_t")]:
            del sys.modules[module]
        importlib.invalidate_caches()
        keys._module.cache_clear()

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.base / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def code(self, module: str = "synthbook_t.top", name: str = "run") -> str:
        return code_of(getattr(importlib.import_module(module), name))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    made = Package(tmp_path / "synthbook_t")
    monkeypatch.setattr(keys, "PACKAGE", made.base)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield made
    for module in [m for m in sys.modules if m.startswith("synthbook_t")]:
        del sys.modules[module]


@pytest.mark.parametrize(
    ("counts", "name", "old", "new"),
    [
        (True, "top.py", "+ CHOICES", "- CHOICES"),
        (True, "sub/middle.py", "FACTOR = 2", "FACTOR = 3"),  # a constant that it names
        (True, "bottom.py", "x + 1", "x + 2"),  # a class that is imported inside a function
        (True, "registry.py", '("synthbook_t.lazy")', '("synthbook_t.island")'),
        (True, "sub/near.py", "return x", "return -x"),  # a neighbour by its stem and a function
        (True, "lazy.py", "3 * x", "4 * x"),  # a module named in a text, to be imported later
        (False, "top.py", "Return something.", "Return something else."),
        (False, "top.py", "return x\n", "return -x\n"),  # another function of the same file
        (False, "sub/middle.py", "return 0", "return 1  # nobody calls it"),
        (False, "bottom.py", "return x + 1", "return (x +  1)  # a comment"),
        (False, "island.py", "Y = 1", "Y = 2"),
    ],
)
def test_whatever_is_reached_counts_and_nothing_else(
    package: Package, counts: bool, name: str, old: str, new: str
) -> None:
    before = package.code()
    package.change(name, old, new)
    assert (package.code() != before) is counts


def test_moving_and_merging_modules_changes_nothing(package: Package) -> None:
    before = package.code()
    # The class moves to another room, under the same name ...
    package.write("deep/down.py", FILES["bottom.py"])
    package.change("sub/middle.py", "synthbook_t.bottom", "synthbook_t.deep.down")
    assert package.code() == before
    # ... and the registry is merged into the module that uses it.
    package.change(
        "top.py",
        "from synthbook_t.registry import CHOICES\n",
        textwrap.dedent(FILES["registry.py"]),
    )
    assert package.code() == before


def test_a_name_from_another_package_counts_by_its_origin(package: Package) -> None:
    before = package.code()
    package.change("bottom.py", "class Adder", "from math import floor as cut\n\nclass Adder")
    assert package.code() == before  # nobody names what the import brings
    package.change("bottom.py", "x + 1", "cut(x)")
    before = package.code()
    package.change("bottom.py", "floor", "ceil")
    assert package.code() != before


def test_a_piece_of_python_stands_for_what_it_reaches(package: Package) -> None:
    text = "from synthbook_t.top import run\nprint(run(1))\n"
    before = code_behind(text)
    assert code_behind(text + "# more\n") == before
    assert code_behind(text.replace("run(1)", "run(2)")) != before
    package.change("lazy.py", "3 * x", "4 * x")
    assert code_behind(text) != before


def _counter(threshold: float) -> Callable[[float], bool]:
    return lambda value: value > threshold


def _twice(value: float) -> float:
    return 2 * value


def test_callables_outside_the_package_count_with_what_they_refer_to() -> None:
    names = {"LEVEL": 1}
    exec("def helper(x):\n    return x + LEVEL\ndef f(x):\n    return helper(x)", names)
    before = code_of(names["f"])
    names["LEVEL"] = 2
    assert code_of(names["f"]) != before
    names["LEVEL"] = 1
    assert code_of(names["f"]) == before
    exec("def helper(x):\n    return x - LEVEL", names)
    assert code_of(names["f"]) != before


def test_defaults_of_a_readers_function_count() -> None:
    codes = set()
    for level, more in ((1, 1), (2, 1), (1, 2)):
        exec(f"def f(x, level={level}, *, more={more}):\n    return x", names := {})
        codes.add(code_of(names["f"]))
    assert len(codes) == 3


def test_what_a_function_caught_counts() -> None:
    assert code_of(_counter(0.5)) == code_of(_counter(0.5))
    assert code_of(_counter(0.5)) != code_of(_counter(0.6))
    partial = functools.partial(_twice, value=1.0)
    assert code_of(partial) != code_of(functools.partial(_twice, value=2.0))
    assert code_of(partial) != code_of(_twice) == code_of(functools.cache(_twice))


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_key_does_not_depend_on_order(key: dict) -> None:
    assert key_hash(key) == key_hash(dict(reversed(key.items())))


def test_keys_hold_callables_and_refuse_what_has_no_text() -> None:
    assert key_hash({"count": _counter(1)}) != key_hash({"count": _counter(2)})
    assert key_hash({"count": _counter(1)}) == key_hash({"count": _counter(1)})
    with pytest.raises(TypeError, match="cannot be part of a key"):
        key_hash({"stream": object()} | {"lock": memoryview(b"")})


def test_a_changed_counter_is_not_answered_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path))

    def counted(counter: Callable[[float], float]) -> str:
        def build(folder: Path) -> None:
            (folder / "count").write_text(str(counter(3.0)))

        return (cached("counts", {"counter": counter}, build) / "count").read_text()

    assert counted(_twice) == "6.0"
    assert counted(lambda value: 3 * value) == "9.0"
    assert counted(_twice) == "6.0"
