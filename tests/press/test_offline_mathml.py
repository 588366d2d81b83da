"""The book's math renderer: formulas become MathML, and what cannot become it is an error."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from docutils.utils.math import MathError

from synthbook.record.chapters import chapters, convert


@pytest.fixture(scope="module")
def mathml(load_script):
    return load_script("book/_ext/offline_mathml.py").mathml


def parse(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', ""))


def test_an_accented_letter_keeps_its_subscript_beside_it(mathml):
    tree = parse(mathml(r"\hat\epsilon_\theta", display=False))
    base, subscript = tree.find("msub")
    assert base.tag == "mover"
    assert [child.text for child in base] == ["ϵ", "ˆ"]
    assert subscript.text == "θ"


def test_a_sum_keeps_its_limits(mathml):
    tree = parse(mathml(r"\sum_{i=1}^{N} x_i", display=True))
    assert tree.find("munderover/mo").text == "∑"


@pytest.mark.parametrize("name", ["align", "align*", "split", "gather"])
def test_amsmath_environments_become_rows(mathml, name):
    tree = parse(mathml(rf"\begin{{{name}}} a &= b \\ c &= d \end{{{name}}}", display=True))
    assert len(tree.findall(".//mtr")) == 2


def test_digits_without_braces_are_an_argument_each(mathml):
    short, long = (mathml(rf"\tfrac{half} x", display=True) for half in ("12", "{1}{2}"))
    assert [child.text for child in parse(short).find("mfrac")] == ["1", "2"]
    assert short.partition("<mfrac")[2] == long.partition("<mfrac")[2]


def test_bars_grow_only_when_told_to(mathml):
    def stretchy(tex: str) -> set[str | None]:
        bars = (mo for mo in parse(mathml(tex, display=True)).iter("mo") if mo.text == "‖")
        return {mo.get("stretchy") for mo in bars}

    assert stretchy(r"\lVert x_i \rVert_2") == {"false"}
    assert stretchy(r"\left\lVert x_i \right\rVert_2") == {None}


def test_the_source_is_kept_for_screen_readers(mathml):
    assert parse(mathml("a < b\n > c", display=True)).get("alttext") == "a < b > c"


@pytest.mark.parametrize(
    ("tex", "named"), [(r"\nosuchthing", "nosuchthing"), ("a & b", "well-formed")]
)
def test_what_cannot_be_read_is_an_error_that_says_why(mathml, tex, named):
    with pytest.raises(MathError, match=named):
        mathml(tex, display=False)


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_every_formula_of_a_chapter_can_be_read(mathml, chapter):
    """Minutes before the build would say so."""
    told = "\n\n".join(
        cell.source for cell in convert(chapter).cells if cell.cell_type == "markdown"
    )
    text = re.sub(r"```.*?```|`[^`\n]*`", "", told, flags=re.DOTALL)
    for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$]+?)\$", text, flags=re.DOTALL):
        assert parse(mathml(block or inline, display=bool(block))).tag == "math"
