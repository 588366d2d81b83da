"""Every printed figure of the papers' tables is made by a run, or has a reason why by none."""

from __future__ import annotations

import csv
from collections import defaultdict

import pytest
import yaml

from synthbook.errors import InputError
from synthbook.record.chapters import scale_values
from synthbook.record.coverage import HEADS, Figure, coverage, figures
from synthbook.record.parameters import check_values
from synthbook.store import root

TABLES = [(paper, table) for paper, held in coverage().items() for table in held.tables]
GRIDS = yaml.safe_load((root() / "workflow/grids.yaml").read_text())
FREE = (
    "methods", "parts", "sources", "variants", "targets", "policies", "counts", "shares",
    "more_data", "priors", "study_targets", "stylegan2_targets", "study_priors", "forms",
    "guidance_scales", "sizes", "transfer_sets", "encoders", "real_counts", "shots", "starts",
    "agnostic_sizes", "label_spaces", "real_weights", "real_networks",
)  # fmt: skip


def printed(paper: str) -> list[dict[str, str]]:
    with (root() / "book/paper" / f"values_{paper}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_table_of_the_two_studies_is_laid_out() -> None:
    for paper, held in coverage().items():
        tables = {row["table"] for row in printed(paper) if row["metric"] not in HEADS}
        assert {table for table in tables if table[0] in "TA"} == set(held.tables)


@pytest.mark.parametrize(("paper", "table"), TABLES)
def test_every_figure_is_made_or_has_a_reason(paper: str, table: str) -> None:
    found = figures(paper, table)
    rows = [r for r in printed(paper) if r["table"] == table and r["metric"] not in HEADS]
    assert len(found) == len(rows)
    assert len({(figure.row, figure.column) for figure in found}) == len(found)
    for figure in found:
        if not figure.cannot:
            is_in_the_run_of_the_paper(figure)


def is_in_the_run_of_the_paper(figure: Figure) -> None:
    """Check that the paper's scale of a chapter, or its grid, names what a figure needs."""
    chapter, needs = figure.chapter, defaultdict(list)
    for name, value in figure.needs:
        needs[name].append(value)
    assert all(len(held) == 1 for name, held in needs.items() if name != "sources")
    # Something that says which line it is, and something that says which images.
    assert {"methods", "variants", "policies", "counts", "sources", "parts", "forms"} & set(needs)
    assert {"data", "targets", "sources", "parts"} & set(needs)
    values = scale_values(chapter, "paper") | GRIDS[chapter]["paper"]["fixed"]
    run = check_values(chapter, values)
    assert [text for text in figure.lacks(run) if not text.startswith("data=")] == []
    try:
        only = {name: held if name in FREE else held[0] for name, held in needs.items()}
        check_values(chapter, only, "paper")
    except InputError as error:
        pytest.fail(f"{figure.row}, {figure.column} needs what chapter {chapter} has not: {error}")


def test_all_lines_of_table_4_and_all_columns_that_data_can_be_had_for() -> None:
    made = [figure for figure in figures("gap", "T4") if not figure.cannot]
    assert len({figure.row for figure in made}) == 14
    assert {figure.column for figure in made} == {
        "CIFAR-10, Real", "CIFAR-10, LSGM", "CIFAR-10, SG-XL",
    }  # fmt: skip
    needed = {dict(figure.needs)["methods"] for figure in made}
    assert len(needed) == 13  # plain training on real, and on generated images, is one method


def test_a_figure_says_what_a_run_lacks() -> None:
    figure = next(f for f in figures("gap", "T4") if f.row == "ADDA" and not f.cannot)
    assert figure.lacks(check_values(figure.chapter, {}, "mini")) == [
        "data=cifar10", "methods=ADDA",
    ]  # fmt: skip
    assert figure.lacks({}) != []


def test_every_rule_is_of_some_figure() -> None:
    for paper, held in coverage().items():
        rows = printed(paper)
        for row in rows:
            row |= dict(pair.split("=", 1) for pair in row["setting"].split(";") if pair)
        for rule in held.rules:
            assert any(rule.applies(row) for row in rows), rule
            assert rule.needs or rule.instead or rule.cannot or rule.chapter
