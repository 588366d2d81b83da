import json
import math
import pickle
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbook.errors import InputError
from synthbook.record.kinds import TYPES
from synthbook.record.parameters import check_values, parameters
from synthbook.record.vocabulary import VOCABULARY


def check(values, types, chapter="00_none"):
    return parameters(chapter, {"__annotations__": types, **values})


def one(name, kind, value, chapter="00_none"):
    return check({name: value}, {name: kind}, chapter)[name]


def fault(name, kind, value, chapter="00_none"):
    with pytest.raises(InputError) as caught:
        one(name, kind, value, chapter)
    return str(caught.value)


def kernel_namespace(**more):
    """What IPython and papermill put into globals() around the parameters cell."""
    code = (
        "from __future__ import annotations\n"
        "import os, json as js\n"
        "seeds: int = 3  # number of seeds\n"
        "epochs: int = 20\n"
        "sources: list[str] = ['real']\n"
        "def helper(): ...\n"
        "class Thing: ...\n"
    )
    namespace = {
        "__name__": "__main__", "__builtin__": __builtins__, "_ih": ["", code], "_oh": {},
        "_dh": ["/"], "In": ["", code], "Out": {}, "get_ipython": lambda: None, "exit": object(),
        "quit": object(), "open": open, "_": "", "__": "", "_i": code, "_i1": code,
    }  # fmt: skip
    exec(code, namespace)
    namespace |= more  # the injected-parameters cell has no annotations
    return namespace


def test_a_papermill_namespace_gives_its_parameters_and_nothing_else():
    p = parameters("00_none", kernel_namespace(seeds=5))
    assert p.as_dict() == {"seeds": 5, "epochs": 20, "sources": ["real"]}
    assert p.seeds == 5
    assert list(p.seeds_list) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("unknown", "words"),
    [
        ({"sede": 5}, r"unknown parameter 'sede' .value 5.; did you mean 'seeds'"),
        ({"zzz": True}, r"'zzz' .value True.*epochs, seeds, sources"),
    ],
)
def test_an_unknown_parameter_stops_the_run_and_the_nearest_or_all_are_named(unknown, words):
    with pytest.raises(InputError, match=words):
        parameters("00_none", kernel_namespace(**unknown))


def test_data_are_called_targets_where_a_chapter_takes_several():
    with pytest.raises(InputError, match="did you mean 'targets'"):
        check_values("21_zero_shot", {"data": "my_photos"})


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ({}, True),
        ({"real_counts": [100, 64, 32, 16, 4, 1]}, True),
        ({"real_counts": [1, 100]}, False),
        ({"real_counts": [1, 100], "epochs": 3}, True),  # of no scale
    ],
)
def test_a_list_is_whole_where_it_is_that_of_the_scale(given, whole):
    assert check_values("21_zero_shot", given).whole("real_counts") == whole


@pytest.mark.parametrize(
    ("targets", "scale", "holds"),
    [
        ([], "mini", True),
        (["china"], "mini", True),  # one more, as its grid has more
        (["china"], "small", False),
        (["caltech101_original:Faces_easy"], "small", False),
        (["caltech101_original:Faces_easy"], "paper", True),  # of no scale: image_size
    ],
)
def test_a_list_holds_its_scales_where_nothing_of_that_is_left_out(targets, scale, holds):
    usual = ["caltech3:Faces_easy"] if scale == "mini" else []
    given = {"targets": usual + targets} | ({"image_size": 64} if scale == "paper" else {})
    assert check_values("52_transfer_to_few_images", given, scale).holds("targets") == holds


@pytest.mark.parametrize("name", ["__class__", "In", "Out", "_ih", "_1", "open", "__name__"])
def test_names_of_the_kernel_that_papermill_gives_values_are_unknown_too(name):
    namespace = kernel_namespace(**{name: 5})
    if name != "_ih":
        namespace["_ih"] = [*namespace["_ih"], f"# Parameters\nseeds = 5\n{name} = 5\n", ""]
    with pytest.raises(InputError, match=f"unknown parameter '{name}' .value 5"):
        parameters("00_none", namespace)


