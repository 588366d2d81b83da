"""Each step of GLANN lowers its own objective, and IMLE's matches are the nearest samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.baselines.glann import (
    Glann,
    GlannRecipe,
    fit_sampler,
    load,
    matches,
    train_glann,
)
from synthbook.gans.networks import save
from synthbook.gans.perceptual import distance
from synthbook.gans.sampling import sample
from synthbook.training import normalise

RECIPE = GlannRecipe(
    epochs=40, batch_size=3, noise=4, hidden=16, sampler_epochs=120, sampler_learning_rate=0.02,
    learning_rate=0.02,
)  # fmt: skip
BRIEF = GlannRecipe(epochs=3, batch_size=3, noise=4, hidden=8, sampler_epochs=3)
FEATURES = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))


def apart(model: Glann, codes: torch.Tensor, images, perceptual) -> float:
    """Return the objective of step 1 over all images at once."""
    pixels = normalise(torch.tensor(images.images).permute(0, 3, 1, 2))
    with torch.no_grad():
        return float(distance(perceptual(model.of_codes(codes)), perceptual(pixels)).mean())


def imle(model: Glann, codes: torch.Tensor) -> float:
    """Return the objective of step 2 for 64 noises that no training has drawn."""
    with torch.no_grad():
        samples = model.sampler(torch.randn(64, 4, generator=torch.Generator().manual_seed(9)))
    return float(torch.cdist(codes, samples).square().min(1).values.mean())


@pytest.mark.parametrize("features", [None, FEATURES], ids=["free codes", "codes of features"])
@pytest.mark.parametrize("settings", [{}, {"num_classes": 3}], ids=["plain", "conditional"])
def test_each_step_lowers_its_own_objective(
    features, settings, pretrained, photographs, perceptual
):
    first = Glann(pretrained(**settings), 4, 16)
    fitted = train_glann(
        pretrained(**settings), photographs, perceptual, RECIPE, seed=0, features=features
    )
    assert len(fitted.fit) == 40
    assert fitted.fit[-1] < 0.5 * fitted.fit[0]
    end = apart(fitted.model, fitted.codes, photographs, perceptual)
    assert end < 0.5 * apart(first, torch.randn(8, sum(first.sizes)), photographs, perceptual)
    assert end == pytest.approx(fitted.fit[-1], rel=0.3)
    assert imle(fitted.model, fitted.codes) < 0.5 * imle(first, fitted.codes)
    assert fitted.matching[-1] < fitted.matching[0]
    # All parts of a code are as long as noise, which the generator knows.
    for part in fitted.codes.split(fitted.model.sizes, dim=1):
        if part.numel():
            torch.testing.assert_close(part.square().mean(1), torch.ones(8))


def test_with_features_equal_ones_have_equal_codes(pretrained, photographs, perceptual):
    features = FEATURES.clone()
    features[5] = features[2]
    codes = train_glann(
        pretrained(), photographs, perceptual, BRIEF, seed=0, features=features
    ).codes
    torch.testing.assert_close(codes[5], codes[2])
    free = train_glann(pretrained(), photographs, perceptual, BRIEF, seed=0).codes
    assert (free[5] - free[2]).abs().max() > 0.1


def test_imle_matches_every_code_to_its_nearest_sample():
    codes, samples = torch.randn(23, 6), torch.randn(40, 6)
    plain = [min(range(40), key=lambda m: float((samples[m] - e).square().sum())) for e in codes]
    assert matches(codes, samples).tolist() == plain
    assert matches(codes, samples, rows=7).tolist() == plain
    assert matches(samples[[5, 3]], samples).tolist() == [5, 3]


def test_the_second_step_leaves_the_generator_alone(pretrained):
    model = Glann(pretrained(), 4, 8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_sampler(model, model.normed(torch.randn(7, 4)), BRIEF, seed=0)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(name.startswith("sampler.") for name in changed)


def test_imle_draws_new_noises_in_every_epoch(pretrained):
    model, seen = Glann(pretrained(), 4, 8), []
    model.sampler.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    fit_sampler(model, model.normed(torch.randn(7, 4)), BRIEF, seed=0)
    drawn = [noises for noises in seen if len(noises) == BRIEF.candidates * 7]
    assert len(drawn) == BRIEF.sampler_epochs
    assert len({noises.numpy().tobytes() for noises in drawn}) == BRIEF.sampler_epochs


def test_the_same_seed_gives_the_same_model_which_is_kept(
    pretrained, photographs, perceptual, tmp_path
):
    told: list[int] = []
    first, second, other = (
        train_glann(
            pretrained("sngan", num_classes=3), photographs, perceptual, BRIEF,
            seed=seed, on_step=lambda k, now: told.append(k),
        ).model
        for seed in (0, 0, 1)
    )  # fmt: skip
    assert told[:6] == [1, 2, 3, 4, 5, 6]
    images = sample(first, [None] * 5, seed=0)
    assert (sample(second, [None] * 5, seed=0) == images).all()
    assert (sample(other, [None] * 5, seed=0) != images).any()
    assert np.abs(sample(first, [None] * 5, seed=0, batch_size=2).astype(int) - images).max() <= 1
    first.save(tmp_path)
    assert (sample(load(tmp_path), [None] * 5, seed=0) == images).all()


def test_batch_norm_has_the_statistics_of_all_codes_alike(pretrained, perceptual):
    """The last of 251 codes does not weigh as much as all others."""
    pixels = np.random.default_rng(0).integers(0, 256, (251, 8, 8, 3), np.uint8)
    noise = ImageSet(pixels, np.zeros(251, int), ("all",), "noise")
    recipe = GlannRecipe(epochs=1, batch_size=251, noise=4, hidden=8, sampler_epochs=1)
    fitted, seen = train_glann(pretrained(), noise, perceptual, recipe, seed=0), []
    norm = next(m for m in fitted.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.register_forward_hook(lambda module, inputs, _: seen.append(inputs[0]))
    fitted.model.of_codes(fitted.codes)
    mean, var = seen[0].mean((0, 2, 3)), seen[0].var((0, 2, 3))
    assert ((norm.running_mean - mean).abs() < 0.02 * var.sqrt()).all()
    torch.testing.assert_close(norm.running_var, var, rtol=0.05, atol=1e-3)


def test_stylegan2_is_fitted_too(pretrained, photographs, perceptual):
    generator = pretrained("stylegan2_mlp", condition_size=5)
    fitted = train_glann(generator, photographs, perceptual, BRIEF, seed=0, features=FEATURES)
    assert fitted.codes.shape == (8, 4 + 6)
    assert fitted.fit[-1] < fitted.fit[0]


def test_bad_input_is_named(pretrained, pair, photographs, perceptual, tmp_path):
    def run(generator, images=photographs, **how):
        train_glann(generator, images, perceptual, BRIEF, seed=0, **how)

    with pytest.raises(InputError, match="8 pixels and 3 channels, the generator makes 8 pixels"):
        run(pretrained(image_channels=1))
    with pytest.raises(InputError, match=r"features are \[7, 5\]; give finite numbers \[8, d\]"):
        run(pretrained(), features=FEATURES[:7])
    with pytest.raises(InputError, match="has 1 image"):
        run(pretrained(), photographs.subset([0]))
    with pytest.raises(InputError, match="'resnet' cannot be given"):
        run(pair("resnet")[0])
    with pytest.raises(InputError, match="no layer that embeds"):
        run(pair("sngan", num_classes=2, shared=False)[0])
    save(pair("sngan")[0], tmp_path)
    with pytest.raises(InputError, match=r"holds no front\.safetensors"):
        load(tmp_path)
