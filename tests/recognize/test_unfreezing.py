"""Tuning with live encoding: equal to the cached one where nothing of the encoder moves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from synthbook.data import ImageSet
from synthbook.data.deferred import deferred
from synthbook.errors import InputError
from synthbook.recognize import language_image, unfreezing
from synthbook.recognize.clip import encoded, encoder
from synthbook.recognize.heads import random_head
from synthbook.recognize.tuning import Run, TuningRecipe, tune
from synthbook.recognize.unfreezing import from_output, tune_live, unfreeze

RECIPE = TuningRecipe(steps=6, batch_size=8, learning_rate=0.02, measure_every=3)
HEAD, TEACHER = random_head(3, 16, seed=0), random_head(3, 16, seed=1)


def pictures(count: int = 12, seed: int = 0) -> ImageSet:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    pixels = 40 * labels[:, None, None, None] + draw.integers(0, 120, (count, 8, 8, 3))
    return ImageSet(pixels.astype(np.uint8), labels, ("a", "b", "c"), "pictures")


@pytest.fixture(scope="module")
def look(small_clip, tmp_path_factory):
    """A ResNet whose running statistics are not those of any batch."""
    place = tmp_path_factory.mktemp("clip")
    model = language_image.create(small_clip, seed=0)
    model.train()
    with torch.no_grad():
        for seed in range(3):
            draw = torch.Generator().manual_seed(seed)
            model.encode_image(torch.randn(8, 3, 32, 32, generator=draw))
    language_image.save(model.eval(), small_clip, place)
    return encoder(f"local-dir:{place}")


@pytest.mark.parametrize("loss", ["CE", "SCE"])
@pytest.mark.parametrize("columns", ["scaled", "unit"])
def test_nothing_moving_is_tuning_on_cached_features(look, loss, columns):
    images, test = pictures(), pictures(9, 1)
    recipe = replace(RECIPE, columns=columns)
    how = {"loss": loss, "teacher": TEACHER, "seed": 0}
    live = tune_live(look, images, HEAD, recipe, **how, validation=test, test=test)
    held = encoded(look, test)
    (cached,) = tune([Run(HEAD, synthetic=encoded(look, images), **how)], recipe,
                     scale=look.scale, validation=held, test=held)  # fmt: skip
    assert np.allclose(live.tuned.last, cached.last, atol=2e-4)
    assert np.allclose(live.tuned.best, cached.best, atol=2e-4)
    assert live.tuned.steps == cached.steps
    assert np.allclose(live.tuned.test, cached.test)
    assert live.trained == ()
    total = sum(p.numel() for p in look.model.visual.parameters())
    assert live.share == HEAD.size / (total + HEAD.size)


def test_parameters_come_from_the_output_backwards(look):
    names = from_output(look.model.visual, torch.zeros(2, 3, 32, 32))
    assert sorted(names) == sorted(name for name, _ in look.model.visual.named_parameters())
    parts = ("attnpool.c_proj", "layer4", "layer3", "layer2", "layer1", "conv1")
    first = [next(k for k, name in enumerate(names) if name.startswith(part)) for part in parts]
    assert first == sorted(first)
    assert names[0].startswith("attnpool.c_proj")
    chain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.Linear(5, 2))
    order = [name.partition(".")[0] for name in from_output(chain, torch.randn(2, 3))]
    assert order == ["3", "3", "2", "2", "0", "0"]
    assert not any(p.grad is not None for p in chain.parameters())


def test_the_projection_of_a_transformer_counts_as_its_output():
    from open_clip.transformer import VisionTransformer

    network = VisionTransformer(16, 8, width=16, layers=2, heads=2, mlp_ratio=2, output_dim=8)
    names = from_output(network, torch.randn(2, 3, 16, 16))
    assert names[0] == "proj"
    assert names.index("transformer.resblocks.1.ln_1.weight") < names.index(
        "transformer.resblocks.0.ln_1.weight"
    )
    assert set(names[-4:]) >= {"conv1.weight"}


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 1.0])
def test_a_share_is_reached_by_as_few_weights_as_can_be(look, share):
    import copy

    network, views = copy.deepcopy(look.model.visual), torch.zeros(2, 3, 32, 32)
    names, reached = unfreeze(network, views, share, 48, "trained")
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    live = {name for name, p in network.named_parameters() if p.requires_grad}
    assert live == set(names)
    assert reached == (48 + sum(sizes[name] for name in names)) / (48 + sum(sizes.values()))
    assert reached >= share
    others, less = unfreeze(network, views, share, 48, "frozen")
    assert not any("bn" in name or "downsample.1" in name for name in others)
    if others:
        assert less - sizes[others[-1]] / (48 + sum(sizes.values())) < share


def moved(look, live) -> set[str]:
    """Return the names of weights and statistics that are not what they were."""
    old = look.model.visual.state_dict()
    return {name for name, value in live.network.state_dict().items()
            if not torch.equal(value, old[name])}  # fmt: skip


def test_what_is_trained_moves_and_nothing_else(look):
    before = look.weights
    live = tune_live(look, pictures(), HEAD, RECIPE, seed=0, share=0.5)
    assert moved(look, live) == set(live.trained)
    assert 0.5 <= live.share < 0.9
    fresh = type(look)(look.name, look.model, look.tokens, look.preprocessing)
    assert fresh.weights == before
    slow = tune_live(look, pictures(), HEAD, RECIPE, seed=0, share=0.5, encoder_rate=1e-9)
    frozen = tune_live(look, pictures(), HEAD, RECIPE, seed=0)
    assert np.allclose(slow.tuned.last, frozen.tuned.last, atol=2e-3)
    assert not np.allclose(live.tuned.last, frozen.tuned.last, atol=2e-3)


def test_batch_norm_frozen_live_and_trained(look):
    """Live: statistics alone move. Trained: gains and offsets, too. The head learns others."""
    images = pictures()
    frozen, live, trained = (
        tune_live(look, images, HEAD, RECIPE, seed=0, batch_norm=kind)
        for kind in ("frozen", "live", "trained")
    )
    assert moved(look, frozen) == set()
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    statistics = {name for name in look.model.visual.state_dict() if name.endswith(kinds)}
    assert moved(look, live) <= statistics
    assert len(moved(look, live)) > len(statistics) / 2
    gains = set(trained.trained)
    assert gains
    assert moved(look, trained) <= statistics | gains
    assert moved(look, trained) & gains
    assert not np.allclose(live.tuned.last, frozen.tuned.last, atol=1e-3)
    assert live.share == frozen.share < trained.share


def test_what_cannot_be(look, tmp_path):
    images = pictures()
    with pytest.raises(InputError, match=r"share = 62.5; give the part of all parameters, from 0"):
        tune_live(look, images, HEAD, RECIPE, seed=0, share=62.5)
    with pytest.raises(InputError, match="did you mean 'frozen'"):
        tune_live(look, images, HEAD, RECIPE, seed=0, batch_norm="froze")
    with pytest.raises(InputError, match="'SCE' needs a teacher"):
        tune_live(look, images, HEAD, RECIPE, seed=0, loss="SCE")
    with pytest.raises(InputError, match="has 12 images of 3 classes, and the head 2 rows"):
        tune_live(look, images, HEAD[:2], RECIPE, seed=0)
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    told = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8,
                       "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
    }  # fmt: skip
    save_file(CLIP(**told).state_dict(), tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": told}))
    other = encoder(f"local-dir:{tmp_path}")
    with pytest.raises(InputError, match="has none; take 'frozen', or a ResNet"):
        tune_live(other, images, HEAD, RECIPE, seed=0, batch_norm="live")
    made = tune_live(other, images, HEAD, RECIPE, seed=0, share=0.2)
    assert "proj" in made.trained


def test_validation_images_choose_the_best_head_and_test_images_do_not(look, monkeypatch):
    rates, heads = {"held": iter((1.0, 3.0, 2.0)), "test": iter((3.0, 1.0, 2.0))}, []

    def top1(_, network, head, images):
        heads.append(head.numpy().copy())
        return next(rates[images.name])

    monkeypatch.setattr(unfreezing, "_top1", top1)
    some = pictures()
    held, test = (ImageSet(some.images, some.labels, some.classes, name) for name in rates)
    made = tune_live(look, some, HEAD, RECIPE, seed=0, validation=held, test=test).tuned
    assert made.validation.tolist() == [1, 3, 2]
    assert made.accuracy() == 1
    assert np.array_equal(made.best, heads[2])  # a head is shown to both sets
    assert not np.array_equal(made.best, heads[0])


def test_the_teacher_sees_by_the_encoder_as_it_was(look, monkeypatch):
    seen, inner = [], unfreezing._targets
    monkeypatch.setattr(
        unfreezing, "_targets", lambda *given: seen.append(inner(*given)) or seen[-1]
    )
    recipe = replace(RECIPE, batch_size=12)  # all images in each step
    how = {"share": 1.0, "loss": "SCE", "teacher": TEACHER, "encoder_rate": 0.05}
    tune_live(look, pictures(), HEAD, recipe, seed=0, **how)
    assert len(seen) == recipe.steps
    for targets in seen[1:]:
        torch.testing.assert_close(targets.sort(0).values, seen[0].sort(0).values)


def test_images_that_are_read_are_learned_like_those_in_memory(look):
    images, test = pictures(), pictures(9, 1)
    held, read = (
        tune_live(look, some, HEAD, RECIPE, seed=0, batch_norm="live", test=other, validation=other)
        for some, other in ((images, test), (deferred(images), deferred(test)))
    )
    assert np.array_equal(held.tuned.last, read.tuned.last)
    assert np.array_equal(held.tuned.test, read.tuned.test)
    assert np.array_equal(held.tuned.validation, read.tuned.validation)
