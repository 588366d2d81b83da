"""CoOp: where it starts, what it learns, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from synthbook.errors import InputError
from synthbook.recognize.clip import Encoded, encoder
from synthbook.recognize.coop import CoopRecipe, learn_context, word_embedding
from synthbook.recognize.heads import text_head, unit, zero_shot

NAMES = ("red", "green cup", "aquamarine")
SHORT = CoopRecipe(steps=30, length=4, learning_rate=0.01, warmup_steps=1, measure_every=10)


@pytest.mark.parametrize(
    ("images", "classes", "steps", "epoch"),
    [(10, 10, 50, 1), (37, 37, 100, 2), (20, 10, 100, 1), (40, 10, 200, 2), (80, 10, 600, 3),
     (160, 10, 1000, 5)],
)  # fmt: skip
def test_the_epochs_of_the_paper_go_by_the_number_of_shots(images, classes, steps, epoch):
    recipe = CoopRecipe(by_epochs=True, steps=7).of(images, classes)
    assert (recipe.steps, recipe.warmup_steps, recipe.measure_every) == (steps, epoch, epoch)
    assert CoopRecipe(steps=7).of(images, classes) == CoopRecipe(steps=7)


def test_a_context_is_learned_for_these_epochs(look):
    shots = drawn()  # four of each class: 100 steps of all twelve
    made = learn_context(look, shots, NAMES, replace(SHORT, by_epochs=True, steps=0), seed=0)
    same = replace(SHORT, steps=100, warmup_steps=1)
    assert np.array_equal(made.last, learn_context(look, shots, NAMES, same, seed=0).last)


def drawn(count: int = 12, seed: int = 0) -> Encoded:
    draw = np.random.default_rng(seed)
    rows = np.eye(3, 16)[np.arange(count) % 3] + 0.3 * draw.standard_normal((count, 16))
    return Encoded(unit(rows.astype(np.float32)), np.arange(count) % 3, NAMES, "shots")


@pytest.mark.parametrize("words", ["a photo of a", "a  picture of one", "photo"])
@pytest.mark.parametrize("ending", ["", "."])
def test_words_as_context_and_no_step_are_zero_shot(look, words, ending):
    recipe = CoopRecipe(context=words, ending=ending, steps=0)
    made = learn_context(look, drawn(), NAMES, recipe, seed=0)
    head, other = (text_head(look, NAMES, f"{words} {{}}{end}") for end in (ending, "!"))
    assert np.allclose(made.head, head, atol=1e-6)
    assert not np.allclose(head, other, atol=1e-3)


def by_hand(look, vectors: torch.Tensor) -> torch.Tensor:
    """Return the head of four vectors by the tower, name after name."""
    model, rows = look.model, []
    for name in NAMES:
        tokens = look.tokens([f"x x x x {name}"])
        h = model.token_embedding(tokens)
        h = torch.cat([h[:, :1], vectors[None], h[:, 5:]], dim=1)
        h = model.transformer(h + model.positional_embedding, attn_mask=model.attn_mask)
        pooled = model.ln_final(h)[0, tokens.argmax()] @ model.text_projection
        rows.append(F.normalize(pooled, dim=0))
    return torch.stack(rows)


def test_any_vectors_are_what_the_text_tower_makes_of_them(look):
    made = learn_context(look, drawn(), NAMES, replace(SHORT, steps=0), seed=3)
    assert np.allclose(by_hand(look, torch.from_numpy(made.vectors)).detach(), made.head, atol=1e-5)


@pytest.mark.parametrize(("steps", "warm"), [(1, 0), (2, 0), (1, 1)])
def test_steps_are_sgd_with_momentum_on_scaled_logits(look, steps, warm):
    """m <- 0.9 m + gradient + decay v, v <- v - rate m, with a rate of 1e-5 to warm up."""
    shots, recipe = drawn(), replace(SHORT, steps=steps, warmup_steps=warm, weight_decay=0.1)
    start, made = (
        learn_context(look, shots, NAMES, replace(recipe, steps=k), seed=0).vectors
        for k in (0, steps)
    )
    features, labels = torch.from_numpy(shots.features), torch.from_numpy(shots.labels)
    v, m = torch.from_numpy(start), 0.0
    for step in range(steps):
        v.requires_grad_()
        loss = F.cross_entropy(look.scale * features @ by_hand(look, v).T, labels)
        (gradient,) = torch.autograd.grad(loss, v)
        m = 0.9 * m + gradient + 0.1 * v.detach()
        rate = 1e-5 if step < warm else 0.01 * (1 + np.cos(np.pi * step / steps)) / 2
        v = v.detach() - rate * m
    moved = (v - torch.from_numpy(start)).numpy()
    assert np.abs(made - start - moved).max() < 2e-3 * np.abs(moved).max()


def test_learning_lowers_the_loss_and_leaves_both_towers_alone(look):
    before, shots = look.weights, drawn()
    start = learn_context(look, shots, NAMES, replace(SHORT, steps=0), seed=0)
    made = learn_context(look, shots, NAMES, SHORT, seed=0)

    def loss(head):
        logits = torch.from_numpy(look.scale * shots.features @ head.T)
        return F.cross_entropy(logits, torch.from_numpy(shots.labels)).item()

    assert loss(made.head) < loss(start.head) - 0.02
    assert made.vectors.shape == (4, 16)
    fresh = type(look)(look.name, look.model, look.tokens, look.preprocessing)
    assert fresh.weights == before
    assert not look.model.token_embedding._forward_hooks
    assert np.array_equal(learn_context(look, shots, NAMES, SHORT, seed=0).head, made.head)
    assert not np.allclose(learn_context(look, shots, NAMES, SHORT, seed=1).head, made.head)


def test_the_choice_is_by_validation(look):
    held = drawn(60, seed=5)
    made = learn_context(look, drawn(), NAMES, SHORT, seed=0, validation=held)
    ends = [learn_context(look, drawn(), NAMES, SHORT, seed=0),
            learn_context(look, drawn(), NAMES, replace(SHORT, steps=0), seed=0)]  # fmt: skip
    assert all(zero_shot(held, made.head)["top1"] >= zero_shot(held, one.head)["top1"]
               for one in ends)  # fmt: skip
    assert np.array_equal(made.last, ends[0].head)
    assert np.array_equal(ends[0].last, ends[0].head)


@pytest.mark.parametrize("custom", [False, True])
def test_models_of_open_clip_serve_also_with_a_text_tower_of_their_own(tmp_path, custom):
    import json

    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    told = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8,
                       "patch_size": 8},
        "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 8, "heads": 1,
                     "layers": 1},
    }  # fmt: skip
    torch.manual_seed(0)
    model = (CustomTextCLIP if custom else CLIP)(**told)
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    whole = {"model_cfg": told | {"custom_text": custom}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(whole))
    look = encoder(f"local-dir:{tmp_path}")
    recipe = CoopRecipe(context="a photo of a", steps=0)
    made = learn_context(look, drawn(), NAMES, recipe, seed=0)
    assert np.allclose(made.head, text_head(look, NAMES, "a photo of a {}"), atol=1e-6)
    learned = learn_context(look, drawn(), NAMES, replace(recipe, steps=3), seed=0)
    assert not np.allclose(learned.vectors, made.vectors, atol=1e-4)


def test_what_cannot_be(look):
    with pytest.raises(InputError, match="CoOp needs real shots, and 'shots' has none"):
        learn_context(look, drawn().subset([]), NAMES, SHORT, seed=0)
    with pytest.raises(InputError, match="there are 2 class names and 3 classes"):
        learn_context(look, drawn(), NAMES[:2], SHORT, seed=0)
    with pytest.raises(InputError, match="class 2 of 3 has the name ''"):
        learn_context(look, drawn(), (*NAMES[:2], ""), SHORT, seed=0)
    with pytest.raises(InputError, match="tokens and the text tower reads 77; shorten it"):
        learn_context(look, drawn(), (*NAMES[:2], "b" * 40), replace(SHORT, length=64), seed=0)
    bare = type(look)("hugging", torch.nn.Linear(2, 2), look.tokens, look.preprocessing)
    with pytest.raises(InputError, match="the text tower of 'hugging' is none of open_clip's own"):
        word_embedding(bare)
