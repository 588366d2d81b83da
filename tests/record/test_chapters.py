import nbformat
import pytest

from synthbook.errors import InputError
from synthbook.record import chapters
from synthbook.record.chapters import cells, declared, find, scale_of, scale_values
from synthbook.record.parameters import check_values
from synthbook.record.vocabulary import help_of


def test_a_chapter_is_found_by_number_name_or_path(book):
    for name in ("90", "90_tiny", "notebooks/90_tiny.ipynb"):
        assert find(name).name == "90_tiny"
    with pytest.raises(InputError, match="no chapter '90_tinny'; did you mean '90_tiny'"):
        find("90_tinny")
    assert find("90").title == "A chapter"
    assert find("90").scales == ("mini", "small")
    assert [chapter.name for chapter in chapters.chapters()] == ["90_tiny"]


# reading


@pytest.mark.parametrize("chapter", chapters.chapters(), ids=lambda chapter: chapter.name)
def test_cells_are_those_that_jupytext_reads(chapter):
    wanted = [cell for cell in chapters.convert(chapter).cells if cell.source]
    read = cells(chapter.script)
    for ours, theirs in zip(read, wanted, strict=True):
        assert (ours.kind, list(ours.tags)) == (theirs.cell_type, theirs.metadata.get("tags", []))
        assert ours.source == theirs.source or ours.kind == "markdown"
    named = [found[1] for c in read if (found := chapters.CHECKS.search(c.source))]
    assert named == [chapter.name]


def test_declared_reads_the_cell(book):
    fields = {field.name: field for field in declared("90_tiny")}
    assert list(fields) == [
        "seeds", "first_seed", "methods", "sources", "epochs", "weight", "rows",
    ]  # fmt: skip
    assert fields["seeds"] == ("seeds", "int", 1, "number of seeds")
    assert fields["methods"].default == ["plain", "PG-KL"]
    assert fields["methods"].type == "list[str]"
    assert fields["first_seed"].help == help_of("90_tiny", "first_seed")
    assert declared("notebooks/90_tiny.ipynb") == declared("90") == list(fields.values())


@pytest.mark.parametrize(
    ("cell", "match"),
    [
        ("seeds = 3", "'seeds = 3'"),
        ("seeds: int", "'seeds: int'"),
        ("seeds: int = f()", "write it so"),
        ("print(3)", "write it so"),
        ("seeds: dict = {}", "has the type dict"),
    ],
)
def test_declared_refuses_other_lines(book, cell, match):
    find("90").script.write_text(f'# %% tags=["parameters"]\n{cell}\n')
    with pytest.raises(InputError, match=match):
        declared("90")


def test_a_help_text_may_hold_any_sign(book):
    cell = '"""Which."""\nname: str = "ü#"  # größer # als\n'
    find("90").script.write_text(f'# %% tags=["parameters"]\n{cell}')
    assert declared("90") == [("name", "str", "ü#", "größer # als")]


def test_declared_needs_the_tag(book):
    find("90").script.write_text("# %%\nseeds: int = 1\n")
    with pytest.raises(InputError, match="tagged 'parameters'"):
        declared("90")


# scales


def scale(book, **values):
    return scale_of("90_tiny", check_values("90_tiny", values))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "mini"),
        (dict(seeds=7, first_seed=3, sources="gan", methods="x", rows="r"), "mini"),  # free names
        (dict(epochs=20), "small"),
        (dict(epochs=20, seeds=5), "small"),
        (dict(epochs=4), "custom"),
        (dict(sources="real,mine=."), "custom"),
        (dict(epochs=20, weight=0.1), "custom"),
    ],
)
def test_a_run_has_the_scale_whose_values_it_has(book, values, name):
    assert scale(book, **values) == name


def test_every_scale_is_its_own_under_any_free_values(book):
    (book / "params/90_tiny/paper.yaml").write_text("epochs: 200\nweight: 1\n")
    for name in find("90").scales:
        assert scale(book, **scale_values("90_tiny", name)) == name


@pytest.mark.parametrize(
    ("chapter", "values", "at", "scale"),
    [
        ("41", {"priors": ["supervised", "self-supervised"]}, "mini", "mini"),
        ("41", {"priors": []}, "paper", "paper"),
        ("41", {"priors": ["supervised=timm:vgg16.tv_in1k"]}, "mini", "custom"),
        ("41", {"priors": ["supervised=timm:vgg16.tv_in1k"]}, "paper", "paper"),
        ("41", {"priors": ["supervised"]}, "paper", "custom"),
        ("43", {"study_priors": ["own"]}, "paper", "paper"),
        ("43", {"study_priors": ["own", "supervised=timm:vgg16.tv_in1k"]}, "mini", "custom"),
        ("44", {"priors": ["places=timm:resnet50=mine"]}, "mini", "custom"),
    ],
)
def test_a_prior_with_another_network_is_of_no_scale(chapter, values, at, scale):
    """Rows hold its name alone, and would pass for the recorded ones."""
    assert check_values(chapter, values, at).scale == scale


def test_a_chapter_that_is_not_in_the_book_has_only_custom_runs(book):
    assert scale_of("99_copy", check_values("90_tiny", {})) == "custom"


def test_scale_values(book):
    assert scale_values("90_tiny", "mini") == {}
    assert scale_values("90_tiny", "small") == {"epochs": 20, "seeds": 5}
    with pytest.raises(InputError, match=r"no scale 'smal'; did you mean 'small'.*mini, small"):
        scale_values("90_tiny", "smal")
    (book / "params/90_tiny/empty.yaml").write_text("# nothing\n")
    assert scale_values("90_tiny", "empty") == {}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("epochs: [\n", "is no YAML"),
        ("- epochs\n", "name: value"),
        ("epochs: !!python/object/apply:os.getcwd []\n", "is no YAML"),
    ],
)
def test_bad_files_are_named(book, text, match):
    (book / "params/90_tiny/bad.yaml").write_text(text)
    with pytest.raises(InputError, match=match):
        scale_values("90_tiny", "bad")


# converting


def test_conversion_is_the_same_every_time_with_valid_unique_ids(book):
    script = find("90").script
    script.write_text(script.read_text() + "\n# %%\ntotal\n\n# %%\ntotal\n")
    once, twice = (nbformat.writes(chapters.convert(find("90"))) for _ in range(2))
    assert once == twice
    notebook = nbformat.reads(once, as_version=4)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids) == 6
    assert notebook.cells[1].metadata.tags == ["parameters"]
    assert "jupytext_version" not in once


def test_an_edit_of_one_cell_changes_one_id(book):
    before = [cell.id for cell in chapters.convert(find("90")).cells]
    script = find("90").script
    script.write_text(script.read_text().replace("# # A chapter", "# # Another chapter"))
    after = [cell.id for cell in chapters.convert(find("90")).cells]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
