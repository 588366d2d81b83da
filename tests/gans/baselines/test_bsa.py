"""BSA changes scales, shifts and embeddings, and nothing else."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

from synthbook.errors import InputError
from synthbook.gans.baselines.bsa import (
    Adapted,
    BSARecipe,
    load,
    to_normal,
    train_bsa,
    truncated,
)
from synthbook.gans.perceptual import distance
from synthbook.gans.sampling import sample
from synthbook.training import normalise

BRIEF = BSARecipe(steps=4, batch_size=3)
CASES = {
    "sngan": {"num_classes": 3},
    "sngan_self_modulated": {},
    "biggan": {"condition_size": 5, "latent": 6},
}


@pytest.mark.parametrize("name", [*CASES, "plain"])
def test_only_scales_shifts_and_embeddings_change(name, pretrained, photographs, perceptual):
    name, settings = ("sngan", {}) if name == "plain" else (name, CASES[name])
    before = Adapted(pretrained(name, **settings), len(photographs)).state_dict()
    model = train_bsa(pretrained(name, **settings), photographs, perceptual, BRIEF, seed=0)
    after, adapted = model.state_dict(), set(model.adapted())
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed <= adapted
    assert {k for k in adapted if before[k].numel()} == changed
    # They are what the paper names: of norms, of the first map, and the embeddings.
    allowed = (".gain.", ".bias.", "norm", "first_map.", "codes", "condition")
    assert all(any(part in k for part in allowed) for k in adapted)
    assert not any(k.startswith("generator.embed") for k in adapted)
    convolutions = [k for k in before if "conv" in k or ".first." in k or ".last." in k]
    assert convolutions
    assert not {*convolutions} & changed


def test_images_come_nearer_to_those_of_the_training_set(pretrained, photographs, perceptual):
    pixels = normalise(torch.tensor(photographs.images).permute(0, 3, 1, 2))

    def apart(model: Adapted) -> float:
        with torch.no_grad():
            made = perceptual(model.of_codes(model.codes))
        return float(distance(made, perceptual(pixels)).mean())

    curve: list[float] = []
    recipe = BSARecipe(steps=100, batch_size=8, noise=0.0, normal=0.0)
    model = train_bsa(
        pretrained(channels=8, latent=8), photographs, perceptual, recipe, seed=0,
        on_step=lambda k, now: curve.append(now["loss"]),
    )  # fmt: skip
    assert apart(model) < 0.75 * apart(Adapted(pretrained(channels=8, latent=8), 8))
    assert len(curve) == 100
    assert curve[-1] < 0.75 * curve[0]


def test_noise_and_the_nearness_of_codes_to_it_enter_the_loss(pretrained, photographs, perceptual):
    def first_step(**weights: float) -> dict[str, float]:
        told, recipe = [], replace(BRIEF, steps=1, batch_size=8, **weights)
        how = {"seed": 0, "on_step": lambda k, now: told.append(now)}
        train_bsa(pretrained(), photographs, perceptual, recipe, **how)
        return told[0]

    def added(told: dict[str, float]) -> float:
        return told["loss"] - told["perceptual distance"]

    plain, near, nearer, noisy = (
        first_step(noise=noise, normal=normal)
        for noise, normal in ((0.0, 0.0), (0.0, 0.1), (0.0, 0.4), (1.0, 0.0))
    )
    assert added(plain) == added(noisy) == 0
    # Codes start at 0, and of 80 drawn vectors of 4 numbers the mean square alone is 4.
    assert added(near) / 0.1 == pytest.approx(4.2, abs=0.8)
    assert added(nearer) == pytest.approx(4 * added(near), rel=1e-4)
    assert noisy["perceptual distance"] != pytest.approx(plain["perceptual distance"], rel=1e-3)


def test_the_rate_falls_linearly(pretrained, photographs, perceptual, monkeypatch):
    rates, step = [], torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *given: rates.append(self.param_groups[0]["lr"]) or step(self, *given),
    )
    train_bsa(pretrained(), photographs, perceptual, BRIEF, seed=0)
    assert rates == pytest.approx([BRIEF.learning_rate * k / 4 for k in (4, 3, 2, 1)])


def test_it_starts_from_the_generator_at_the_mean_of_its_embeddings(pretrained):
    generator = pretrained(num_classes=3)
    codes = torch.randn(4, 4)
    mean = generator.embed(torch.arange(3)).mean(0, keepdim=True).expand(4, -1)
    want = generator.from_embedding(codes, mean)
    model = Adapted(generator, 4, truncation=0.5)
    torch.testing.assert_close(model.of_codes(codes), want)
    # A copy has a first map of its own.
    other = copy.deepcopy(model)
    torch.nn.init.zeros_(other.first_map.scale)
    torch.testing.assert_close(model.of_codes(codes), want)
    assert (other.of_codes(codes) - want).abs().max() > 1e-3
    torch.testing.assert_close(model(codes), model.of_codes(truncated(codes, 0.5)))


def test_truncated_noise_has_the_truncated_normal_distribution():
    numbers = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    made = truncated(numbers, 0.7)
    assert made.abs().max() <= 0.7
    assert (made[numbers.argsort()].diff() >= 0).all()
    quantiles = torch.tensor(scipy.stats.norm.ppf([0.1, 0.5, 0.8]))
    want = scipy.stats.truncnorm(-0.7, 0.7).ppf([0.1, 0.5, 0.8])
    np.testing.assert_allclose(truncated(quantiles, 0.7), want, atol=1e-9)
    torch.testing.assert_close(truncated(numbers, 30.0), numbers, atol=1e-5, rtol=1e-5)
    assert truncated(torch.tensor([-60.0, 60.0]), 2.0).tolist() == [-2, 2]


def test_the_distance_to_normal_noise_is_that_of_both_nearest():
    codes, drawn = torch.randn(5, 3), torch.randn(9, 3)
    squares = [[float((a - b).square().sum()) for b in drawn] for a in codes]
    want = np.mean([min(row) for row in squares]) + np.mean(
        [min(x) for x in zip(*squares, strict=True)]
    )
    assert float(to_normal(codes, drawn)) == pytest.approx(want, rel=1e-5)
    assert float(to_normal(drawn, drawn)) == 0


def test_the_same_seed_gives_the_same_model_which_is_kept(
    pretrained, photographs, perceptual, tmp_path
):
    first, second = (
        train_bsa(pretrained(num_classes=3), photographs, perceptual, BRIEF, seed=2, truncation=0.4)
        for _ in range(2)
    )
    images = sample(first, [None] * 5, seed=0)
    assert (sample(second, [None] * 5, seed=0) == images).all()
    first.save(tmp_path)
    kept = load(tmp_path)
    assert (sample(kept, [None] * 5, seed=0) == images).all()
    assert torch.equal(kept.codes, first.codes)


def test_bad_input_is_named(pretrained, photographs, perceptual):
    with pytest.raises(InputError, match="no batch norm to be adapted"):
        Adapted(pretrained("stylegan2"), 3)
    with pytest.raises(InputError, match="the generator makes 8 pixels and 1 channels"):
        train_bsa(pretrained(image_channels=1), photographs, perceptual, BRIEF, seed=0)
