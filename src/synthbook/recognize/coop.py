"""CoOp: the words before a class's name, learned as vectors (Zhou et al. 2022).

The prompt of class i is [v_1] ... [v_M] [name_i] in the space of word embeddings, with a full stop
after it in the paper; the vectors v are the same for all classes, both towers stay as they are, and
the loss is the cross-entropy of the real shots over the head that the prompts give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.randomness import torch_generator
from synthbook.recognize.adapters import check_shots
from synthbook.recognize.clip import Encoded, Encoder, text_tower
from synthbook.recognize.heads import check_fits, check_names
from synthbook.recognize.ranks import measures
from synthbook.recognize.recipe import half_cosine
from synthbook.recognize.tuning import positions
from synthbook.settings import Batch, Count, Rate, Weight, Whole, settings
from synthbook.training import TrainingError

EPOCHS, MOST_EPOCHS = ((1, 50), (4, 100)), 200  # up to so many shots of each class, and of more
PLACE = "x"  # a word of one token, in whose place a vector comes


@settings
class CoopRecipe:
    """How the context is learned: SGD (momentum 0.9) with a half cosine, on cached features.

    Args:
        context: words to start from, such as "a photo of a"; "" draws ``length`` vectors at random.
        length: number M of vectors, where they are drawn.
        ending: what follows the name. Without any, "a photo of a" starts at the zero-shot head of
            "a photo of a {}"; the public code has a full stop there, ".".
        steps: of the training.
        by_epochs: as long as in the paper in place of ``steps``: 50, 100 or 200 epochs for 1, 2 to
            4, or more shots of each class, with the first one to warm up in and a measurement
            after each (`CoopRecipe.of`).
        warmup_steps: at a rate of 1e-5.
        measure_every: steps between two measurements on validation images.
    """

    context: str = ""
    length: Annotated[int, Field(ge=1, le=64)] = 16
    ending: str = ""
    steps: Whole = 200
    by_epochs: bool = False
    batch_size: Batch = 32
    learning_rate: Rate = 2e-3
    weight_decay: Weight = 5e-4
    warmup_steps: Whole = 5
    measure_every: Count = 25

    def of(self, images: int, classes: int) -> CoopRecipe:
        """Return the same with the steps that so many shots in all make."""
        if not self.by_epochs:
            return self
        shots, epoch = math.ceil(images / classes), math.ceil(images / self.batch_size)
        epochs = next((many for most, many in EPOCHS if shots <= most), MOST_EPOCHS)
        return replace(self, steps=epochs * epoch, warmup_steps=epoch, measure_every=epoch)


@dataclass(frozen=True, eq=False)
class Context:
    """A learned context, ``vectors`` [M, width of the text tower], and its ``head`` [K, D].

    ``last`` is the head of the last step, which is the same unless another one was chosen.
    """

    vectors: np.ndarray
    head: np.ndarray
    last: np.ndarray


def learn_context(
    look: Encoder, shots: Encoded, names: Sequence[str], recipe: CoopRecipe, *, seed: int,
    validation: Encoded | None = None,
) -> Context:  # fmt: skip
    """Learn the context of class names from real shots.

    With ``validation`` it is that of the measurement with the best accuracy there, the first of
    equals; without, the last.

    Raises:
        InputError: without shots, for names that are missing or too long beside the context, and
            for an encoder whose text tower has no word embeddings of its own.
    """
    check_shots(shots, "CoOp")
    check_names(names)
    if len(names) != shots.num_classes:
        raise InputError(
            f"there are {len(names)} class names and {shots.num_classes} classes; give one each"
        )
    recipe, embedding = recipe.of(len(shots), shots.num_classes), word_embedding(look)
    vectors = _start(look, embedding, recipe, seed).requires_grad_()
    tokens = _prompts(look, names, len(vectors), recipe.ending).to(look.device)
    heads = _heads(look, embedding, tokens)
    with torch.no_grad():
        check_fits(heads(vectors).cpu().numpy(), shots)
    features, labels = (torch.from_numpy(x).to(look.device) for x in (shots.features, shots.labels))
    size = min(recipe.batch_size, len(shots))
    optimizer = torch.optim.SGD(
        [vectors], lr=recipe.learning_rate, momentum=0.9, weight_decay=recipe.weight_decay
    )
    best, top = None, -1.0
    table = positions(len(shots), recipe.steps, size, seed=seed, part="coop")
    for step in range(recipe.steps + 1):
        if step % recipe.measure_every == 0 or step == recipe.steps:
            with torch.no_grad():
                head = heads(vectors).cpu().numpy()
            rated = float(step) if validation is None else _rated(head, validation)
            if rated > top:
                best, top = (vectors.detach().cpu().numpy().copy(), head), rated
        if step == recipe.steps:
            break
        rate = half_cosine(recipe.learning_rate, step, recipe.steps)
        optimizer.param_groups[0]["lr"] = 1e-5 if step < recipe.warmup_steps else rate
        rows = table[step].to(look.device)
        loss = F.cross_entropy(look.scale * features[rows] @ heads(vectors).T, labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    if not vectors.isfinite().all():
        raise TrainingError(
            f"the context is no longer finite after {recipe.steps} steps: lower learning_rate"
        )
    return Context(*best, last=head)


def _rated(head: np.ndarray, validation: Encoded) -> float:
    return measures(validation.features @ head.T, validation.labels)["top1"]


def word_embedding(look: Encoder) -> nn.Embedding:
    """Return the layer of the text tower that maps tokens to vectors."""
    for tower in (look.model, getattr(look.model, "text", None)):
        found = getattr(tower, "token_embedding", None)
        if isinstance(found, nn.Embedding):
            return found
    raise InputError(
        f"CoOp puts vectors among the word embeddings, and the text tower of '{look.name}' is none "
        "of open_clip's own; take another encoder"
    )


def _start(look: Encoder, embedding: nn.Embedding, recipe: CoopRecipe, seed: int) -> Tensor:
    """Return the context at the start [M, width]: of words, or drawn with deviation 0.02."""
    if words := " ".join(recipe.context.split()):
        first, second = look.tokens([words, f"{words} {PLACE}"])
        count = int((first == second).long().cumprod(0).sum()) - 1  # the begin is no word
        return embedding.weight[first[1 : 1 + count].to(look.device)].detach().clone()
    draw = torch_generator(seed, "coop context")
    shape = recipe.length, embedding.embedding_dim
    return (0.02 * torch.randn(shape, generator=draw)).to(look.device)


def _prompts(look: Encoder, names: Sequence[str], length: int, ending: str) -> Tensor:
    """Return tokens [K, context length] with ``length`` placeholders before each name."""
    tokens = look.tokens([" ".join([*[PLACE] * length, f"{name}{ending}"]) for name in names])
    places = tokens[:, 1 : 1 + length]
    if not (places == places[0, 0]).all():
        raise InputError(
            f"the tokenizer of '{look.name}' does not begin a text with one sign and then its "
            "words, which CoOp builds on; take another encoder"
        )
    return tokens


def _heads(look: Encoder, embedding: nn.Embedding, tokens: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the map from a context [M, width] to the head of the prompts, unit rows [K, D]."""
    encode = text_tower(look.model)

    def heads(vectors: Tensor) -> Tensor:
        with _in_place(embedding, vectors):
            return F.normalize(encode(tokens).float(), dim=1)

    return heads


@contextmanager
def _in_place(embedding: nn.Embedding, vectors: Tensor) -> Iterator[None]:
    """Put vectors [M, width] after the first token of whatever is embedded inside the block."""

    def put(_: nn.Module, __: tuple, found: Tensor) -> Tensor:
        context = vectors.to(found).expand(len(found), -1, -1)
        return torch.cat([found[:, :1], context, found[:, 1 + len(vectors) :]], dim=1)

    handle = embedding.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()
