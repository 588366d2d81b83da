import html
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from synthbook.errors import InputError
from synthbook.page.tables import comparison, plain


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


def tree(display):
    """Return the table of a display; fails where its HTML is not well formed."""
    text = html.unescape(display.html.replace("&lt;", "‹").replace("&gt;", "›")).replace("&", "+")
    root = ET.fromstring(f"<x>{text.replace('<br>', '<br/>')}</x>")
    return root.find(".//table")


def body(display):
    return [["".join(cell.itertext()) for cell in line] for line in tree(display).find("tbody")]


def headings(display):
    line = tree(display).find("thead")[0]
    return [cell.text for cell in line if cell.text]


def test_the_paper_this_run_and_recorded_runs_side_by_side():
    table = comparison(
        measured("mini", 1, ["plain"]), measured("mini", 5), PRINTED, index=INDEX, columns="test"
    )
    assert headings(table) == ["paper: T1", "this run: mini, 1 seed", "recorded: mini, 5 seeds"]
    assert body(table) == [
        ["plain", "real", "96.3", "90.0", "90.0", "92.0 ± 2.0", "92.0 ± 2.0"],
        ["PG-KL", "real", "·", "·", "·", "82.0 ± 2.0", "82.0 ± 2.0"],
    ]
    assert "<small>± 2.0</small>" in table.html
    assert "· not run, or not in the paper" in table.html
    assert "95 % interval" in table.html


def test_a_heading_may_be_of_a_column_or_of_a_value_that_becomes_one():
    rows = measured("mini", 1, ["plain"])
    names = {"method": "trained by", "gan": "a GAN's"}
    table = comparison(rows, None, None, index=INDEX, columns="test", headings=names)
    last = [cell.text for cell in tree(table).find("thead")[-1]]
    assert last == ["trained by", "trained on", "real", "a GAN's"]


def test_each_metric_has_digits_of_its_own_and_the_last_that_applies_counts():
    rows = pd.concat(
        measured("mini", 1, ["plain"], ["real"], metric=metric, extractor=space)
        for metric in ("fd", "recall")
        for space in ("classifier", "lite0")
    )
    digits = {"": 3, "fd": 0, "classifier": 2}
    table = comparison(rows, None, None, index=["extractor", "metric"], decimals=digits)
    assert [line[-1] for line in body(table)] == ["90.00", "90", "90.00", "90.000"]
    table = comparison(rows, None, None, index=["extractor"], columns="metric", decimals=digits)
    assert body(table) == [["classifier", "90.00", "90.00"], ["lite0", "90", "90.000"]]


def test_a_wild_seed_does_not_move_a_median():
    rows = measured("mini", 5, ["plain"], ["real"])
    rows.loc[rows.seed == 3, "value"] = 1e9
    table = comparison(None, rows, None, index=INDEX, columns="test", median=True)
    assert headings(table) == ["recorded: mini, 5 seeds"]
    assert body(table) == [["plain", "real", "92.0"]]
    assert "Medians over seeds." in table.html
    assert "95 % interval" not in table.html


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
    assert [line[2] for line in body(table)] == ["92.0 ± 2.0", "81.0 (3 seeds)"]
    assert "words" not in tree(table).find("tbody")[1][2].get("class", "")
    assert "Of fewer than 5 seeds the mean alone." in table.html


def test_what_rounds_to_zero_has_no_sign():
    rows = measured("mini", 1, ["plain"], ["real"]).assign(value=-0.001)
    assert [line[2] for line in body(comparison(rows, None, None, index=INDEX))] == ["0.0"]


def test_of_few_seeds_the_mean_stands_alone_and_the_heading_says_how_many():
    table = comparison(None, measured("mini", 2), None, index=INDEX, columns="test")
    assert headings(table) == ["recorded: mini, 2 seeds"]
    assert [line[2] for line in body(table)] == ["90.5", "80.5"]
    assert "95 % interval" not in table.html
    assert "Of fewer than 5 seeds the mean alone." in table.html


def test_notes_say_what_is_there_and_no_more():
    page = comparison(measured("mini", 1), None, None, index=INDEX, columns="test").html
    assert "·" not in page
    assert "interval" not in page
    empty = measured("mini", 1).iloc[:0]
    nothing = comparison(empty, empty, None, index=INDEX, title="Left out", notes=["<More>."])
    said = "This run has none of these rows, and none are recorded."
    assert nothing.text == f"Left out: {said} <More>."
    assert nothing.html == f"<p>Left out: {said} &lt;More&gt;.</p>"


