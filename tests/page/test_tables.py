import re

import pandas as pd
import pytest

from synthbook.claims.decide import Part, Verdict
from synthbook.errors import InputError
from synthbook.page.tables import comparison, parts_table, verdict_table


def measured(scale, seeds, methods=("plain", "PG-KL"), tests=("real", "gan"), **more):
    return pd.DataFrame(
        [
            {"scale": scale, "method": m, "train": "real", "test": t, "seed": s,
             "value": 80.0 + s + 10 * (m == "plain")} | more
            for m in methods for t in tests for s in range(seeds)
        ]
    )  # fmt: skip


PRINTED = pd.DataFrame(
    [{"table": "T1", "method": "plain", "train": "real", "test": "real", "value": 96.34}]
)
INDEX = ["method", "train"]
GAP_01 = {"id": "gap-01", "paper": "gap", "scale": "mini"}


def body(table):
    page = table.as_raw_html()
    lines = re.findall(r"<tr>(.*?)</tr>", page.split("<tbody")[1], flags=re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", line, flags=re.DOTALL) for line in lines]


def headings(table):
    return re.findall(r'gt_column_spanner">(.*?)</span>', table.as_raw_html())


def test_three_sources_side_by_side():
    table = comparison(
        measured("mini", 1, ["plain"]), measured("mini", 3), PRINTED, index=INDEX, columns="test"
    )
    assert headings(table) == ["this run: mini, 1 seed", "recorded: mini, 3 seeds", "paper: T1"]
    assert body(table) == [
        ["plain", "real", "90.0", "90.0", "91.0 ± 1.0", "91.0 ± 1.0", "96.3"],
        ["PG-KL", "real", "·", "·", "81.0 ± 1.0", "81.0 ± 1.0", "·"],
    ]
    page = table.as_raw_html()
    assert "· not run, or not in the paper" in page
    assert "95 % interval" in page


def test_two_scales_have_headings_of_their_own():
    live = measured("custom", 1)
    both = pd.concat([measured("mini", 3), measured("small", 5)])
    for recorded in (both, [measured("mini", 3), measured("small", 5)]):
        table = comparison(live, recorded, None, index=INDEX, columns="test")
        assert headings(table) == [
            "this run: custom, 1 seed", "recorded: mini, 3 seeds", "recorded: small, 5 seeds",
        ]  # fmt: skip


def test_lines_stand_in_the_order_that_is_asked_for():
    live, recorded = measured("mini", 1, ["plain"]), measured("mini", 3)
    order = ["PG-KL", "absent", "plain"]
    table = comparison(live, recorded, None, index=INDEX, columns="test", order=order)
    assert [line[0] for line in body(table)] == ["PG-KL", "plain"]
    partly = comparison(live, recorded, None, index=INDEX, columns="test", order=["PG-KL"])
    assert body(partly) == body(table)


def test_differing_numbers_of_seeds_are_said():
    recorded = pd.concat([measured("mini", 5, ["plain"]), measured("mini", 3, ["PG-KL"])])
    table = comparison(None, recorded, None, index=INDEX, columns="test")
    assert headings(table) == ["recorded: mini, 3–5 seeds"]


def test_without_gaps_or_intervals_there_are_no_notes():
    page = comparison(measured("mini", 1), None, None, index=INDEX, columns="test").as_raw_html()
    assert "·" not in page
    assert "interval" not in page


def test_nothing_run_yet_is_a_table_that_says_so():
    empty = measured("mini", 1).iloc[:0]
    page = comparison(empty, empty, None, index=INDEX).as_raw_html()
    assert "Nothing was run yet" in page


def test_one_column_of_values():
    rows = measured("mini", 1, tests=["real"])
    assert body(comparison(rows, None, None, index=["method"], decimals=0)) == [
        ["plain", "90"], ["PG-KL", "80"],
    ]  # fmt: skip


def test_numbers_and_the_papers_texts_meet():
    live = measured("mini", 1, ["plain"], ["real"]).assign(shots=4)
    printed = PRINTED.assign(shots="4")
    assert body(comparison(live, None, printed, index=["method", "shots"])) == [
        ["plain", "4", "90.0", "96.3"]
    ]


def test_rows_without_a_setting_are_one_line():
    rows = measured("mini", 3, ["plain"], ["real"]).assign(weight=float("nan"))
    assert len(body(comparison(rows, None, None, index=["method", "weight"]))) == 1


def test_two_numbers_for_a_cell_and_seed_are_a_fault():
    rows = pd.concat([measured("mini", 1)] * 2)
    with pytest.raises(InputError, match="two this run rows of seed 0 at method plain"):
        comparison(rows, None, None, index=INDEX, columns="test")
    with pytest.raises(InputError, match="two published values"):
        comparison(None, None, pd.concat([PRINTED] * 2), index=INDEX)


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match="published rows have no column 'train'"):
        comparison(None, None, PRINTED.drop(columns="train"), index=INDEX)


