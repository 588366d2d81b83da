"""GAN training: resuming, averaging, stopping, and what it learns; sampling image by image."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans import train
from synthbook.gans.train import GanRecipe
from synthbook.training import TrainingError

torch.set_num_threads(1)
TINY = GanRecipe(channels=4, latent=4, steps=6, batch_size=8, ema_decay=0.5)


def stripes(count: int = 40) -> ImageSet:
    """Return grey images of two classes: the left or the right half is bright, by 180..250."""
    labels = np.arange(count) % 2
    images = np.zeros((count, 8, 8, 1), dtype=np.uint8)
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        image[:, label * 4 : (label + 1) * 4] = 180 + 70 * k // count
    return ImageSet(images, labels, ("left", "right"), "stripes")


@pytest.fixture(scope="module")
def generator():
    return train.train_gan(stripes(), TINY, seed=0)


class Killed(Exception):
    pass


@pytest.mark.parametrize("discriminator_steps", [1, 2])
def test_killed_and_resumed_equals_never_killed(tmp_path, discriminator_steps):
    recipe = dataclasses.replace(TINY, discriminator_steps=discriminator_steps)
    whole = train.train_gan(stripes(), recipe, seed=0)

    def kill(step: int, losses: dict[str, float]) -> None:
        if step == 5:
            raise Killed

    how = {"seed": 0, "folder": tmp_path, "checkpoint_every": 2}
    with pytest.raises(Killed):
        train.train_gan(stripes(), recipe, on_step=kill, **how)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"]
    steps = []
    resumed = train.train_gan(stripes(), recipe, on_step=lambda s, _: steps.append(s), **how)
    assert steps == [5, 6]
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name
    with pytest.raises(InputError, match="another folder"):
        train.train_gan(stripes(50), recipe, **how)


def test_average_equals_the_recursion():
    def weights(**settings) -> dict[str, torch.Tensor]:
        recipe = dataclasses.replace(TINY, schedule="constant", **settings)
        return dict(train.train_gan(stripes(), recipe, seed=0).named_parameters())

    after = [weights(steps=steps, ema_decay=0.0) for steps in (1, 2, 3)]
    for name, value in weights(steps=3, ema_decay=0.5).items():
        expected = 0.25 * after[0][name] + 0.25 * after[1][name] + 0.5 * after[2][name]
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_standing_statistics_are_those_of_the_generators_images(generator):
    """With them, eval mode normalises what the last layer sees to mean 0 and variance 1."""
    seen = []
    hook = generator.norm.register_forward_hook(lambda module, inputs, _: seen.append(inputs[0]))
    labels = torch.arange(2000) % 2
    generator(torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)), labels)
    hook.remove()
    mean, var = seen[0].mean((0, 2, 3)), seen[0].var((0, 2, 3))
    norm = generator.norm
    assert ((norm.running_mean - mean).abs() < 0.15 * var.sqrt() + 1e-3).all()
    torch.testing.assert_close(norm.running_var, var, rtol=0.2, atol=1e-3)


def test_not_finite_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    def poison(step: int, losses: dict[str, float]) -> None:
        if step == 4:
            tensors[0].data.fill_(float("nan"))

    tensors: list[torch.Tensor] = []
    build = train.build_networks

    def remember(*args, **settings):
        made = build(*args, **settings)
        tensors.extend(made[0].parameters())
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "build_networks", remember)
        with pytest.raises(TrainingError, match=r"loss is nan at step 5.*checkpoint is kept"):
            train.train_gan(
                stripes(), TINY, seed=0, folder=tmp_path, checkpoint_every=3, on_step=poison
            )
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
    resumed = train.train_gan(stripes(), TINY, seed=0, folder=tmp_path, checkpoint_every=3)
    assert all(p.isfinite().all() for p in resumed.parameters())


def test_a_checkpoint_with_bad_weights_is_never_written(tmp_path):
    def poison(step: int, losses: dict[str, float]) -> None:
        if step == 4:
            tensors[0].data.fill_(float("nan"))

    tensors: list[torch.Tensor] = []
    build = train.build_networks

    def remember(*args, **settings):
        made = build(*args, **settings)
        tensors.extend(made[0].parameters())
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "build_networks", remember)
        with pytest.raises(TrainingError, match="after step 4"):
            train.train_gan(
                stripes(), TINY, seed=0, folder=tmp_path, checkpoint_every=2, on_step=poison
            )
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_an_image_depends_on_its_own_stream_only(generator):
    labels = [0, 1, 1, 0, 1, 0, 0]
    together = train.sample(generator, labels, seed=2)
    assert together.shape == (7, 8, 8, 1)
    assert together.dtype == np.uint8
    for batch_size in (1, 3):
        parts = train.sample(generator, labels, seed=2, batch_size=batch_size)
        assert np.abs(parts.astype(int) - together).max() <= 1
    fewer = train.sample(generator, labels[:3], seed=2)
    assert np.abs(fewer.astype(int) - together[:3]).max() <= 1
    assert np.abs(train.sample(generator, labels, seed=3).astype(int) - together).max() > 9
    with pytest.raises(InputError, match="class 2"):
        train.sample(generator, [2], seed=0)


def test_saved_generator_gives_the_same_images(generator, tmp_path):
    before = train.sample(generator, [0, 1, 1], seed=0)
    train.save(generator, tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"config.json", "generator.safetensors"}
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architecture"] == "resnet"
    loaded = train.load(tmp_path / "model")
    np.testing.assert_array_equal(train.sample(loaded, [0, 1, 1], seed=0), before)
    with pytest.raises(InputError, match="no generator"):
        train.load(tmp_path)


def test_training_learns_the_classes():
    recipe = GanRecipe(channels=8, latent=8, steps=150, batch_size=16, ema_decay=0.9)
    images = stripes()
    made = train.sample(train.train_gan(images, recipe, seed=0), [0, 1] * 20, seed=0)
    start = dataclasses.replace(recipe, steps=1, generator_learning_rate=1e-9)
    untrained = train.sample(train.train_gan(images, start, seed=0), [0, 1] * 20, seed=0)

    def distance(x: np.ndarray) -> float:
        means = [x[k::2].mean(0) - images.images[k::2].mean(0) for k in (0, 1)]
        return float(np.mean(np.square(means)))

    assert distance(made) < 0.2 * distance(untrained)
    left = made[:, :, :4].mean((1, 2, 3)) - made[:, :, 4:].mean((1, 2, 3))
    assert (left[0::2] > 50).mean() > 0.9
    assert (left[1::2] < -50).mean() > 0.9


def test_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    train.train_gan(stripes(), dataclasses.replace(TINY, steps=1, flip=True), seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_mixed_precision_trains():
    recipe = dataclasses.replace(TINY, precision="bfloat16", steps=2)
    made = train.sample(train.train_gan(stripes(), recipe, seed=0), [0], seed=0)
    assert made.shape == (1, 8, 8, 1)
