"""What chapters 21 to 23 share: classes that are known by name, photographs of them, and images.

He et al., Is synthetic data from generative models ready for image recognition? (ICLR 2023). A CLIP
is told of the classes by words; images of them come by the basic strategy, by sentences, or start
from real shots.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet, Summary, few_shot
from synthbook.data.deferred import Deferred, deferred
from synthbook.data.shift import SHIFTS, renditions, sketches
from synthbook.generate.sentences import GRAMMAR, Sentences, called, sentences_of
from synthbook.generate.shots import shots_of
from synthbook.recognize.clip import Encoded, Encoder, encoded, encoder
from synthbook.recognize.heads import PHOTO, text_head
from synthbook.studies import web
from synthbook.studies.clones_by_name import Images, made_of
from synthbook.studies.given import check_words, sets_of, summary_of, unread, words_of

if TYPE_CHECKING:
    from synthbook.generate.prompted import Prompted
    from synthbook.generate.text import TextToImage

BASIC, ENHANCED, FILTERED = "B", "LE", "LE+CF"  # strategies of Table 2
SYNTHETIC, REAL, NONE = "synthetic", "real", "none"  # what is learned from
LOOKS = SHIFTS[:2]  # of test photographs: sketch and rendition


def look_of(p: Any, device: str, name: str = "") -> Encoder:
    """Return the chapter's CLIP, or one by name."""
    return encoder(name or p.encoder, own=web.kept, device=device)


@cache
def generator_of(model: str, device: str) -> TextToImage:
    """Return a pipeline by name or folder; "" is the book's own."""
    from synthbook.generate.text import opened

    return opened(model, device=device) if model else web.text_to_image(device)


def split_look(data: str) -> tuple[str, str]:
    """Return data set and look of a name: "caltech10:sketch" is caltech10 in sketches."""
    base, _, look = data.rpartition(":")
    return (base, look) if base and look in LOOKS else (data, "")


class Target:
    """A data set as a CLIP is told of it: photographs, names, and images that nobody photographed.

    Args:
        p: the chapter's parameters.
        data: which data set; with a look, only its photographs are others (`split_look`).
        look: the CLIP.
    """

    def __init__(self, p: Any, device: str, data: str, look: Encoder) -> None:
        self.p, self.device, self.data, self.look = p, device, data, look
        self.base, self.shift = split_look(data)
        self.splits = sets_of(p, self.base)
        self.classes = self.splits.train.classes
        self.words = words_of(p, self.base, self.classes)
        self.names = tuple(called(words) for words in self.words)
        one = deferred(self.splits.test).read(np.zeros(1, int))
        self.side, self.channels = one.shape[1], one.shape[3]

    @cached_property
    def head(self) -> np.ndarray:
        """The zero-shot head, unit rows [K, D]: the W that everything starts from."""
        return text_head(self.look, self.names, self.p.template)

    @cached_property
    def test(self) -> Encoded:
        """Features of the test photographs, which choose nothing."""
        return encoded(self.look, self.seen(self.splits.test))

    @cached_property
    def validation(self) -> Encoded:
        """Features of the validation photographs."""
        return encoded(self.look, self.seen(self.splits.val))

    def seen(self, photographs: Images) -> Images:
        """Return photographs as the data set shows them: as they are, or in its look."""
        if not self.shift:
            return photographs
        held = photographs.held() if isinstance(photographs, Deferred) else photographs
        return sketches(held) if self.shift == LOOKS[0] else renditions(held, seed=0)

    # Images by words

    @property
    def generator(self) -> TextToImage:
        """The pipeline that makes images."""
        return generator_of(self.p.model, self.device)

    def sentences(self, seed: int, strategy: str) -> Sentences:
        """Return what is asked of each class: "a photo of a {c}" (B), or sentences with c (LE)."""
        if strategy == BASIC:
            told = zip(self.words, self.names, strict=True)
            return {words.name: (PHOTO.format(name),) for words, name in told}
        source = self.p.language_model or GRAMMAR
        return sentences_of(self.words, source, count=self.p.sentences, seed=seed)

    def asked(self, seed: int, strategy: str, shots: ImageSet | None = None) -> Prompted:
        """Return the generator as it is asked, with ``shots`` from these real images (RG)."""
        from synthbook.generate.prompted import Prompted

        own = not self.p.model and self.device == "cpu"
        return Prompted(
            self.generator, self.words, sentences=self.sentences(seed, strategy),
            shots=None if shots is None else shots_of(shots), image_size=self.side,
            channels=self.channels, kept=web.kept_samples() if own else {},
        )  # fmt: skip

    def images(self, seed: int, strategy: str, count: int, shots: ImageSet | None = None) -> Images:
        """Return ``count`` images of each class; more of them have the fewer.

        ``strategy`` is "B" or "LE"; the filters choose among features (`recognize.filters`).
        """
        start = f", from {len(shots)} photographs" if shots else ""
        return made_of(
            self.asked(seed, strategy, shots), np.full(len(self.classes), count), self.classes,
            f"{self.base} by words ({strategy}{start})", seed=seed,
            guidance_scale=self.p.guidance_scale, num_inference_steps=self.p.num_inference_steps,
        )  # fmt: skip

    def shots(self, seed: int, count: int) -> ImageSet:
        """Return ``count`` training photographs of each class; more of them have the fewer."""
        return few_shot(self.splits.train, count, seed=seed)

    def about(self, seed: int, **more: Any) -> dict[str, Any]:
        """Return what rows have in common."""
        return {"dataset": self.data, "backbone": self.look.name, "seed": seed, **more}


def told_of(p: Mapping[str, Any], data: str) -> Summary:
    """Return what a data set is, once its classes have names, before anything is made."""
    base = split_look(data)[0]
    summary = summary_of(p, base)
    check_words(p, base, summary.classes)
    return summary


def described(p: Mapping[str, Any], data: str) -> str:
    """Return a data set in words, and below it which of its names the generator does not know."""
    summary = told_of(p, data)
    warning = unread(p, words_of(p, split_look(data)[0], summary.classes))
    return f"{summary}\n{warning}" if warning else str(summary)
