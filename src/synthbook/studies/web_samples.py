"""The images that come with web-text2image: what seed 0 of the chapters asks it for at mini.

    python -m synthbook.studies.web_samples [FOLDER]

With them the pages that ask it, and the page of the models, sample nothing. They belong to one set
of weights: a model that was trained anew has none. What is asked for is made in a cache of its own,
FOLDER, by `SHEETS` and by runs of the chapters, and then put beside the model; images that it has
already are not made again. A run that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.errors import InputError
from synthbook.generate.prompted import Prompted, asked_for
from synthbook.generate.prompts import FORMS
from synthbook.generate.wordnet import class_words
from synthbook.machine import say
from synthbook.store import KEY, cache
from synthbook.studies import web
from synthbook.studies.model_samples import COLUMNS
from synthbook.sums import fault

CHAPTERS = ("21", "22", "23", "31", "32", "33")
SHEETS = (*((form, scale) for form in FORMS for scale in (2.0, 7.5)),
          ("definition", 1.0), ("definition", 4.0))  # fmt: skip


def draw_sheets(data: str = "caltech10", sheets: Sequence[tuple[str, float]] = SHEETS) -> None:
    """Ask for what the page of the models shows of each class, by form of prompt and guidance."""
    words = class_words(data)
    labels = np.repeat(np.arange(len(words)), COLUMNS).tolist()
    steps = web.SAMPLING["num_inference_steps"]
    for form, scale in sheets:
        asked = Prompted(web.text_to_image, words, form, kept=web.kept_samples())
        asked.sample(labels, seed=0, guidance_scale=scale, num_inference_steps=steps)


def run(chapter: str, folder: Path) -> None:
    """Run a chapter at mini on the CPU, as a process of its own, which takes on our cache.

    Raises:
        InputError: if it does not come to its end.
    """
    output = folder / f"{chapter}.ipynb"
    command = [sys.executable, "-m", "synthbook.cli", "run", chapter]
    if subprocess.run([*command, "-p", "device=cpu", "--output", str(output)]).returncode:
        raise InputError(f"chapter {chapter} stopped, as is said above; start the command again")


def made(folder: Path, identity: Mapping[str, Any], side: int) -> dict[str, np.ndarray]:
    """Return the images that a generator made in a cache, by what was asked for (`asked_for`).

    uint8 [side, side, 3], as it makes them: those brought to another size are left out.

    Raises:
        InputError: if a file is broken.
    """
    found: dict[str, np.ndarray] = {}
    for file in sorted(folder.glob(f"samples/*/{KEY}")):
        told = json.loads(file.read_text(encoding="utf-8"))
        if told.get("by") != identity or "asked" not in told:
            continue
        if why := fault(file.parent):
            raise InputError(f"{file.parent} is broken ({why}); delete it and start again")
        images = np.load(file.with_name("images.npy"))
        if images.shape[1:] != (side, side, 3):
            continue
        how = {name: told[name] for name in ("guidance_scale", "num_inference_steps")}
        starts = [{}] * len(images)
        if "starts" in told:
            pairs = zip(told["starts"], told["strengths"], strict=True)
            starts = [{"start": start, "strength": strength} for start, strength in pairs]
        for one, start, image in zip(told["asked"], starts, images, strict=True):
            found[asked_for(*one, **how, **start)] = image
    return found


def main(folder: Path) -> None:
    """Make what is asked for and is not there, and put it beside the model."""
    os.environ["SYNTHBOOK_CACHE"] = str(folder)
    before, generator = web.kept_samples(), web.text_to_image()
    draw_sheets()
    for chapter in CHAPTERS:
        run(chapter, folder)
    found = made(folder, generator.identity, generator.side)
    if more := len(found.keys() - before.keys()):
        web.keep_samples(before | found, web.kept(web.TEXT2IMAGE))
    say(f"{web.TEXT2IMAGE}: {len(before):,} images were there, and {more:,} have come to them")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]) if sys.argv[1:] else cache() / "web-samples")
    except InputError as error:
        sys.exit(f"error: {error}")
