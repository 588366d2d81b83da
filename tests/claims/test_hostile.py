"""Files of claims that are no such files are refused in a sentence, and nothing in them is HTML."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthbook.claims.catalogue import _load
from synthbook.claims.decide import Condition, Part, Verdict
from synthbook.claims.language import Check, Claim
from synthbook.errors import InputError
from synthbook.page.claims_page import claims_display, claims_table
from synthbook.page.verdicts import parts, says

CHECK = {
    "where": {"test": "real", "metric": "top1_accuracy", "chapter": "12_not_mutual"},
    "let": {"a": {"method": "plain", "train": "real"}, "b": {"method": "plain", "train": "gan"}},
    "require": ["a > b"],
    "evidence": "none",
}
CLAIM = {
    "id": "gap-99", "where": "Tab. 1", "statement": "s", "test": "t", "quantities": ["q"],
    "paper_evidence": "p", "exceptions": "", "kind": "main", "scale_free": True, "check": CHECK,
}  # fmt: skip


def load(tmp_path: Path, text: str | bytes) -> Any:
    path = tmp_path / "claims_gap.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return _load(path, 0, Claim)


def test_a_good_file_is_read(tmp_path):
    (claim,) = load(tmp_path, yaml.safe_dump([CLAIM]))
    assert claim.id == "gap-99"


@pytest.mark.parametrize(
    "text",
    ["", "3", "text", "a: 1", "[1, 2]", "[[", "[" * 3000, "- 2024-13-45", "\x00", b"\xff\xfe\xff",
     "9" * 5000, "!!python/object/apply:os.system [true]", "- &a [*a]", "? [1]\n: 2"],
)  # fmt: skip
def test_what_is_no_list_of_claims_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"claims_gap\.yml'.*mend it there$") as refusal:
        load(tmp_path, text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"margin": 10**400}, "check.margin"),
        ({"require": [f"a > {10**400}"]}, "no finite number"),
        ({"require": [{"that": "a > b", "least": 10**400}]}, "least"),
        ({"let": {**CHECK["let"], "a": {"method": 10**400, "train": "real"}}}, "12_not_mutual"),
        ({"each": {"x": [f"v{k}" for k in range(20_000)]}}, "20,000 combinations"),
        ({"each": {x: [f"v{k}" for k in range(300)] for x in "xyz"}}, "27,000,000 combinations"),
        ({"require": ["(" * 500 + "a" + ")" * 500 + " > b"]}, "it is no expression"),
    ],
)
def test_numbers_and_combinations_have_an_end(tmp_path, changes, why):
    start = time.process_time()
    with pytest.raises(InputError, match=why):
        load(tmp_path, json.dumps([CLAIM | {"check": CHECK | changes}]))
    assert time.process_time() - start < 5


EVIL = "<script>alert(1)</script>&"


def test_no_text_of_a_claim_or_of_its_rows_is_html():
    names = {"where": EVIL, "statement": EVIL, "test": EVIL, "paper_evidence": EVIL,
             "exceptions": EVIL, "note": EVIL, "miniature": EVIL, "quantities": [EVIL]}  # fmt: skip
    fields = {"chapter": EVIL, "method": "{x}", "train": EVIL, "test": EVIL, "metric": EVIL}
    check = Check.model_construct(
        where={EVIL: EVIL}, let={EVIL: fields}, each={"x": [EVIL, EVIL], EVIL: [EVIL]}, cells=(),
        premise=[], require=[], trend=[], beside=[], include=[], evidence=EVIL, over="all",
    )  # fmt: skip
    claim = Claim.model_construct(**CLAIM | {"id": "gap-01"} | names | {"check": check})
    part = Part(verdict="holds", inequality=EVIL, cell=EVIL, because=EVIL, decides=False,
                reason=EVIL, unit=EVIL, effect=1.0, low=0.5, high=1.5, seeds=5)  # fmt: skip
    verdict = Verdict(
        id="gap-01", paper="gap", scale=EVIL, verdict="holds", effect=1.0, low=0.5, high=1.5,
        seeds=5, unit="points", reason=EVIL, inequality=EVIL, cell=EVIL, votes=EVIL, parts=(part,),
        premises=(Condition(EVIL, {EVIL: EVIL}, False, EVIL),),
    )  # fmt: skip
    made = [claims_display([claim], [verdict]).html, parts([verdict]), says(verdict)]
    made.append(claims_table([claim], [verdict], [EVIL], EVIL).html)
    for text in made:
        assert "&lt;script&gt;" in text
        assert "<script" not in text, text[text.index("<script") - 200 :][:300]
