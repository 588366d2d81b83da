"""A word-to-sentence model: what it is asked, and how it is read from a folder or from the Hub.

He et al. (2023), "Is synthetic data from generative models ready for image recognition?", section
3.1; the public code takes `T5`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from synthbook.errors import InputError
from synthbook.generate.parts import sum_of
from synthbook.randomness import seeded
from synthbook.settings import Count, Rate, Whole, settings

T5 = "mrm8488/t5-base-finetuned-common_gen"  # the public code's


@settings
class Sampling:
    """How a word-to-sentence model is asked: as the public code does, which leaves all to defaults.

    ``prefix`` stands before the name, for models that were trained with one. Sampling is from the
    ``top_k`` (0: all) likeliest tokens, of which those count whose probabilities add up to
    ``top_p``, at a ``temperature``: higher is more varied, and misses the name more often.
    """

    prefix: str = ""
    temperature: Rate = 1.0
    top_k: Whole = 50
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_new_tokens: Count = 32
    round: Count = 50


class WordToSentence:
    """A sequence-to-sequence model that makes sentences of a word; any that transformers reads.

    Args:
        model: an id on the Hub, as `T5`, or a folder that save_pretrained wrote. Of weights only
            safetensors are read, and no code that lies beside them is run.
        tokenizer: where its tokenizer lies; "" for beside the model. Some repositories, that of
            `T5` among them, have one in the form of sentencepiece alone, which needs that package
            and protobuf: without these give "google-t5/t5-base", whose tokens are the same.
        sampling: how it is asked.
        device: of torch.
        revision: a commit, branch or tag of the Hub's repository.
        local: read what is on this machine alone.

    Raises:
        InputError: if it cannot be loaded, or is of another kind.
    """

    def __init__(
        self,
        model: str | Path = T5,
        *,
        tokenizer: str | Path = "",
        sampling: Sampling | None = None,
        device: str = "cpu",
        revision: str | None = None,
        local: bool = False,
    ) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
        from transformers.utils import logging

        self.name, self.sampling, self.device = str(model), sampling or Sampling(), device
        where, how = self._place(model, local)
        logging.disable_progress_bar()
        try:
            self.model = AutoModelForSeq2SeqLM.from_pretrained(
                where, use_safetensors=True, revision=revision, **how
            )
            words, how = self._place(tokenizer or model, local)
            how |= {} if tokenizer else {"revision": revision}
            self.tokenizer = AutoTokenizer.from_pretrained(words, **how)
            has, wants = len(self.tokenizer), self.model.config.vocab_size
            if not wants / 2 < has <= wants:  # one that transformers made up, as none was there
                raise ValueError(f"its tokenizer has {has:,} words and the model {wants:,}")
        except Exception as error:  # whatever is missing or damaged
            raise InputError(
                f"the word-to-sentence model '{model}' cannot be loaded "
                f"({' '.join(str(error).split())[:300]}); give a sequence-to-sequence model, such "
                f"as {T5}, or a folder that save_pretrained wrote, and with tokenizer the place of "
                "its tokenizer.json where there is none beside it"
            ) from error
        self.model.to(device).eval()

    @staticmethod
    def _place(source: str | Path, local: bool) -> tuple[str, dict[str, Any]]:
        folder = Path(source).expanduser()
        here = folder.is_dir()
        how = {"local_files_only": local or here, "trust_remote_code": False}
        return str(folder) if here else str(source), how

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides on its sentences, beside name and seed; a small plain dict."""
        parts = {"model": self.model, "tokenizer": self.tokenizer}
        parts["generation"] = self.model.generation_config
        return {
            "model": type(self.model).__name__,
            "parts": sum_of(parts),
            "sampling": self.sampling,
        }

    def __call__(self, name: str, seed: int, number: int) -> list[str]:
        """Return round ``number`` of sentences for a name, from (seed, name, number) alone."""
        import torch

        asked = self.sampling
        inputs = self.tokenizer(f"{asked.prefix}{name}", return_tensors="pt").to(self.device)
        given = {"input_ids": inputs.input_ids, "attention_mask": inputs.attention_mask}
        with torch.no_grad(), seeded(seed, "sentences", name, number, device=self.device):
            made = self.model.generate(
                **given, do_sample=True, num_beams=1, num_return_sequences=asked.round,
                temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p,
                max_new_tokens=asked.max_new_tokens,
            )  # fmt: skip
        texts = self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]
