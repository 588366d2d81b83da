import pytest

from synthbook.errors import InputError
from synthbook.record.parameters import check_values
from synthbook.record.scales import FREE_NAMES, notebook_path, scale_of, scale_values, scales


def scale(book, **values):
    return scale_of("90_tiny", check_values(book / "notebooks/90_tiny.py", values))


def test_defaults_are_mini_and_free_names_change_nothing(book):
    assert scale(book) == "mini"
    assert scale(book, seeds=7, first_seed=3, sources="gan", methods="x", rows="r") == "mini"


def test_a_file_is_a_scale(book):
    assert scales("90_tiny") == ["mini", "small"]
    assert scale(book, epochs=20) == "small"
    assert scale(book, epochs=20, seeds=5) == "small"


def test_anything_else_is_custom(book):
    assert scale(book, epochs=4) == "custom"
    assert scale(book, epochs=20, weight=0.1) == "custom"


def test_every_scale_is_its_own_under_any_free_values(book):
    (book / "params/90_tiny/paper.yaml").write_text("epochs: 200\nweight: 1\n")
    for name in scales("90_tiny"):
        assert scale(book, **scale_values("90_tiny", name)) == name


def test_a_chapter_that_is_not_in_the_book_has_only_custom_runs(book):
    p = check_values(book / "notebooks/90_tiny.py", {})
    assert scale_of("99_copy", p) == "custom"


def test_scale_values(book):
    assert scale_values("90_tiny", "mini") == {}
    assert scale_values("90_tiny", "small") == {"epochs": 20, "seeds": 5}
    (book / "params/90_tiny/empty.yaml").write_text("# nothing\n")
    assert scale_values("90_tiny", "empty") == {}


def test_unknown_scales_and_chapters(book):
    with pytest.raises(InputError, match=r"no scale 'smal'; did you mean 'small'.*mini, small"):
        scale_values("90_tiny", "smal")
    with pytest.raises(InputError, match="no chapter '90_tinny'; did you mean '90_tiny'"):
        notebook_path("90_tinny")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("epoch: 20\n", r"bad\.yaml.*unknown parameter 'epoch'.*did you mean 'epochs'"),
        ("epochs: many\n", r"bad\.yaml.*not a whole number"),
        ("epochs: [\n", "is no YAML"),
        ("- epochs\n", "name: value"),
        ("epochs: !!python/object/apply:os.getcwd []\n", "is no YAML"),
    ],
)
def test_bad_files_are_named(book, text, match):
    (book / "params/90_tiny/bad.yaml").write_text(text)
    with pytest.raises(InputError, match=match):
        scale_values("90_tiny", "bad")


def test_free_names_say_what_the_grid_may_vary():
    assert {"seeds", "first_seed", "generators", "sources", "methods", "device", "threads",
            "data_root", "rows", "download"} <= FREE_NAMES  # fmt: skip
    assert not {"epochs", "data", "backbone", "image_size"} & FREE_NAMES
