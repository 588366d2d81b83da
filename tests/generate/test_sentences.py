"""Sentences of classes: distinct, with the name, seeded, in a file; by a grammar and by a T5."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.cli import main
from synthbook.errors import InputError
from synthbook.generate import sentences
from synthbook.generate.captions import caption
from synthbook.generate.sentences import (
    grammar,
    has_name,
    read,
    sentences_of,
    unknown_words,
    write,
    written,
)
from synthbook.generate.word_to_sentence import Sampling, WordToSentence
from synthbook.generate.wordnet import ClassWords, class_words

CAT = ClassWords("cat", ("cat", "kitty"))
DOG = ClassWords("n02084071", ("dog",))
WORDS = "cat dog a the big red old on in with house lawn tree sits runs sees many one"


@pytest.fixture(scope="module")
def model(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.word_to_sentence(tmp_path_factory.mktemp("t5"), WORDS)


@pytest.fixture(autouse=True)
def _one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- the name, and what is known -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "name", "has"),
    [
        ("two Cats on a lawn", "cat", True), ("a cat.", "cat", True), ("a bobcat", "cat", False),
        ("a category", "cat", False), ("buses", "bus", True), ("", "cat", False),
        ("a sweet-pepper, cut", "sweet pepper", True), ("a pepper", "sweet pepper", False),
        ("a jack-o'-lantern at night", "jack-o'-lantern", True),
    ],
)  # fmt: skip
def test_the_name_counts_as_words_of_its_own(sentence: str, name: str, has: bool) -> None:
    assert has_name(sentence, name) == has


def test_words_that_no_caption_has_are_told() -> None:
    assert unknown_words("a photo of a blimp near lawn, at night", "blimp") == ("night",)
    for label in range(10):
        assert unknown_words(caption("cifar10", label, label)) == ()


# ---- any source ----------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_so_many_are_found_and_fewer_are_the_first_of_more(count: int, seed: int) -> None:
    found = written("cat", grammar, count=count, seed=seed)
    assert len(found) == len({text.lower() for text in found}) == count
    assert found == written("cat", grammar, count=50, seed=seed)[:count]


def test_what_lacks_the_name_or_was_there_is_drawn_again() -> None:
    rounds = [["a cat", "A CAT", "a dog"], ["a dog"], ["the cat", "a cat"], ["one cat"]]
    calls = []

    def draw(name: str, seed: int, number: int) -> list[str]:
        calls.append((name, seed, number))
        return rounds[number]

    assert written("cat", draw, count=3, seed=8) == ("a cat", "the cat", "one cat")
    assert calls == [("cat", 8, k) for k in range(4)]


def test_too_few_are_told_with_class_numbers_and_remedy() -> None:
    said = r"class 'cat': of 1,000 sentences 500 lack the name and 499 .* 1 of 5 .*raise top_k"
    with pytest.raises(InputError, match=said):
        written("cat", lambda *_: ["a cat", "a dog"], count=5)
    with pytest.raises(InputError, match="count is 0"):
        written("cat", grammar, count=0)


# ---- the grammar ---------------------------------------------------------------------------------


def test_the_grammar_speaks_of_any_class_in_known_words_and_in_others() -> None:
    words = (*class_words("caltech10"), ClassWords("x", ("Zaphod's flying toaster",)))
    found = sentences_of(words, count=200, seed=3)
    for one in words:
        texts, name = found[one.name], one.lemmas[0]
        assert len(set(texts)) == 200
        assert all(has_name(text, name) for text in texts)
        known = sum(not unknown_words(text, name) for text in texts) / 200
        assert 0.4 < known < 0.8
        assert max(len(text.split()) for text in texts) < 25  # a text tower reads 77 tokens
    bird = found["bird"]
    said = ["inside", "near", "ground", "small", "with", "from the", "by day", "at night"]
    assert all(any(word in text for text in bird) for word in said)
    assert found != sentences_of(words, count=200, seed=4)
    assert sentences_of(words[2:3], count=200, seed=3)[words[2].name] == found[words[2].name]


def test_a_class_is_not_its_own_company() -> None:
    assert not any("with a dog" in text for text in written("dog", grammar, count=500))


# ---- a T5 ----------------------------------------------------------------------------------------


def test_a_t5_writes_from_name_and_seed_alone_and_is_asked_once(
    model: Path, no_builds: Any
) -> None:
    found = sentences_of([CAT, DOG], model, count=12, seed=1)
    assert {name: len(set(texts)) for name, texts in found.items()} == {"cat": 12, DOG.name: 12}
    assert all(has_name(text, "dog") for text in found[DOG.name])
    state = torch.get_rng_state()
    assert written("dog", WordToSentence(model), count=12, seed=1) == found[DOG.name]
    assert torch.equal(torch.get_rng_state(), state)
    assert written("dog", WordToSentence(model), count=12, seed=2) != found[DOG.name]
    no_builds(sentences)
    assert sentences_of([CAT, DOG], WordToSentence(model), count=12, seed=1) == found
    with pytest.raises(AssertionError, match="built again"):
        sentences_of([CAT, DOG], model, count=12, seed=1, sampling=Sampling(temperature=2.0))


def test_how_it_is_asked_reaches_the_model(model: Path) -> None:
    def texts(**how: Any) -> list[str]:
        return WordToSentence(model, sampling=Sampling(**how))("cat", 0, 0)

    assert len(texts(round=3)) == 3
    assert max(len(text.split()) for text in texts(max_new_tokens=4)) <= 4
    assert len(set(texts(top_k=1))) == 1
    assert texts(top_k=0, top_p=0.01) == texts(top_k=1)
    assert texts(prefix="sentence with: ") != texts()
    for bad in ({"top_p": 0.0}, {"temperature": 0.0}, {"round": 0}):
        with pytest.raises(InputError, match=next(iter(bad))):
            Sampling(**bad)


def test_the_tokenizer_may_lie_elsewhere_and_what_is_missing_is_told(
    model: Path, tmp_path: Path
) -> None:
    for file in ("config.json", "generation_config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((model / file).read_bytes())
    with pytest.raises(InputError, match=r"cannot be loaded .*with tokenizer the place"):
        WordToSentence(tmp_path)
    with pytest.raises(InputError, match=r"its tokenizer has 104 words and the model 21"):
        WordToSentence(model, tokenizer=tmp_path)
    apart = WordToSentence(tmp_path, tokenizer=model)
    assert apart("cat", 0, 0) == WordToSentence(model)("cat", 0, 0)
    (tmp_path / "model.safetensors").unlink()
    torch.save(apart.model.state_dict(), tmp_path / "pytorch_model.bin")
    for other in (tmp_path, tmp_path / "nothing"):  # pickles are not read
        with pytest.raises(InputError, match="cannot be loaded"):
            WordToSentence(other, tokenizer=model)
    with pytest.raises(InputError, match="temperature is of models"):
        sentences_of([CAT], temperature=2.0)


# ---- the file ------------------------------------------------------------------------------------


def test_a_file_is_written_edited_and_added_to(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "own" / "sentences.csv"
    first = sentences_of([CAT], count=3, file=file)
    assert file.read_text().splitlines()[0] == "class,sentence"
    write(file, {"cat": ('a cat, "large", on a lawn', "a kitty")})
    both = sentences_of([DOG, CAT], model, count=4, file=file)
    assert both["cat"] == ('a cat, "large", on a lawn', "a kitty") != first["cat"]
    assert [*both] == [DOG.name, "cat"]
    assert read(file, [CAT, DOG]) == both
    (model / "gone").mkdir(exist_ok=True)
    assert sentences_of([CAT], model / "gone", file=file)["cat"] == both["cat"]  # is not loaded


CLASSES = [ClassWords(f"class {k}", (f"thing{k}",)) for k in range(6)]


class Stops:
    """Writes sentences, but none with the name of the fifth class."""

    device, identity = "cpu", {"by": "it"}

    def __init__(self, *_: Any, stops: bool = True) -> None:
        self.stops, self.asked = stops, []

    def __call__(self, name: str, seed: int, number: int) -> list[str]:
        self.asked.append(name)
        return ["nothing"] * 500 if self.stops and name == "thing4" else [f"a {name} {number}"]


def test_what_is_written_before_an_error_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentences, "WordToSentence", Stops)
    for file in (tmp_path / "sentences.csv", None):
        with pytest.raises(InputError, match="class 'thing4': of 1,000 sentences"):
            sentences_of(CLASSES, Stops(), count=2, file=file)
        again = Stops(stops=False)
        assert [*sentences_of(CLASSES, again, count=2, file=file)] == [w.name for w in CLASSES]
        assert [*dict.fromkeys(again.asked)] == ["thing4", "thing5"]


def test_what_the_model_obeys_is_in_its_identity(model: Path, tmp_path: Path) -> None:
    before = WordToSentence(model).identity
    copy = shutil.copytree(model, tmp_path / "copy")
    assert WordToSentence(copy).identity == before
    file = copy / "generation_config.json"
    told = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(told | {"repetition_penalty": 1.5}))
    assert WordToSentence(copy).identity != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class,sentence\ncat,a dog\n", "sentence 'a dog' does not have the name of its class"),
        ("class,sentence\ncat,a cat\ncat,A cat\n", "'a cat' of class 'cat' twice"),
        ("class,sentence\ncats,a cat\n", "no sentence of class 'cat'; did you mean 'cats'"),
        ("class,sentence\ncat,a cat, red\n", "line 2: 'cat,a cat,red' is no class and sentence"),
        ("class,sentence\ncat,\n", "is no class and sentence"),
        ("cat,a cat\n", "its first line is class,sentence"),
        ('class,sentence\ncat,"a cat\n', "cannot be read .*save it as CSV"),
        (None, "cannot be read .No such file"),
    ],
)
def test_a_file_with_a_fault_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read(tmp_path / "s.csv", [CAT])


@given(st.lists(st.text(max_size=30), max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_text_is_read_again_or_refused(tmp_path_factory, texts: list[str]) -> None:
    file = tmp_path_factory.mktemp("any") / "s.csv"
    wanted = list({f"a cat {text}".lower(): f"a cat {text}" for text in texts}.values())
    try:
        write(file, {"cat": wanted})
    except UnicodeEncodeError:
        return
    try:
        found = read(file, [CAT])["cat"]
    except InputError:
        return
    assert list(found) == [" ".join(text.split()) for text in wanted]


def test_the_command_writes_a_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert main(["sentences", "cifar10", "--out", str(out), "--count", "5"]) == 0
    assert "50 sentences of 10 classes, such as '" in capsys.readouterr().out
    classes = tmp_path / "classes.txt"
    classes.write_text("cat\ndog\n")
    how = ["--model", str(model), "--count", "3", "--top-k", "0", "--device", "cpu"]
    assert main(["sentences", str(classes), "--out", str(tmp_path / "b.csv"), *how]) == 0
    assert len(read(tmp_path / "b.csv", [CAT])["cat"]) == 3