def test_the_cell_can_run_again_among_the_notebooks_own_variables():
    namespace = kernel_namespace()
    first = namespace["p"] = parameters("00_none", namespace)
    namespace |= {"accuracy": 0.5, "seeds": 2}
    exec("table: dict = {}", namespace)
    assert parameters("00_none", namespace).seeds == 2
    assert first.seeds == 3
    namespace["seeds"] = 0
    with pytest.raises(InputError, match="seeds = 0"):
        parameters("00_none", namespace)


def test_lazy_annotations_of_python_3_14():
    assert (
        parameters("00_none", {"__annotate__": lambda form: {"seeds": int}, "seeds": 2}).seeds == 2
    )


def test_the_sentence_names_value_type_range_and_remedy():
    assert fault("seeds", "int", "many") == (
        "seeds = 'many' is not a whole number; give one from 1 to 1000, for example -p seeds 5"
    )


def test_all_faults_are_found():
    with pytest.raises(InputError) as caught:
        check(
            {"seeds": 0, "epochs": "x", "device": "tpu", "shots": 5, "sede": 1},
            dict(seeds=int, epochs=int, device=str, shots=int),
        )
    text = str(caught.value)
    assert text.startswith("unknown parameter 'sede'")
    assert text.endswith("(also wrong: seeds, epochs, device)")


def test_the_error_has_no_traceback_in_a_notebook():
    error = InputError("a sentence")
    assert error._render_traceback_() == ["InputError: a sentence"]


@pytest.mark.parametrize(
    ("name", "kind", "values", "words"),
    [
        (
            "seeds", "int", [True, 1.0, "1", None, [1], math.nan, math.inf, np.int64(3)],
            "is not a whole number",
        ),
        ("learning_rate", "float", [True, "0.5", None], "is not a number"),
        ("anything", "float", [math.nan, math.inf, -math.inf], "is not finite"),
        (
            "flip", "bool", [1, 0, "yes", None, "1"],
            "is not true or false; give one, for example -p flip False",
        ),
        (
            "layers", "list[int]", ["1,b", "[1, 2.5]", "[1", [True], 2.5, "[" * 500, {"a": 1}],
            "is not a list of whole numbers",
        ),
        (
            "lambdas", "list[float]", ["1,b", [True], "[1", {"a": 1}, "1..5"],
            "is not a list of numbers",
        ),
        ("lambdas", "list[float]", [[math.nan], [math.inf], "nan", [-1.0], [1, 1]], "lambdas"),
        ("sources", "list[str]", [[], "", "rael", ["gan", "gan"], [1]], "sources"),
        ("sources", "list[str]", [["difusion"]], "did you mean 'diffusion'?"),
        ("sources", "list[str]", ["mine=", "mine=./nowhere"], "does not exist"),
            ("sources", "list[str]", [f"a={'x' * 5000}", "a=~nobodyxyz/x"], "is no path ("),
            ("data", "str", ["x" * 5000, "~nobodyxyz/x", "a\0b"], "is no path ("),
            ("data_root", "str", ["x" * 5000, "~nobodyxyz", "\ud800"], "is no path ("),
            ("rows", "str", ["\ud800", "a\0b", "x" * 5000, "~nobodyxyz/x"], "is no path ("),
            ("augment", "str", ["\ud800"], "is no text that can be written"),
            ("targets", "list[str]", ["x" * 5000, "~nobodyxyz"], "is no path ("),
        (
            "sources", "list[str]", ["real=.", "gan=.", "real2=.", "a b=.", "=.", "a+b=."],
            "cannot name images of your own",
        ),
        ("sources", "list[str]", ["a=.,a=./."], "two sources are called 'a'"),
        ("rows", "str", ["/", "/dev/null/x"], "cannot be written"),
        ("seeds", "int", [10**5000, [10**5000]], "seeds = a number of thousands of digits is"),
        ("data", "str", [10**5000], "data = a number of thousands of digits is not a text"),
        ("data", "str", [12], "-r data 12"),  # papermill's option for a text of digits
    ],
)  # fmt: skip
def test_other_values_are_refused_in_a_sentence(name, kind, values, words):
    for value in values:
        said = fault(name, kind, value)
        assert words in said
        assert len(said) < 12_000


def test_a_whole_number_is_a_number():
    value = one("guidance_scale", "float", 2)
    assert value == 2.0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("given_value", "value"),
    [("true", True), ("True", True), ("false", False), (" FALSE ", False), (True, True)],
)
def test_bools_from_the_command_line(given_value, value):
    assert one("flip", bool, given_value) is value


