"""What comes before a run: texts become values, and the check is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbook.errors import InputError
from synthbook.press.rehearsal import (
    check_replaceable,
    checking_cell,
    rehearse,
    value_of,
)
from synthbook.record.chapters import chapters, declared
from synthbook.record.parameters import check_values
from synthbook.record.vocabulary import kind_of
from synthbook.settings import schema_of

CHAPTER = """\
# %% tags=["parameters"]
seeds: int = 1  # number of seeds

# %%
from synthbook.errors import InputError
from synthbook.record.parameters import parameters

print("seeds", seeds)
p = parameters("90_tiny", globals())
if p.seeds == 6:
    raise InputError("seeds = 6 is unlucky; give 5")
if p.seeds == 7:
    raise KeyError(p.seeds)

# %%
print("the experiment")
"""


@pytest.fixture
def script(new_book) -> Path:
    return new_book({"notebooks/90_tiny.py": CHAPTER}) / "notebooks/90_tiny.py"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("2024", "str", "2024"),
        ("2024", "int", 2024),
        ("on", "str", "on"),
        ("~", "str", "~"),
        ("a: b", "str", "a: b"),
        ("[x", "str", "[x"),
        ('"x"', "str", "x"),
        ("", "str", ""),
        ("1e-3", "float", 0.001),
        ("5", "float", 5),
        ("fast", "float", "fast"),
        ("true", "bool", True),
        ("[real, gan]", "list[str]", ["real", "gan"]),
        ("real,gan", "list[str]", "real,gan"),
        ("real,mine=photos #2", "list[str]", "real,mine=photos #2"),
        ("channels: 32", "list[str]", "channels: 32"),
        ("2024", "list[str]", "2024"),
        ("yes", "list[str]", "yes"),
        ("#a", "list[str]", "#a"),
        ("", "list[str]", ""),
        ("16,32", "list[int]", "16,32"),
    ],
)
def test_a_text_on_the_command_line_is_read_by_the_type_of_its_parameter(
    text: str, kind: str, value: object
) -> None:
    read = value_of(text, kind)
    assert read == value
    assert type(read) is type(value)


def test_every_list_that_an_error_gives_as_an_example_is_taken_as_it_is_typed() -> None:
    seen = 0
    for chapter in chapters():
        for field in declared(chapter.name):
            schema = schema_of(kind_of(chapter.name, field.name, field.type))
            for example in schema.get("examples", []):
                if isinstance(example, list):
                    value = value_of(",".join(map(str, example)), field.type)
                    assert check_values(chapter.name, {field.name: value})[field.name]
                    seen += 1
    assert seen > 100


def test_a_rehearsal_runs_the_checking_cell_alone_with_the_values_of_the_run(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rehearse(script, {"seeds": 3}) == checking_cell(script, {"seeds": 3}) == "seeds 3\n"
    assert rehearse(script, {}) == "seeds 1\n"
    assert capsys.readouterr() == ("", "")


def test_a_rehearsal_refuses_bad_input_and_leaves_other_faults_to_the_kernel(script: Path) -> None:
    with pytest.raises(InputError, match="give 5"):
        rehearse(script, {"seeds": 6})
    assert rehearse(script, {"seeds": 7}) == ""
    with pytest.raises(KeyError):
        checking_cell(script, {"seeds": 7})


@pytest.mark.parametrize(
    ("record", "refused"),
    [
        (None, "out.ipynb"),
        ("{}", "out.json"),
        ("[1, 2]", "out.json"),
        ("no JSON", "out.json"),
        ('{"chapter": "90_tiny", "provenance": {}}', ""),
    ],
)
def test_a_notebook_is_replaced_only_beside_the_record_of_a_run(
    tmp_path: Path, record: str | None, refused: str
) -> None:
    output, saved = tmp_path / "out.ipynb", tmp_path / "out.json"
    check_replaceable(output, saved)  # neither is there
    output.touch()
    if record is not None:
        saved.write_text(record)
    if not refused:
        return check_replaceable(output, saved)
    with pytest.raises(InputError, match=f"{refused}', which no run wrote"):
        check_replaceable(output, saved)
