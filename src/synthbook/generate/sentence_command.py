"""What ``synthbook sentences`` does: a list of classes in, a file of sentences about them out."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from synthbook.generate.prompts import classes_of
from synthbook.generate.sentences import GRAMMAR, sentences_of
from synthbook.generate.word_to_sentence import Sampling


def run(given: Namespace) -> None:
    """Write the sentences that the file lacks, and say what is in it."""
    words = classes_of(given.classes)
    options: dict[str, Any] = {}
    if given.model != GRAMMAR:
        from synthbook.machine import prepare

        names = ("prefix", "temperature", "top_k", "top_p")
        sampling = Sampling(**{name: getattr(given, name) for name in names})
        options = {"sampling": sampling, "device": prepare(given.device)}
        options |= {"tokenizer": given.tokenizer, "revision": given.revision}
    how = {"count": given.count, "seed": given.seed, "file": given.out}
    found = sentences_of(words, given.model, **how, **options)
    first = found[words[0].name][0]
    number = sum(map(len, found.values()))
    print(f"{given.out}: {number:,} sentences of {len(found):,} classes, such as '{first}'")