@pytest.mark.parametrize(
    ("name", "kind", "held", "forms"),
    [
        (
            "sources", list[str], ("real", "gan"),
            [["real", "gan"], "real,gan", "real, gan", '["real","gan"]', "['real', 'gan']"],
        ),
        ("layers", "list[int]", (1, 2), [[1, 2], "1,2", "[1, 2]", (1, 2)]),
        ("layers", "list[int]", (4,), [4, "4"]),
        (
            "lambdas", "list[float]", (1.0, 2.5),
            [[1, 2.5], "1,2.5", "[1, 2.5]", (1.0, 2.5), "1e0, +2.5"],
        ),
        ("lambdas", "list[float]", (0.5,), [0.5, "0.5"]),
    ],
)  # fmt: skip
def test_lists_as_papermill_passes_them(name, kind, held, forms):
    for form in forms:
        found = one(name, kind, form)
        assert found == held
        assert {*map(type, found)} == {*map(type, held)}


@pytest.mark.parametrize(
    ("name", "kind", "good", "bad"),
    [
        ("seeds", "int", [1, 1000], [0, -1, 1001]),
        ("batch_size", "int", [2], [1, 0]),  # narrower than a recipe's
        ("learning_rate", "float", [1e-9, 1.0], [0.0, -0.1, 1.01]),
        ("confidence", "float", [0.0, 0.99], [1.0, -0.1]),
        ("image_size", "int", [0, 8, 1024], [1, 7, 1025, -1]),
        ("device", "str", ["auto", "cpu", "cuda", "cuda:1", "mps"], ["gpu", "cuda:", "CPU", ""]),
        ("backbone", "str", ["small_cnn"], ["", " "]),
    ],
)
def test_shared_ranges(name, kind, good, bad):
    for value in good:
        assert one(name, kind, value) == value
    for value in bad:
        assert fault(name, kind, value).startswith(f"{name} = {value!r}")


def test_a_source_of_ones_own_is_an_entry_with_a_path(tmp_path):
    sources = ("real", f"mine={tmp_path}", f"other-1={tmp_path}")
    assert one("sources", "list[str]", json.dumps(sources)) == sources


def test_a_range_of_the_chapters_own_goes_before_the_shared_one():
    chapter = "16_real_guidance"
    assert one("shots", "int", 0, chapter) == 0
    assert "a whole number 0 or from 1 to" in fault("shots", "int", -1, chapter)
    assert "shots = 0 is not allowed; give a whole number from 1" in fault("shots", "int", 0)


@pytest.mark.parametrize("name", ["hash", "items", "as_dict", "seeds_list", "chapter", "_x"])
def test_names_that_parameters_needs_itself(name):
    assert f"no parameter can be called '{name}'" in fault(name, int, 1)


def test_parameters_are_read_only():
    p = check({"seeds": 2}, {"seeds": int})
    with pytest.raises(InputError, match="parameters cell"):
        p.seeds = 3
    with pytest.raises(AttributeError):
        del p.seeds
    with pytest.raises(TypeError):
        p["seeds"] = 3
    with pytest.raises(AttributeError, match="did you mean 'seeds'"):
        p.seed  # noqa: B018
    assert not hasattr(p, "epochs")


def test_another_process_gets_the_same():
    p = check({"seeds": 1, "parts": ["a"]}, {"seeds": int, "parts": list[str]})
    there = pickle.loads(pickle.dumps(p))
    assert (there, there.chapter, there.hash) == (p, p.chapter, p.hash)
    assert there.parts == ("a",)


def test_the_hash_depends_on_values_and_not_on_order_or_places():
    types = {"seeds": int, "epochs": int, "rows": str}
    base = check({"seeds": 1, "epochs": 2, "rows": ""}, types).hash
    assert check({"rows": "x", "epochs": 2, "seeds": 1}, dict(reversed(types.items()))).hash == base
    assert check({"seeds": 2, "epochs": 2, "rows": ""}, types).hash != base
    more = {"seeds": 1, "epochs": 2, "rows": "", "workers": 4}
    assert check(more, types | {"workers": int}).hash == base
    newer = {"seeds": 1, "epochs": 2, "rows": "", "real_networks": []}
    assert check(newer, types | {"real_networks": list[str]}).hash == base
    given = newer | {"real_networks": ["a=timm:resnet18"]}
    assert check(given, types | {"real_networks": list[str]}).hash != base
    assert base == "ca1a1553b3e9da07"  # recorded rows carry hashes: they never change


