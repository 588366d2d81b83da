"""The rows of a run, and where they come from."""

import numpy as np
import pytest

from synthbook.errors import InputError
from synthbook.record.parameters import check_values
from synthbook.record.rows import Run, read

WHAT = dict(method="plain", train="real", test="gan", dataset="digits", metric="accuracy")


def run_of(**values):
    return Run(check_values("90_tiny", values))


def test_a_row_is_on_disk_as_soon_as_it_is_added(book):
    run = run_of()
    row = run.add(**WHAT, value=np.float32(0.5), seed=np.int64(3), shots=np.int64(4), on=True)
    assert read(book / "_build/rows/90_tiny.jsonl") == [row] == run.rows()
    assert (row.chapter, row.scale, row.value, row.seed) == ("90_tiny", "mini", 0.5, 3)
    assert row.setting == {"on": True, "shots": 4}
    assert type(row.setting["shots"]) is int
    assert row.provenance.parameters == run.parameters.hash
    assert run.frame()["value"].tolist() == [0.5]


def test_the_parameter_rows_says_where(book, tmp_path):
    path = tmp_path / "deep" / "mine.jsonl"
    run = run_of(rows=str(path))
    run.add(**WHAT, value=1, seed=0)
    assert len(read(path)) == 1
    assert not (book / "_build").exists()


def test_a_run_shows_only_its_own_rows(book):
    run_of().add(**WHAT, value=1, seed=0)
    second = run_of()
    second.add(**WHAT, value=2, seed=0)
    assert second.frame()["value"].tolist() == [2.0]
    assert len(read(second.path)) == 2


def test_the_scale_of_a_run(book):
    assert run_of(epochs=20).scale == "small"
    assert run_of(epochs=7).scale == "custom"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"value": float("nan")}, "accuracy = nan of method 'plain'"),
        ({"value": "high"}, "value: "),
        ({"seed": -1}, "seed: "),
        ({"scale": "mini"}, "setting"),
        ({"weight": [1]}, "setting"),
    ],
)
def test_a_bad_row_is_refused_and_not_written(book, changes, match):
    run = run_of()
    with pytest.raises(InputError, match=match):
        run.add(**(WHAT | {"value": 1.0, "seed": 0} | changes))
    assert not run.path.exists()


def test_the_same_number_twice_is_a_fault(book):
    run = run_of()
    run.add(**WHAT, value=1, seed=0)
    with pytest.raises(InputError, match="added twice"):
        run.add(**WHAT, value=2, seed=0)
    run.add(**WHAT, value=2, seed=0, shots=4)


def test_seconds_are_given_or_measured(book):
    run = run_of()
    assert run.add(**WHAT, value=1, seed=0, seconds=12.5).provenance.seconds == 12.5
    assert 0 <= run.add(**WHAT, value=1, seed=1).provenance.seconds < 5