def test_the_html_is_the_same_twice_and_ids_differ_between_tables():
    def one(title):
        table = comparison(measured("mini", 2), None, PRINTED, index=INDEX, title=title)
        return table.as_raw_html()

    rows = measured("mini", 2, tests=["real"])
    pages = [
        comparison(rows, None, PRINTED, index=INDEX, title=title).as_raw_html()
        for title in ("a", "a", "b")
    ]
    assert pages[0] == pages[1]
    ids = [re.search(r'<div id="([^"]+)"', page)[1] for page in pages]
    assert ids[0] == ids[1] != ids[2]


def test_names_are_escaped_and_written_as_in_the_figures():
    rows = measured("mini", 1, ["<b>x</b> & *y*", "pg_kl"], ["real"])
    found = body(comparison(rows, None, None, index=["method"]))
    assert found[0][0] == "&lt;b&gt;x&lt;/b&gt; &amp; *y*"
    assert found[1][0] == "PG-KL"


def test_the_page_gives_the_colours():
    """No text may keep a fixed colour on a fixed ground: a dark page would lose it."""
    tables = [
        comparison(measured("mini", 3), None, PRINTED, index=INDEX, columns="test"),
        verdict_table([Verdict("holds", **GAP_01)], statements={}),
    ]
    for table in tables:
        page = table.as_raw_html()
        name = re.search(r'<div id="([^"]+)"', page)[1]
        style = re.search(r"<style>(.*?)</style>", page, flags=re.DOTALL)[1]
        rule = f"#{name} .gt_table, #{name} .gt_table * "
        assert rule + "{color: inherit !important; background-color: transparent !important;}" in (
            style
        )
        assert not re.search(r"(?<!-)color: #\w+ !important", style)
        assert not re.search(r'<t[dhr][^>]*style="[^"]*color', page)
        assert "overflow-x:auto" in page.replace(" ", "")
        assert "<script" not in page


def test_verdicts_say_what_why_and_how_sure():
    found = [
        Verdict("holds", 3.2, 1.1, 5.0, 5, **GAP_01),
        Verdict("not run", reason="no rows of RG", **GAP_01 | {"id": "gap-02"}),
        Verdict("fails", -1.0, -2.0, -0.5, 3, **GAP_01 | {"id": "gap-03", "scale": "small"}),
    ]
    table = verdict_table(found, statements={"gap-01": "A < B"}, title="Claims")
    lines = body(table)
    assert lines[0] == ["gap-01", "A &lt; B", "mini", "✓ holds", "+3.2 [+1.1, +5]", "5", ""]
    assert lines[1][3:] == ["· not run", "·", "·", "no rows of RG"]
    assert lines[2][3] == "✗ fails"


def test_parts_that_hold_can_be_left_out():
    parts = (
        Part("holds", 2.0, 1.0, 3.0, text="A - B > 0", cell="G=gan"),
        Part("fails", -2.0, -3.0, -1.0, text="A - B > 0", cell="G=diffusion"),
        Part("undecided", 0.5, -1.0, 2.0, text="A - C > 0", cell=""),
    )
    found = [Verdict("fails", parts=parts, **GAP_01)]
    assert len(body(parts_table(found))) == 3
    left = body(parts_table(found, holding=False))
    assert [line[4].split()[-1] for line in left] == ["fails", "undecided"]
