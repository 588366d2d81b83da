"""The training loop over architectures: resuming, averaging, regularising, best and last."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans import train as module
from synthbook.gans.batches import ImageStream, Real
from synthbook.gans.losses import lazy_adam
from synthbook.gans.networks import load, save
from synthbook.gans.recipes import GanRecipe, Training, published
from synthbook.gans.sampling import sample, set_standing_statistics
from synthbook.gans.train import Trained, train, train_gan
from synthbook.training import Budget, TrainingError, Watch

NAMES = ("resnet", "sngan", "biggan", "stylegan2")
CONDITIONS = {"sngan": {"condition_size": 3}, "biggan": {"num_classes": 2}}
EVERYTHING = Training(
    steps=6, batch_size=4, ema_decay=0.5, ema_start=2, discriminator_steps=2, flip=True,
    generator_learning_rate=1e-3, discriminator_learning_rate=1e-3,
    loss="non_saturating", augment="color,translation,cutout", consistency=1.0, r1=1.0,
    r1_interval=2, frozen_blocks=1, standing_images=30,
)  # fmt: skip
PLAIN = Training(
    steps=4, batch_size=4, schedule="constant", loss="non_saturating", standing_images=30
)


def noise(count: int = 12, size: int = 8, channels: int = 3) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)
    return ImageSet(pixels, np.arange(count) % 2, ("a", "b"), "noise")


def features(config, count: int = 12) -> torch.Tensor | None:
    if not config.condition_size:
        return None
    return torch.randn(count, config.condition_size, generator=torch.Generator().manual_seed(0))


def brightness(generator: torch.nn.Module, step: int) -> dict[str, float]:
    """Return a number that needs images of the generator, in place of an FID, and the step."""
    config = generator.config
    condition = torch.zeros(8, dtype=torch.int64) if config.num_classes else None
    if config.condition_size:
        condition = torch.zeros(8, config.condition_size)
    latents = torch.randn(8, config.latent, generator=torch.Generator().manual_seed(1))
    return {"bright": float(generator(latents, condition).mean().abs()), "step": step}


@pytest.fixture
def run(pair):
    def trained(name: str, recipe: Training, images=None, **how) -> Trained:
        networks = pair(name, **CONDITIONS.get(name, {}))
        how["conditions"] = features(networks[0].config)
        return train(*networks, images or noise(), recipe, seed=0, **how)

    return trained


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


class Killed(Exception):
    pass


def kill_at(last: int):
    def on_step(step: int, computed: dict[str, float]) -> None:
        if step == last:
            raise Killed

    return on_step


@pytest.mark.parametrize("name", NAMES)
def test_killed_and_resumed_equals_never_killed(name, tmp_path, run):
    path = 1.0 if name == "stylegan2" else 0.0
    recipe = replace(EVERYTHING, path_length=path, path_length_interval=2)
    how = {"evaluate": brightness, "evaluate_every": 2}
    whole = run(name, recipe, **how)

    how |= {"folder": tmp_path, "checkpoint_every": 3}
    with pytest.raises(Killed):
        run(name, recipe, on_step=kill_at(5), **how)
    steps = []
    resumed = run(name, recipe, on_step=lambda step, _: steps.append(step), **how)
    assert steps == [4, 5, 6]
    assert equal(resumed.generator, whole.generator)
    assert equal(resumed.discriminator, whole.discriminator)
    assert equal(resumed.best, whole.best)
    assert resumed.curve == whole.curve
    assert [step for step, _ in whole.curve] == [0, 2, 4, 6]
    assert all(numbers["step"] == step for step, numbers in whole.curve)
    again = run(name, recipe, **how)  # nothing is left to do
    assert equal(again.generator, whole.generator)


def test_the_stream_goes_on_after_a_kill_and_no_image_comes_twice(tmp_path, run):
    seen: list[int] = []

    def draw(indices: torch.Tensor) -> torch.Tensor:
        seen.extend(indices.tolist())
        values = (indices * 37 % 251).to(torch.uint8)
        return values[:, None, None, None].expand(-1, 3, 8, 8)

    stream = ImageStream(draw, 8, 3, "flat")
    recipe = replace(PLAIN, discriminator_steps=2)
    whole = run("stylegan2", recipe, stream)
    assert seen == list(range(4 * 2 * 4))

    how = {"folder": tmp_path, "checkpoint_every": 2}
    with pytest.raises(Killed):
        run("stylegan2", recipe, stream, on_step=kill_at(3), **how)
    assert equal(run("stylegan2", recipe, stream, **how).generator, whole.generator)
    classes = replace(stream, num_classes=2)
    assert run("biggan", recipe, classes).generator.config.num_classes == 2


def test_a_stream_takes_labels_of_other_images(pair):
    def draw(indices: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(indices), 3, 8, 8, dtype=torch.uint8)

    labels = torch.tensor([1, 1, 1, 0])
    stream = ImageStream(draw, 8, 3, "black", 2, labels)
    real = Real(stream, pair("biggan", num_classes=2)[0].config, None, "cpu")
    _, found = real.pick(4000, torch.Generator().manual_seed(0))
    assert found.float().mean().item() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("values", "best"),
    [((5, 3, 1, 2), 2), ((1, 2, 1, 3), 0), ((float("nan"), 3, float("nan"), 2), 3)],
)
def test_best_is_the_first_lowest_that_is_a_number_and_last_is_kept_too(values, best, run):
    seen = []

    def evaluate(generator: torch.nn.Module, step: int) -> dict[str, float]:
        assert not generator.training
        seen.append({k: v.clone() for k, v in generator.state_dict().items()})
        return {"distance": values[step], "other": -step}

    recipe = replace(PLAIN, steps=3)
    trained = run("stylegan2", recipe, evaluate=evaluate, evaluate_every=1)
    assert [step for step, _ in trained.curve] == [0, 1, 2, 3]
    assert [numbers["other"] for _, numbers in trained.curve] == [0, -1, -2, -3]
    for network, state in ((trained.best, seen[best]), (trained.generator, seen[3])):
        assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert run("stylegan2", recipe).best is None


def test_average_is_the_recursion_in_images(run):
    """A half-life of batch_size / 2 images is a decay of 1/4 a step."""

    def weights(**settings) -> dict[str, torch.Tensor]:
        recipe = replace(PLAIN, **{"ema_half_life": 2.0, **settings})
        return dict(run("stylegan2", recipe).generator.named_parameters())

    plain = {"ema_half_life": 0.0, "ema_decay": 0.0}
    after = []
    for steps in (1, 2, 3):
        recipe = replace(PLAIN, steps=steps, **plain)
        after.append(dict(run("stylegan2", recipe).generator.named_parameters()))
    for name, value in weights(steps=3).items():
        expected = after[0][name] / 16 + after[1][name] * 3 / 16 + after[2][name] * 3 / 4
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    for name, value in weights(steps=3, ema_start=3).items():  # the second average began anew
        torch.testing.assert_close(value, after[2][name])
    warmed = {"ema_half_life": 0.0, "ema_decay": 0.99, "average": "warmed"}
    for name, value in weights(steps=3, **warmed).items():  # decays of 2/11 and 3/12
        expected = after[0][name].lerp(after[1][name], 9 / 11).lerp(after[2][name], 9 / 12)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert replace(PLAIN, ema_half_life=4.0).decay == 0.5
    assert PLAIN.decay == PLAIN.ema_decay


def test_a_training_goes_on_from_averaged_weights_and_states_of_the_optimizers(pair):
    """Two halves, the second from all that the first left, are the whole but for its draws."""
    recipe = replace(PLAIN, steps=2, ema_decay=0.5)
    first = train(*pair("stylegan2"), noise(), recipe, seed=0)
    frozen = {"generator_learning_rate": 1e-12, "discriminator_learning_rate": 1e-12}

    def go_on(**start) -> Trained:
        networks = copy.deepcopy(first.unaveraged), copy.deepcopy(first.discriminator)
        return train(*networks, noise(), replace(recipe, **frozen), seed=1, **start)

    # Weights stand still, so that the average comes nearer to them by 3/4 in two steps.
    on = go_on(average=first.generator, optimizers=first.optimizers)
    for name, value in on.generator.named_parameters():
        own, before = (
            dict(g.named_parameters())[name] for g in (first.unaveraged, first.generator)
        )
        torch.testing.assert_close(value, own + (before - own) / 4, rtol=1e-4, atol=1e-5)
    afresh = go_on()
    for name, value in afresh.generator.named_parameters():  # the first step copies
        torch.testing.assert_close(value, dict(afresh.unaveraged.named_parameters())[name])
    for network in ("generator", "discriminator"):
        old, new, anew = (t.optimizers[network]["state"][0] for t in (first, on, afresh))
        assert (old["step"], new["step"], anew["step"]) == (2, 4, 2)
        assert not torch.equal(new["exp_avg_sq"], anew["exp_avg_sq"])


def test_regularisers_act_on_their_steps_and_are_reported(run):
    steps: dict[int, set[str]] = {}
    recipe = replace(PLAIN, steps=5, r1=1.0, r1_interval=3, path_length=1.0, path_length_interval=2)
    trained = run(
        "stylegan2", recipe, on_step=lambda step, computed: steps.update({step: {*computed}})
    )
    losses = {"discriminator loss", "generator loss"}
    r1, path = {"R1 penalty"}, {"path length penalty"}
    assert [steps[k] - losses for k in range(1, 6)] == [r1 | path, set(), path, r1, path]
    assert not equal(run("stylegan2", replace(PLAIN, steps=5)).generator, (trained.generator))


def test_r1_holds_the_gradient_down(pair):
    def slope(r1: float) -> float:
        recipe = replace(PLAIN, steps=40, r1=r1, r1_interval=1, discriminator_learning_rate=2e-2)
        generator, discriminator = pair("stylegan2")
        train(generator, discriminator, noise(), recipe, seed=0)
        images = torch.randn(8, 3, 8, 8, requires_grad=True)
        (gradient,) = torch.autograd.grad(discriminator(images).sum(), images)
        return float(gradient.square().sum((1, 2, 3)).mean())

    assert slope(100.0) < 0.3 * slope(1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_blocks_stay_while_the_rest_is_trained(name, pair, run):
    before = pair(name, **CONDITIONS.get(name, {}))[1].state_dict()
    trained = run(name, replace(PLAIN, frozen_blocks=1)).discriminator
    frozen = {id(t) for m in trained.stages()[0] for t in m.state_dict(keep_vars=True).values()}
    for key, value in trained.state_dict(keep_vars=True).items():
        same = torch.equal(value, before[key])
        assert same or id(value) not in frozen, key
        if id(value) not in frozen and isinstance(value, torch.nn.Parameter):
            assert not same, key


def test_read_networks_can_be_trained_on(tmp_path, pair):
    """A generator comes from its files without gradients and in eval mode."""
    generator, discriminator = pair("biggan", num_classes=2)
    save(generator, tmp_path)
    trained = train(load(tmp_path), discriminator, noise(), PLAIN, seed=0)
    assert not equal(trained.generator, generator)


@pytest.mark.parametrize(
    ("at", "says"),
    [(3, r"loss is nan at step 4.*checkpoint is kept"), (4, "after step 4")],  # 4: when it is kept
)
def test_not_finite_names_the_step_and_keeps_the_last_good_checkpoint(
    tmp_path, at, says, pair, run
):
    generator, discriminator = pair("stylegan2")

    def poison(step: int, computed: dict[str, float]) -> None:
        if step == at:
            generator.constant.data.fill_(float("nan"))

    how = {"folder": tmp_path, "checkpoint_every": 2}
    with pytest.raises(TrainingError, match=says):
        train(generator, discriminator, noise(), PLAIN, seed=0, on_step=poison, **how)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]
    assert equal(run("stylegan2", PLAIN, **how).generator, run("stylegan2", PLAIN).generator)


@pytest.mark.parametrize("watched", [False, True])
def test_the_last_step_is_looked_at_where_others_are_not(watched, monkeypatch, pair, run):
    """As on a GPU, where a training without a folder would return networks that are not finite."""
    monkeypatch.setitem(module.LOOK_EVERY, "cpu", 50)
    steps = []
    run("stylegan2", PLAIN, on_step=lambda step, _: steps.append(step))
    assert steps == [4]
    generator, discriminator = pair("stylegan2")
    generator.constant.data.fill_(float("nan"))
    budget = Budget(minutes=1e-9, measure_every=1e-9)
    watch = Watch(budget, lambda _: {"accuracy": 0.0}, "cpu") if watched else None
    with pytest.raises(TrainingError, match="loss is nan at step"):
        train(generator, discriminator, noise(), PLAIN, seed=0, watch=watch)


def test_global_random_state_is_left_alone(run):
    before = torch.random.get_rng_state()
    run("stylegan2", replace(EVERYTHING, steps=1, path_length=1.0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_published_settings(run):
    recipe = published("stylegan2", steps=5, batch_size=32)
    assert (recipe.r1, recipe.path_length, recipe.batch_size) == (10.0, 2.0, 32)
    assert recipe.decay == 0.5 ** (32 / 10_000)
    with pytest.raises(InputError, match="did you mean 'sngan'"):
        published("sngam")
    trained = run("biggan", published("biggan", steps=1, batch_size=4))
    assert trained.generator.config.architecture == "biggan"


def test_mixed_precision_trains_and_stays_near(run):
    recipe = replace(PLAIN, steps=2, generator_learning_rate=1e-4, discriminator_learning_rate=1e-4)
    exact = run("biggan", recipe).generator
    mixed = run("biggan", replace(recipe, precision="bfloat16")).generator
    assert not equal(exact, mixed)
    images = [sample(generator, [0, 1], seed=0).astype(int) for generator in (exact, mixed)]
    assert np.abs(images[0] - images[1]).mean() < 2


def stripes(count: int = 40) -> ImageSet:
    """Return grey images of two classes: the left or the right half is bright, by 180..250."""
    labels = np.arange(count) % 2
    images = np.zeros((count, 8, 8, 1), dtype=np.uint8)
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        image[:, label * 4 : (label + 1) * 4] = 180 + 70 * k // count
    return ImageSet(images, labels, ("left", "right"), "stripes")


def test_training_learns_the_classes():
    recipe = GanRecipe(channels=8, latent=8, steps=150, batch_size=16, ema_decay=0.9)
    images = stripes()
    made = sample(train_gan(images, recipe, seed=0), [0, 1] * 20, seed=0)
    start = replace(recipe, steps=1, generator_learning_rate=1e-9)
    untrained = sample(train_gan(images, start, seed=0), [0, 1] * 20, seed=0)

    def distance(x: np.ndarray) -> float:
        means = [x[k::2].mean(0) - images.images[k::2].mean(0) for k in (0, 1)]
        return float(np.mean(np.square(means)))

    assert distance(made) < 0.2 * distance(untrained)
    left = made[:, :, :4].mean((1, 2, 3)) - made[:, :, 4:].mean((1, 2, 3))
    assert (left[0::2] > 50).mean() > 0.9
    assert (left[1::2] < -50).mean() > 0.9


def test_regularisers_weigh_as_much_as_all_the_steps_that_they_stand_for(run, monkeypatch):
    losses, told, update = [], [], module._update
    monkeypatch.setattr(
        module, "_update", lambda o, loss: losses.append(loss.item()) or update(o, loss)
    )
    recipe = replace(PLAIN, steps=1, r1=5.0, r1_interval=3, path_length=2.0, path_length_interval=4)
    run("stylegan2", recipe, on_step=lambda _, computed: told.append(computed))
    assert losses[1] == pytest.approx(5.0 / 2 * 3 * told[0]["R1 penalty"])
    assert losses[3] == pytest.approx(2.0 * 4 * told[0]["path length penalty"])


def test_consistency_adds_the_square_of_what_augmentation_changes(run):
    def loss(weight: float) -> float:
        told = []
        recipe = replace(PLAIN, steps=1, augment="color", consistency=weight)
        run("sngan", recipe, on_step=lambda _, computed: told.append(computed))
        return told[0]["discriminator loss"]

    plain, one, three = map(loss, (0.0, 1.0, 3.0))
    assert one > plain
    assert three - plain == pytest.approx(3 * (one - plain), rel=1e-3)


def test_consistency_is_a_mean_square(pair, monkeypatch):
    """Of a D that is the mean of an image, where all that it sees is brighter by 0.5: 1/4."""
    monkeypatch.setattr(module, "augmented", lambda images, *_: images + 0.5)

    def loss(weight: float) -> float:
        told, (generator, discriminator) = [], pair("sngan")
        discriminator.forward = lambda x, condition: x.mean((1, 2, 3)) + discriminator.psi.bias
        recipe = replace(PLAIN, steps=1, consistency=weight)
        how = {"seed": 0, "on_step": lambda _, computed: told.append(computed)}
        train(generator, discriminator, noise(), recipe, **how)
        return told[0]["discriminator loss"]

    assert loss(3.0) - loss(0.0) == pytest.approx(3 / 4, rel=1e-4)


def test_r1_is_of_real_images(pair):
    """Of D(x) = |x|^2 it is 4 |x|^2, which of white images is 4 a number."""
    told, (generator, discriminator) = [], pair("sngan")
    one = discriminator.psi.bias  # 0 at first, and trained
    discriminator.forward = lambda x, condition: (1 + one) * x.square().sum((1, 2, 3))
    white = ImageSet(np.full((12, 8, 8, 3), 255, np.uint8), np.zeros(12, int), ("all",), "white")
    recipe = replace(PLAIN, steps=1, r1=1.0, discriminator_learning_rate=1e-6)
    how = {"seed": 0, "on_step": lambda _, computed: told.append(computed)}
    train(generator, discriminator, white, recipe, **how)
    assert told[0]["R1 penalty"] == pytest.approx(4 * 3 * 8 * 8, rel=1e-3)


@pytest.mark.parametrize("regularised", [False, True])
def test_each_network_has_its_own_rate_and_falls_with_the_schedule(regularised, run):
    """The last of four steps has a quarter; steps of regularisers leave the pace as it was."""
    lazy = {"r1": 1.0, "r1_interval": 3, "path_length": 1.0, "path_length_interval": 2}
    rates = {"generator_learning_rate": 8e-4, "discriminator_learning_rate": 2e-4}
    recipe = replace(PLAIN, **rates, schedule="linear", betas=(0.5, 0.9))
    left = run("stylegan2", replace(recipe, **lazy) if regularised else recipe).optimizers
    for name, rate, interval in (("generator", 8e-4, 2), ("discriminator", 2e-4, 3)):
        (group,) = left[name]["param_groups"]
        betas = 0.5, 0.9
        if regularised:
            rate, betas = lazy_adam(rate, betas, interval)
        assert group["lr"] == pytest.approx(rate / 4)
        assert group["betas"] == pytest.approx(betas)


def test_a_watch_slows_both_networks_down(pair):
    class Half(Watch):
        rate_factor = 0.5

    watch = Half(Budget(minutes=1e3), lambda _: {"accuracy": 0.0}, "cpu")
    left = train(*pair("stylegan2"), noise(), PLAIN, seed=0, watch=watch).optimizers
    rates = [left[name]["param_groups"][0]["lr"] for name in ("generator", "discriminator")]
    assert rates == pytest.approx([PLAIN.generator_learning_rate / 2] * 2)


def test_averaged_weights_have_the_statistics_of_their_own_images(pair):
    made = train(*pair("sngan"), noise(), PLAIN, seed=0).generator
    again, real = copy.deepcopy(made), Real(noise(), made.config, None, "cpu")
    how = {"seed": 0, "images": PLAIN.standing_images}
    set_standing_statistics(again, lambda *given: real.pick(*given)[1], **how)
    assert equal(made, again)


@pytest.mark.parametrize("flip", [False, True])
def test_some_real_images_are_mirrored_if_the_recipe_says_so(flip, pair, monkeypatch):
    seen = []
    as_they_are = lambda images, *_: seen.append(images.detach()) or images  # noqa: E731
    monkeypatch.setattr(module, "augmented", as_they_are)
    pixels = np.zeros((12, 8, 8, 3), np.uint8)
    pixels[:, :, :4] = 255
    images = ImageSet(pixels, np.zeros(12, int), ("left",), "left")
    train(*pair("stylegan2"), images, replace(PLAIN, flip=flip), seed=0)
    real = torch.cat([both[:4, 0, 0] for both in seen if len(both) == 8])
    assert len(real) == 16
    mirrored = (real[:, 0] < real[:, -1]).sum().item()
    assert 2 < mirrored < 14 if flip else not mirrored


def test_every_step_draws_anew(pair):
    (generator, discriminator), latents, seeds = pair("stylegan2"), [], []

    def note(_, given: tuple) -> None:
        latents.append(given[0].numpy().tobytes())
        seeds.append(given[2].initial_seed())

    generator.register_forward_pre_hook(note)
    train(generator, discriminator, noise(), PLAIN, seed=0)
    assert len(set(latents)) == len(latents) == 2 * PLAIN.steps
    assert len(set(seeds)) == PLAIN.steps  # of noise and mixing inside the generator


def test_the_discriminator_sees_nothing_that_is_not_augmented(run, monkeypatch):
    seen = []
    as_they_are = lambda images, *_: seen.append(len(images)) or images  # noqa: E731
    monkeypatch.setattr(module, "augmented", as_they_are)
    run("stylegan2", replace(PLAIN, steps=1, r1=1.0, augment="color"))
    assert seen == [8, 4, 4]  # real and fake ones; real ones for R1; fake ones for the generator
