"""YAML from outside: what is read is what is written, and nothing grows while it is read."""

from __future__ import annotations

import json
import math
import re
import time
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synthbook.errors import InputError
from synthbook.store import root
from synthbook.texts import read_yaml

WORDS = st.text(st.characters(codec="ascii", categories=["L"]))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner),
    max_leaves=10,
)  # fmt: skip


class _Whole(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


@given(PLAIN)
def test_what_yaml_and_json_write_comes_back(value):
    assert read_yaml(yaml.dump(value, Dumper=_Whole)) == value
    if "e" not in (text := json.dumps(value, ensure_ascii=False)):
        assert read_yaml(text) == value


@pytest.mark.parametrize(
    "text", ["1:30", "2024-13-45", "2024-01-31", "010", "0x10", "0b1", "１", "1e"]
)
def test_what_looks_like_a_number_in_yaml_only_is_a_text(text):
    assert read_yaml(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("1_000", 1000), ("-7", -7), ("1e-3", 0.001), ("2.5E3", 2500.0), (".5", 0.5), ("on", True),
     (".inf", math.inf), ("0", 0), ("+3", 3), ("1.", 1.0), ("~", None)],
)  # fmt: skip
def test_numbers_and_words(text, value):
    assert read_yaml(text) == value
    assert type(read_yaml(text)) is type(value)


BOMB = "a: &a [x, x]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "it has an alias"),
        ("9" * 5000, "a number of 5,000 digits"),
        ("1." + "9" * 5000, "a number of 5,002 digits"),
        ("[" * 5000, "more than 20 lists in one another"),
        ("[" * 100_001, "100,001 signs, more than 100,000"),
        ("{[}", "expected"),
        ("a: b: c", "mapping values are not allowed"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("\x00", "special characters are not allowed"),
        ("? [a]\n: b", "unhashable"),
        ("!!int x", "invalid literal"),
        ("!!timestamp x", "attribute"),
        ("!!set 3", "expected a mapping"),
    ],
)
def test_what_is_no_plain_value_is_refused_at_once(text, why):
    start = time.process_time()
    with pytest.raises(InputError, match=re.escape(why)) as refusal:
        read_yaml(text)
    assert time.process_time() - start < 2
    assert len(str(refusal.value)) <= 300
    assert "\n" not in str(refusal.value)


@given(st.text(st.characters(codec="utf-8")) | st.text("[]{}:,&*!|>'\"%@`#-?0123456789.eE~ \n"))
def test_any_text_is_read_or_refused(text):
    with suppress(InputError):
        json.dumps(read_yaml(text), default=repr)


def test_the_books_own_files_mean_what_they_meant():
    for path in (root() / "params").glob("*/*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert read_yaml(text) == yaml.safe_load(text), path