def test_one_column_of_values_has_one_line_of_headings():
    rows = measured("mini", 1, tests=["real"])
    table = comparison(rows, None, None, index=["method"], decimals=0)
    assert body(table) == [["plain", "90"], ["PG-KL", "80"]]
    assert [[cell.text for cell in line] for line in tree(table).find("thead")] == [
        ["method", "this run: mini, 1 seed"]
    ]


@pytest.mark.parametrize(("number", "text"), [(4, "4"), (4.0, "4"), (float("nan"), "")])
def test_numbers_and_the_papers_texts_meet(number, text):
    live = measured("mini", 1, ["plain"], ["real"]).assign(shots=number)
    printed = PRINTED.assign(shots=text)
    assert body(comparison(live, None, printed, index=["method", "shots"])) == [
        ["plain", text, "96.3", "90.0"]
    ]


def test_two_numbers_for_a_cell_and_seed_are_a_fault():
    rows = pd.concat([measured("mini", 1)] * 2)
    with pytest.raises(InputError, match="two this run rows of seed 0 at method plain"):
        comparison(rows, None, None, index=INDEX, columns="test")
    with pytest.raises(InputError, match="two published rows"):
        comparison(None, None, pd.concat([PRINTED] * 2), index=INDEX)


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match="published rows have no column 'train'"):
        comparison(None, None, PRINTED.drop(columns="train"), index=INDEX)


def test_the_html_is_the_same_twice_and_ids_differ_between_tables():
    rows = measured("mini", 2, tests=["real"])
    pages = [comparison(rows, None, PRINTED, index=INDEX, title=title) for title in ("a", "a", "b")]
    assert pages[0].html == pages[1].html
    ids = [tree(page).get("id") for page in pages]
    assert ids[0] == ids[1] != ids[2]


def test_names_are_escaped_and_written_as_in_the_figures():
    rows = measured("mini", 1, ["<b>x</b> & *y*", "pg_kl"], ["real"])
    page = comparison(rows.assign(metric="mean_loss"), None, None, index=["method", "metric"],
                      title="A < B")  # fmt: skip
    assert "&lt;b&gt;x&lt;/b&gt; &amp; *y*</td>" in page.html
    assert "<caption>A &lt; B</caption>" in page.html
    assert body(page)[1][:2] == ["PG-KL", "mean loss"]


def test_any_frame_has_the_same_look():
    frame = pd.DataFrame(
        {"n": [1, 2], "share": [0.5, np.nan], "rate": ["40%", "5%"], "why": ["a", ""]},
        index=["one", "two"],
    )
    table = plain(frame, caption="Shares", decimals=2)
    assert body(table) == [["one", "1", "0.50", "40%", "a"], ["two", "2", "·", "5%", ""]]
    left = ["words" in cell.get("class") for cell in tree(table).find("tbody")[0]]
    assert left == [True, False, False, False, True]  # the name of a line, and words
    ruled = re.findall(r"th\.c(\d) {\s+text-align: left", table.html)
    assert [place for place, on in enumerate(left) if on] == list(map(int, ruled))
    assert (str(table), table._repr_html_()) == ("Shares: 2 x 5", table.html)
    several = frame.assign(k="x").set_index(["k", "n"]).rename_axis([None, "n"])
    assert body(plain(several, decimals=2))[1] == ["x", "2", "·", "5%", ""]


def test_a_table_is_small_and_takes_its_colours_from_the_page():
    """No text may keep a fixed colour on a fixed ground: a dark page would lose it."""
    scales = [measured(scale, 3) for scale in ("mini", "small", "paper")]
    tables = [
        comparison(measured("mini", 3), scales, PRINTED, index=INDEX, columns="test"),
        plain(pd.DataFrame({"a": [1]})),
    ]
    for table in tables:
        assert len(table.html) < 3000
        assert "color" not in table.html
        assert "style=" not in table.html
        assert "<script" not in table.html
        assert table.html.count("<div class=\"book-wide\">") == 1  # what scrolls  # fmt: skip


def test_a_spread_stands_below_its_number_where_there_are_many():
    few, many = (
        comparison(None, measured("mini", 3, tests=map(str, range(n))), None, index=INDEX,
                   columns="test")
        for n in (6, 7)
    )  # fmt: skip
    assert "dense" not in tree(few).get("class")
    assert "dense" in tree(many).get("class")
