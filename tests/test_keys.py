"""What a key stands for: settings, and the source of all that can change a number, alone."""

from __future__ import annotations

import functools
import importlib
import os
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook import sources
from synthbook.errors import InputError
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
        sources.file_of.cache_clear()
        sources._IMPORTED.clear()

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.base / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def code(self, module: str = "synthbook_t.top", name: str = "run") -> str:
        return code_of(getattr(importlib.import_module(module), name))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    made = Package(tmp_path / "synthbook_t")
    monkeypatch.setattr(sources, "PACKAGE", made.base)
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


def _made(text: str, name: str = "f", **names: Any) -> Any:
    """Return what a cell of a reader's notebook makes."""
    names |= {"__name__": "__main__"}
    exec(textwrap.dedent(text), names)
    return names[name]


SCALED = """
import functools
def scaled(by):
    def around(function):
        @functools.wraps(function)
        def scaled(x):
            return by * function(x)
        return scaled
    return around

@scaled(LEVEL)
def f(x):
    return x
"""
CLASS = """
class Base:
    LEVEL = {}
class A(Base):
    LIMIT = {}
    def __init__(self, t):
        self.t = t
    @staticmethod
    def more(x):
        return x + {}
    @property
    def half(self):
        return self.t / {}
    def keep(self, x):
        return self.more(x) > self.t
def f(x):
    return A({}).keep(x)
"""
IMPORTING = """
def f(x):
    from synthbook_helpers import scale
    return scale(x)
"""


@pytest.mark.parametrize(
    "pair",
    [
        [_made(f"f = lambda x: any('{n}' in k for k in x)") for n in ("conv", "fc")],
        [_made(f"f = lambda x: 'it is {n}'") for n in ("a", "b")],
        [_made(CLASS.format(1, 1, 1, 1, 1), "A")(t).keep for t in (0.5, 0.9)],
        *(
            [_made(CLASS.format(*(n if k == at else 1 for k in range(5)))) for n in (1, 2)]
            for at in range(5)
        ),
        [_made(SCALED, LEVEL=level) for level in (2, 3)],
        [_made("f = lambda x: x @ w", w=np.array([1, last])) for last in (2, 3)],
        [_made("f = lambda x: x @ w", w=torch.tensor([1, last])) for last in (2, 3)],
        [_made("f = lambda x: w", w={"t": t, "m": np.zeros(3)}) for t in (0.5, 0.9)],
        [_made("f = lambda x: w", w={(0, 1): t}) for t in (0.5, 0.9)],
        [_made("f = lambda x: w.match(x)", w=re.compile(t)) for t in ("a", "b")],
        [_made("f = lambda x: w(x)", w=w) for w in (np.add, np.subtract)],
        [
            _made("f = lambda x: a(x) - b(x)", a=one, b=two)
            for one, two in ((_twice, _counter(1)), (_counter(1), _twice))
        ],
    ],
)  # fmt: skip
def test_readers_code_that_differs_has_another_code(pair: list[Any]) -> None:
    first, second = map(code_of, pair)
    assert first != second
    assert [first, second] == [*map(code_of, pair)]


def test_a_network_counts_by_its_weights() -> None:
    networks = [torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout()) for _ in range(2)]
    first, second = (_made("f = lambda x: w(x)", w=network) for network in networks)
    assert code_of(first) != code_of(second)
    networks[1].load_state_dict(networks[0].state_dict())
    before = code_of(first)
    assert before == code_of(second)
    networks[1].eval()
    assert code_of(second) != before


def test_what_is_asked_of_a_readers_module_counts_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = []
    for text in ("def scale(x):\n    return x\n", "def scale(x):\n    return 2 * x\n"):
        for more in ("", "OTHER = 1\n"):
            helpers = types.ModuleType("synthbook_helpers")
            exec(text + more, vars(helpers))
            monkeypatch.setitem(sys.modules, "synthbook_helpers", helpers)
            asks = _made("f = lambda x: helpers.scale(x)", helpers=helpers)
            codes.append((code_of(asks), code_of(_made(IMPORTING))))
    assert codes[0] == codes[1] != codes[2] == codes[3]
    assert codes[0][1] != codes[2][1]


def test_a_readers_function_counts_with_what_it_imports_of_the_package(package: Package) -> None:
    asks = "def f(x):\n    from synthbook_t import lazy\n    return lazy.f(x)"
    before = code_of(_made(asks))
    assert code_of(_made(asks)) == before
    package.change("lazy.py", "3 * x", "4 * x")
    assert code_of(_made(asks)) != before


def test_functions_that_refer_to_themselves_and_each_other_have_a_code() -> None:
    text = "def f(x):\n    return g(x)\ndef g(x):\n    return f(x) + {}\nSTEPS = [f, g]"
    codes = [code_of(_made(text.format(n) + "\nf.steps = STEPS")) for n in (1, 2, 1)]
    assert codes[0] == codes[2] != codes[1]


def test_a_set_in_a_function_has_the_same_code_in_every_process() -> None:
    told = "exec('f = lambda x: x in {\"cat\", \"dog\", \"owl\"}', n := {'__name__': '__main__'})"
    program = f"from synthbook.keys import code_of; {told}; print(code_of(n['f']))"
    codes = {
        subprocess.check_output(
            [sys.executable, "-c", program], text=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )
        for seed in "12"
    }
    assert len(codes) == 1


def test_what_cannot_be_told_is_refused_by_its_name(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        for held in (stream, {"in": [stream]}):
            words = r"'f' cannot be told .* refers to 'log', a .*; hand it in as an argument, or"
            with pytest.raises(InputError, match=words):
                code_of(_made("def f(x):\n    print(x, file=log)", log=held))
    log = types.SimpleNamespace(fingerprint=lambda: "one")
    assert code_of(_made("def f(x):\n    print(x, file=log)", log=log))


def test_code_that_runs_counts_as_it_was_imported(package: Package) -> None:
    run = importlib.import_module("synthbook_t.top").run
    before = code_of(run)
    lazy, middle = package.base / "lazy.py", package.base / "sub/middle.py"
    middle.write_text(middle.read_text().replace("FACTOR = 2", "FACTOR = 3"))
    assert code_of(run) == before  # it is imported, and the old code runs
    lazy.write_text("def f(x):\n    return 4 * x\n")
    changed = code_of(run)
    assert changed != before  # it is not: the new code will run
    assert importlib.import_module("synthbook_t.lazy").f(1) == 4
    lazy.write_text("def f(x):\n    return 5 * x\n")
    assert code_of(run) == changed


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
