"""What chapters 21 to 23 share: classes that are known by name, photographs of them, and images.

He et al., Is synthetic data from generative models ready for image recognition? (ICLR 2023). A CLIP
is told of the classes by words; images of them come by the basic strategy, by sentences, or start
from real shots.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet, few_shot
from synthbook.generate.sentences import GRAMMAR, Sentences, called, sentences_of
from synthbook.generate.shots import shots_of
from synthbook.recognize.clip import Encoded, Encoder, encoded, encoder
from synthbook.recognize.heads import PHOTO, text_head
from synthbook.studies import web
from synthbook.studies.clones_by_name import sets_of, words_of

if TYPE_CHECKING:
    from synthbook.generate.prompted import Prompted
    from synthbook.generate.text import TextToImage

BASIC, ENHANCED, FILTERED = "B", "LE", "LE+CF"  # strategies of Table 2
SYNTHETIC, REAL, NONE = "synthetic", "real", "none"  # what is learned from


def look_of(p: Any, device: str, name: str = "") -> Encoder:
    """Return the chapter's CLIP, or one by name."""
    return encoder(name or p.encoder, own=web.kept, device=device)


class Target:
    """A data set as a CLIP is told of it: photographs, names, and images that nobody photographed.

    Args:
        p: the chapter's parameters.
        data: which data set.
        look: the CLIP.
    """

    def __init__(self, p: Any, device: str, data: str, look: Encoder) -> None:
        self.p, self.device, self.data, self.look = p, device, data, look
        self.splits = sets_of(p, data)
        self.classes = self.splits.train.classes
        self.words = words_of(p, data, self.classes)
        self.names = tuple(called(words) for words in self.words)
        self.side, self.channels = self.splits.test.images.shape[1], self.splits.test.images.shape[3]

    @cached_property
    def head(self) -> np.ndarray:
        """The zero-shot head, unit rows [K, D]: the W that everything starts from."""
        return text_head(self.look, self.names, self.p.template)

    @cached_property
    def test(self) -> Encoded:
        """Features of the test photographs, which choose nothing."""
        return encoded(self.look, self.splits.test)

    @cached_property
    def validation(self) -> Encoded:
        """Features of the validation photographs."""
        return encoded(self.look, self.splits.val)

    # Images by words

    @cached_property
    def generator(self) -> TextToImage:
        """The pipeline that makes images."""
        from synthbook.generate.text import TextToImage, opened

        if self.p.model:
            return opened(self.p.model, device=self.device)
        return TextToImage(web.web_text2image(self.device), name=web.TEXT2IMAGE, device=self.device)

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

    def images(
        self, seed: int, strategy: str, count: int, shots: ImageSet | None = None
    ) -> ImageSet:
        """Return ``count`` images of each class; more of them have the fewer.

        ``strategy`` is "B" or "LE"; the filters choose among features (`recognize.filters`).
        """
        labels = np.repeat(np.arange(len(self.classes)), count)
        how = {"guidance_scale": self.p.guidance_scale}
        how |= {"num_inference_steps": self.p.num_inference_steps}
        pixels = self.asked(seed, strategy, shots).sample(labels.tolist(), seed=seed, **how)
        start = f", from {len(shots)} photographs" if shots else ""
        return ImageSet(pixels, labels, self.classes, f"{self.data} by words ({strategy}{start})")

    def shots(self, seed: int, count: int) -> ImageSet:
        """Return ``count`` training photographs of each class; more of them have the fewer."""
        return few_shot(self.splits.train, count, seed=seed)

    def about(self, seed: int, **more: Any) -> dict[str, Any]:
        """Return what rows have in common."""
        return {"dataset": self.data, "backbone": self.look.name, "seed": seed, **more}


def told_of(p: Mapping[str, Any], data: str) -> None:
    """Check that the classes of a data set have names, before anything is made."""
    from synthbook.studies.clones_by_name import summary_of

    words_of(p, data, summary_of(p, data).classes)
