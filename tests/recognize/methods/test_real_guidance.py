"""Equation 2 against closed forms and torchjd; the methods that have a gradient of each set."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.randomness import torch_generator
from synthbook.recognize.methods import train_by
from synthbook.recognize.methods.real_guidance import (
    aggregated,
    projected,
    real_guidance_,
    take_gradients,
)
from synthbook.recognize.methods.task import stage
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import fit, report


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch_generator(seed, "test"), dtype=torch.float64)


vectors = st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=4).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


@given(vectors, vectors)
@settings(deadline=None)
def test_projection_has_its_three_properties(synthetic: Tensor, real: Tensor) -> None:
    new = projected(synthetic, real)
    size = 1e-9 * (1 + synthetic.norm() * real.norm())
    if synthetic @ real >= 0:
        assert torch.equal(new, synthetic)
    elif real @ real > 1e-30:
        assert abs(new @ real) <= size
        closed = synthetic - (synthetic @ real) / (real @ real) * real
        torch.testing.assert_close(new, closed)
    assert new @ real >= -size
    torch.testing.assert_close(projected(new, real), new, atol=1e-8, rtol=1e-6)
    assert new.norm() <= synthetic.norm() + 1e-9


def parameters_with(synthetic: list[Tensor | None], shapes: list[tuple[int, ...]]):
    found = []
    for gradient, shape in zip(synthetic, shapes, strict=True):
        parameter = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        parameter.grad = None if gradient is None else gradient.clone()
        found.append(parameter)
    return found


SHAPES = [(3,), (2, 4), (2, 3, 3, 3)]


def gradients(seed: int) -> list[Tensor]:
    return [drawn(*shape, seed=seed + k) for k, shape in enumerate(SHAPES)]


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize("lambdas", [(1.0, 1.0), (0.5, 2.0), (0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("flip", [1, -1], ids=["agree", "conflict"])
def test_the_update_is_equation_2(lambdas: tuple[float, float], flip: int) -> None:
    real, noise = gradients(0), gradients(10)
    synthetic = [flip * r + 0.5 * n for r, n in zip(real, noise, strict=True)]
    parameters = parameters_with(synthetic, SHAPES)
    report = real_guidance_(
        parameters, [r.clone() for r in real], lambda_1=lambdas[0], lambda_2=lambdas[1]
    )
    new = projected(flat(synthetic), flat(real))
    expected = lambdas[0] * flat(real) + lambdas[1] * new
    torch.testing.assert_close(flat([p.grad for p in parameters]), expected)
    assert report["projected"] == (flip < 0)
    angle = torch.cosine_similarity(flat(synthetic), flat(real), dim=0)
    torch.testing.assert_close(report["cosine"], angle)


def test_per_layer_projects_each_tensor() -> None:
    real, synthetic = gradients(0), gradients(10)
    parameters = parameters_with(synthetic, SHAPES)
    report = real_guidance_(
        parameters, [r.clone() for r in real], lambda_1=0.7, lambda_2=0.2, per_layer=True
    )
    conflicts = 0
    for parameter, f, r in zip(parameters, synthetic, real, strict=True):
        new = projected(f.flatten(), r.flatten()).view_as(f)
        conflicts += int((f * r).sum() < 0)
        torch.testing.assert_close(parameter.grad, 0.7 * r + 0.2 * new)
    assert report["projected"].item() == pytest.approx(conflicts / len(SHAPES))


def test_memory_order_makes_no_difference() -> None:
    """Convolutions in channels_last give gradients in that order; a mixture must work too."""
    real, synthetic = gradients(0), [-r for r in gradients(0)]
    for order in ((0, 1), (1, 0), (1, 1)):
        f, r = synthetic[2], real[2]
        f = f.contiguous(memory_format=torch.channels_last) if order[0] else f
        r = r.clone().contiguous(memory_format=torch.channels_last) if order[1] else r.clone()
        parameters = parameters_with([None, None, f], SHAPES)
        real_guidance_(parameters, [None, None, r], lambda_1=0.0)
        torch.testing.assert_close(parameters[2].grad, torch.zeros_like(f), atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_torchjds_dual_projection_is_the_same_map(seed: int) -> None:
    from torchjd.aggregation import DualProj

    real, synthetic = drawn(2, 9, seed=seed)
    found = DualProj(pref_vector=torch.tensor([0.0, 1.0], dtype=torch.float64))(
        torch.stack([real, synthetic])
    )
    torch.testing.assert_close(found, projected(synthetic, real), atol=2e-3, rtol=2e-3)


def test_zero_and_missing_gradients_are_defined() -> None:
    real, synthetic = gradients(0), gradients(10)
    zeros = [torch.zeros_like(r) for r in real]
    parameters = parameters_with(synthetic, SHAPES)
    report = real_guidance_(parameters, zeros)
    torch.testing.assert_close(flat([p.grad for p in parameters]), flat(synthetic))
    assert report["cosine"] == report["projected"] == 0
    parameters = parameters_with([synthetic[0], None, real[2], None], [*SHAPES, (2,)])
    given = [None, real[1], real[2].clone(), None]
    report = real_guidance_(parameters, given, lambda_1=0.5, lambda_2=2.0)
    wanted = (2 * synthetic[0], 0.5 * real[1], 2.5 * real[2])
    torch.testing.assert_close([p.grad for p in parameters[:3]], list(wanted))
    assert parameters[3].grad is None
    assert report["projected"] == 0


@pytest.mark.parametrize("flip", [1, -1], ids=["agree", "conflict"])
def test_pcgrad_adds_up_what_each_gradient_has_beside_the_other(flip: int) -> None:
    """Yu et al. 2020, Algorithm 1, which of two gradients is equation 2 in both directions."""
    from torchjd.aggregation import PCGrad

    real, noise = gradients(0), gradients(10)
    synthetic = [flip * r + 0.5 * n for r, n in zip(real, noise, strict=True)]
    synthetic[1], real[2] = torch.zeros_like(synthetic[1]), torch.zeros_like(real[2])
    parameters = parameters_with([synthetic[0], None, synthetic[2]], SHAPES)
    parameters[2].data = parameters[2].data.contiguous(memory_format=torch.channels_last)
    assert aggregated(PCGrad())(parameters, [real[0].clone(), real[1].clone(), None]) == {}
    f, r = flat(synthetic), flat(real)
    assert (f @ r < 0) == (flip < 0)
    torch.testing.assert_close(
        flat([p.grad for p in parameters]), projected(f, r) + projected(r, f), rtol=1e-5, atol=1e-6
    )
    assert parameters[2].grad.stride() == parameters[2].stride()


# The methods


def test_in_a_readers_own_step_it_is_two_functions(classifier, task, weights) -> None:
    def step(model, batches, optimizer):
        optimizer.zero_grad()
        F.cross_entropy(model(batches["real"].images), batches["real"].labels).backward()
        real = take_gradients(model.parameters())
        logits, labels = model(batches["synthetic"].images), batches["synthetic"].labels
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        real_guidance_(model.parameters(), real, lambda_1=0.5)
        optimizer.step()
        return report(loss, logits, labels)

    given = task(updates=32)
    train_by("RG", model := classifier(), given, lambda_1=0.5)
    fit(own := classifier(), given.streams(), given.recipe, seed=given.seed, step=step)
    assert torch.equal(weights(own), weights(model))


def test_a_gem_is_rg_with_other_lambdas(classifier, task, weights) -> None:
    models = classifier(), classifier()
    train_by("A-GEM", models[0], task())
    train_by("RG", models[1], task(), lambda_1=0.0, lambda_2=1.0)
    assert torch.equal(*map(weights, models))


@pytest.mark.parametrize(
    ("guided", "bare"), [("RG+PG-R+PG-F", "RG"), ("PG-R+PG-F", "sum"), ("PG-KL", "")]
)
def test_guidance_of_weight_zero_is_none(guided: str, bare: str, classifier, task, weights) -> None:
    """Of one set, it is cross-entropy on the same batches: plain training draws others."""
    models, given = (classifier(), classifier()), task(**({} if bare else {"real": None}))
    train_by(guided, models[0], given, lambda_3=0.0)
    if bare:
        train_by(bare, models[1], given)
    else:
        stage(models[1], given.streams(), given)
    torch.testing.assert_close(*map(weights, models))


def test_lambdas_weigh_the_gradients(classifier, task, weights) -> None:
    """Under SGD twice the gradient is twice the rate; without a conflict RG is the sum."""
    recipe = Recipe(epochs=1, batch_size=128, learning_rate=0.01, optimizer="sgd")
    slow = {"recipe": recipe, "updates": 1}
    found = {}
    for name, lambdas in (("RG", (1, 0)), ("sum", (1, 0)), ("sum", (0, 2)), ("sum", (1, 2))):
        model = classifier()
        train_by(name, model, task(**slow), lambda_1=lambdas[0], lambda_2=lambdas[1])
        moved = [a - b for a, b in zip(model.parameters(), classifier().parameters(), strict=True)]
        found[name, lambdas] = torch.cat([m.detach().flatten() for m in moved])
    torch.testing.assert_close(found["RG", (1, 0)], found["sum", (1, 0)])
    both = found["sum", (1, 0)] + found["sum", (0, 2)]
    torch.testing.assert_close(found["sum", (1, 2)], both, atol=1e-6, rtol=1e-3)
    assert found["sum", (0, 2)].norm() > 0.1 * found["sum", (1, 0)].norm() > 0


def test_pcgrad_of_gradients_that_agree_is_their_sum(classifier, task, weights) -> None:
    recipe = Recipe(epochs=1, batch_size=128, learning_rate=0.01, optimizer="sgd")
    models = classifier(), classifier()
    for name, model in zip(("PCGrad", "sum"), models, strict=True):
        train_by(name, model, task(recipe=recipe, updates=1))
    torch.testing.assert_close(*map(weights, models))


class Linear(nn.Module):
    """A classifier without BatchNorm, whose pieces see what the whole batch sees."""

    num_classes = 4

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 4)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


@pytest.mark.parametrize("name", ["RG", "A-GEM", "sum"])
def test_accumulated_gradients_take_the_same_step(name: str, task) -> None:
    whole, pieces = Linear(), Linear()
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=0.01, optimizer="sgd")
    train_by(name, whole, task(recipe=recipe))
    train_by(name, pieces, task(recipe=recipe), accumulate=4)
    torch.testing.assert_close(whole.head.weight, pieces.head.weight)
    assert whole.head.weight.any()


def test_pieces_of_less_than_two_images_are_refused(classifier, task) -> None:
    with pytest.raises(InputError, match="accumulate = 17"):
        train_by("RG", classifier(), task(), accumulate=17)
