"""Smaller tables look as before: what is left out matched nothing."""

from __future__ import annotations

import re

import pandas as pd
from great_tables import GT

from synthbook.page.slim import slim_table


def table(**more: str) -> str:
    made = GT(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), id="t")
    if more:
        made = made.tab_header(title="A title").tab_source_note("A note.")
        made = made.tab_spanner(label="both", columns=["a", "b"])
    return made.opt_css("#t .gt_row {vertical-align: top;}").as_raw_html()


def without_style(html: str) -> str:
    return re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)


def test_only_rules_that_match_stay() -> None:
    html = table()
    slim = slim_table(html)
    assert len(slim) < len(html) / 2
    assert "gt_stub_row_group" in html
    assert "gt_stub_row_group" not in slim
    for kept in (".gt_row {padding-top: 8px", ".gt_col_heading {", "#t .gt_row {vertical-align"):
        assert kept in " ".join(slim.split())


def test_the_table_itself_is_unchanged() -> None:
    html = table(title="yes")
    slim = slim_table(html)
    assert " ".join(without_style(slim).replace("><", "> <").split()) == " ".join(
        without_style(html).replace("><", "> <").split()
    )
    for name in ("gt_title", "gt_sourcenote", "gt_column_spanner"):
        assert f".{name} {{" in slim


def test_every_rule_for_a_used_class_is_there() -> None:
    html = table(title="yes")
    slim = slim_table(html)
    used = set(re.findall(r'class="([^"]*)"', without_style(html)))
    classes = {name for names in used for name in names.split()}
    for name in classes:
        rule = rf"\.{name} \{{([^}}]*)\}}"
        before = [" ".join(text.split()) for text in re.findall(rule, html)]
        assert [" ".join(text.split()) for text in re.findall(rule, slim)] == before


def test_headings_are_listed_where_one_line_of_them_is_not_enough() -> None:
    assert "headers=" in slim_table(table(title="yes"))
    assert "headers=" not in slim_table(table())
    assert slim_table(table()).count('scope="col"') == 2


def test_it_is_idempotent_and_leaves_other_html_alone() -> None:
    slim = slim_table(table())
    assert slim_table(slim) == slim
    for other in ("<p>no table</p>", "<style>p {color: red}</style><p>styled</p>", ""):
        assert slim_table(other) == other
