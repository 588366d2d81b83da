import pytest

from synthbook.errors import InputError
from synthbook.record.published import COLUMNS, papers, published

TINY = """\
paper,table,dataset,split,source,backbone,method,setting,metric,value,unit,note
tiny,T1,Digits,test,real,net,Plain,shots=4;setting=x=1,acc,1.5,percent,"a, b"
tiny,T1,Digits,test,gan,net,Plain,shots=16,acc,2.5,percent,
tiny,T2,NA,test,,net,PG,,fid,3,,
"""


@pytest.fixture
def tiny(book):
    (book / "book/paper/values_tiny.csv").write_text(TINY)


@pytest.mark.usefixtures("tiny")
class TestTiny:
    def test_all_values_with_their_settings(self):
        table = published("tiny")
        assert list(table.columns) == [*COLUMNS, "setting_", "shots"]
        assert table["value"].tolist() == [1.5, 2.5, 3.0]
        assert table["shots"].tolist() == ["4", "16", ""]
        assert table["setting_"].tolist() == ["x=1", "", ""]
        assert table["dataset"].iloc[2] == "NA"  # the text, not a missing value
        assert table["source"].iloc[2] == ""

    def test_a_table_and_selections(self):
        assert published("tiny", "T1")["value"].tolist() == [1.5, 2.5]
        assert published("tiny", shots=16)["value"].tolist() == [2.5]
        assert published("tiny", metric=["acc", "fid"], source="gan")["value"].tolist() == [2.5]
        assert published("tiny", metric="none").empty

    def test_settings_that_no_kept_row_has_are_left_out(self):
        assert list(published("tiny", "T2").columns) == list(COLUMNS)

    @pytest.mark.parametrize(
        ("arguments", "where", "match"),
        [
            (("tinny",), {}, "did you mean 'tiny'.*has tiny"),
            (("tiny", "T9"), {}, "no table 'T9'; it has T1, T2"),
            (("tiny",), {"methods": "x"}, "no column 'methods'; did you mean 'method'"),
        ],
    )
    def test_what_is_not_there_is_answered_with_what_is(self, arguments, where, match):
        with pytest.raises(InputError, match=match):
            published(*arguments, **where)


def test_a_book_without_values(book):
    with pytest.raises(InputError, match="has none"):
        published("gap")


def test_the_books_own_files():
    for paper in papers():
        table = published(paper)
        assert set(table["paper"]) == {paper}
        assert table["value"].notna().all()
        assert table["metric"].all()
        assert not table.duplicated([c for c in table if c not in ("value", "note")]).any(), paper