def test_seeds_follow_the_first():
    p = check({"seeds": 3, "first_seed": 7}, {"seeds": int, "first_seed": int})
    assert list(p.seeds_list) == [7, 8, 9]


names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: name not in VOCABULARY and not hasattr(Mapping, name)
)
values_by_type = {
    "int": st.integers(),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "str": st.text(),
    "list[str]": st.lists(st.text()),
    "list[int]": st.lists(st.integers(-(10**9), 10**9)),
    "list[float]": st.lists(st.floats(allow_nan=False, allow_infinity=False)),
}
assert set(values_by_type) == set(TYPES)


@given(
    st.dictionaries(
        names, st.sampled_from(sorted(TYPES)).flatmap(
            lambda kind: st.tuples(st.just(kind), values_by_type[kind])
        ), max_size=5,
    )
)  # fmt: skip
def test_every_well_typed_value_comes_back_unchanged(drawn):
    types = {name: kind for name, (kind, _) in drawn.items()}
    values = {name: value for name, (_, value) in drawn.items()}
    assert check(values, types).as_dict() == values


@given(names, st.sampled_from(sorted(TYPES)), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
))  # fmt: skip
def test_any_value_is_typed_or_refused_in_a_sentence(name, kind, value):
    try:
        found = check({name: value}, {name: kind}).as_dict()[name]
    except InputError as error:
        assert str(error).startswith(f"{name} = ")  # noqa: PT017
    else:
        expected = {"int": int, "float": float, "bool": bool, "str": str}.get(kind, list)
        assert type(found) is expected


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1))
def test_json_and_comma_texts_mean_the_same_list(members):
    assert one("names", "list[str]", json.dumps(members)) == tuple(members)
    assert one("names", "list[str]", ",".join(members)) == tuple(members)


@pytest.mark.parametrize("chapter", ["90_tiny", "90", "notebooks/90_tiny.ipynb"])
def test_check_values_is_the_checking_cell(book, chapter):
    p = check_values(chapter, {"seeds": 4, "sources": "gan"})
    assert (p.seeds, p.sources, p.epochs, p.chapter) == (4, ("gan",), 3, "90_tiny")
    for wrong, match in [
        ({"sede": 5}, "did you mean 'seeds'"),
        ({"seeds": "x"}, "not a whole number"),
        ({"weight": 2.5}, "from 0 to 2"),  # the chapter's own range
    ]:
        with pytest.raises(InputError, match=match):
            check_values(chapter, wrong)


def test_values_lie_over_those_of_a_scale(book):
    p = check_values("90_tiny", {"seeds": 4}, "small")
    assert (p.seeds, p.epochs, p.weight) == (4, 20, 0.5)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("epoch: 20\n", r"90_tiny/bad\.yaml: unknown parameter 'epoch'.*did you mean 'epochs'"),
        ("epochs: many\n", r"90_tiny/bad\.yaml: epochs = 'many' is not a whole number"),
    ],
)
def test_a_fault_of_a_scales_file_names_the_file(book, text, match):
    (book / "params/90_tiny/bad.yaml").write_text(text)
    with pytest.raises(InputError, match=match):
        check_values("90_tiny", {}, "bad")


def test_imports_are_cheap():
    code = (
        "import sys, synthbook.record.parameters, synthbook.record.rows\n"
        "import synthbook.page.figures, synthbook.page.tables\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'scipy', 'great_tables', 'seaborn', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_papermill_stops_at_the_checking_cell(book):
    from papermill import PapermillExecutionError, execute_notebook

    path = str(book / "notebooks/90_tiny.ipynb")
    with pytest.raises(PapermillExecutionError) as caught:
        execute_notebook(path, str(book / "out.ipynb"), {"sede": 5}, progress_bar=False)
    assert "did you mean 'seeds'?" in str(caught.value)
    execute_notebook(path, str(book / "out.ipynb"), {"seeds": 2}, progress_bar=False)
