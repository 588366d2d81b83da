"""The images that come with web-text2image: found in a cache as they are asked for later."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate import prompted
from synthbook.generate.cards import CARD
from synthbook.generate.prompted import Prompted
from synthbook.generate.shots import shots_of
from synthbook.generate.text import Made
from synthbook.generate.wordnet import class_words
from synthbook.studies import web, web_samples

WORDS = class_words("caltech10")[:2]
TOLD = {word.name: (f"a {word.name}", f"two of {word.name}") for word in WORDS}
HOW = {"guidance_scale": 2.0, "num_inference_steps": 12}


class Quick:
    """Images from prompt and seed alone, at once."""

    device, side = "cpu", 8

    def __init__(self, name: str = "quick") -> None:
        self.identity, self.name = {"pipeline": name, "safety_checker": False}, name

    def images(self, prompts: list[str], seeds: list[int], **how: Any) -> Made:
        draws = [
            np.random.default_rng([seed, len(text)])
            for text, seed in zip(prompts, seeds, strict=True)
        ]
        images = [draw.integers(0, 256, (8, 8, 3), np.uint8) for draw in draws]
        return Made(np.stack(images), np.zeros(len(images), np.int64))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a model without images, and its generator and cache in place of ours."""
    folder = tmp_path / "models" / web.PLACE / web.TEXT2IMAGE
    folder.mkdir(parents=True)
    (folder / CARD).write_text(json.dumps({"format": 1, "files": {}}))
    monkeypatch.setattr(web, "places", lambda: (tmp_path / "models", tmp_path / "other"))
    monkeypatch.setattr(web, "text_to_image", Quick)
    monkeypatch.setattr(prompted, "images_from", from_starts)
    web._samples.cache_clear()
    yield folder
    web._samples.cache_clear()


def from_starts(
    generator: Quick, prompts: Any, seeds: Any, pixels: Any, *_: Any, **how: Any
) -> Made:
    made = generator.images(prompts, seeds).images
    return Made(made ^ pixels, np.zeros(len(made), np.int64))


def shots() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    return ImageSet(pixels, [0, 0, 1, 1], tuple(word.name for word in WORDS), "real")


def ask(generator: Quick | None, kept: dict | None = None, **how: Any) -> list[np.ndarray]:
    """Return what three kinds of chapters ask for: by a form, by sentences, and from shots."""
    every = {"image_size": 8, "kept": kept, **how}
    return [
        Prompted(generator, WORDS, "name", **every).sample([0, 0, 1], seed=0, **HOW),
        Prompted(generator, WORDS, sentences=TOLD, **every).sample([0, 1, 1], seed=0, **HOW),
        Prompted(generator, WORDS, sentences=TOLD, shots=shots_of(shots()), **every).sample(
            [0, 1, 1], seed=0, guidance_scale=7.5, num_inference_steps=12
        ),
    ]


def test_what_was_made_in_a_cache_is_found_by_what_is_asked_for_later(
    model: Path, tmp_path: Path, no_builds: Any
) -> None:
    wanted = ask(Quick())
    ask(Quick("another"))
    ask(Quick(), channels=1)  # brought to another form
    found = web_samples.made(tmp_path / "cache", Quick().identity, 8)
    assert len(found) == 9
    web.keep_samples(found, model)
    no_builds(prompted)
    for one, again in zip(wanted, ask(None, web.kept_samples()), strict=True):
        np.testing.assert_array_equal(again, one)
    for file in (tmp_path / "cache").glob("samples/*/images.npy"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="is broken"):
        web_samples.made(tmp_path / "cache", Quick().identity, 8)


def test_the_command_adds_what_chapters_ask_for_and_loses_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    before = {f"{0:016x}": np.zeros((8, 8, 3), np.uint8)}
    web.keep_samples(before, model)
    ran: list[list[str]] = []

    class Done:
        returncode = 0

    def process(command: list[str]) -> Done:
        assert os.environ["SYNTHBOOK_CACHE"] == str(tmp_path / "aside")
        ran.append(command)
        ask(Quick(), web.kept_samples())
        return Done()

    monkeypatch.setattr(web_samples.subprocess, "run", process)
    monkeypatch.setattr(web_samples, "COLUMNS", 2)
    web_samples.main(tmp_path / "aside")
    assert [command[4] for command in ran] == [*web_samples.CHAPTERS]
    assert all("device=cpu" in command for command in ran)
    web._samples.cache_clear()
    first = web.kept_samples()  # of a folder that is as its card says
    sheets = len(web_samples.SHEETS) * len(class_words("caltech10")) * 2
    assert len(first) == 1 + sheets + 6  # what is asked for by name is on a sheet
    assert before.keys() < first.keys()
    monkeypatch.setattr(web_samples.subprocess, "run", lambda _: Done())
    web_samples.main(tmp_path / "again")
    assert "and 0 have come" in capfd.readouterr().err
    Done.returncode = 1
    with pytest.raises(InputError, match="chapter 21 stopped"):
        web_samples.main(tmp_path / "again")
