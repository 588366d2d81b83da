"""MineGAN: first the miner alone is trained, then all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans.baselines.minegan import Mined, discriminator_of, load, train_minegan
from synthbook.gans.networks import create_discriminator
from synthbook.gans.recipes import Training
from synthbook.gans.sampling import sample
from synthbook.gans.train import train

BRIEF = Training(steps=2, batch_size=4, standing_images=20)
CASES = {"sngan": {"num_classes": 3}, "biggan": {"condition_size": 5, "latent": 6}, "stylegan2": {}}


@pytest.fixture
def judge(tiny):
    def made(name: str, **settings):
        how = {"image_size": 8, **tiny[name], **settings}
        return discriminator_of(create_discriminator(name, seed=1, **how))

    return made


@pytest.mark.parametrize("name", CASES)
def test_in_the_first_phase_the_miner_alone_changes_and_then_all_do(
    name, pretrained, judge, photographs
):
    mined = Mined(pretrained(name, **CASES[name]), seed=0)
    mined.mining = True
    before = {key: value.clone() for key, value in mined.state_dict().items()}
    # Statistics of batch norm are not learned, and are set anew before images are made.
    learned = [key for key in before if "running" not in key and "num_batches" not in key]

    def changed() -> set[str]:
        return {key for key in learned if not torch.equal(mined.state_dict()[key], before[key])}

    discriminator = judge(name, **CASES[name])
    first = train(mined, discriminator, photographs, BRIEF, seed=0)
    # The gradient of the first layer is zero until the last one has moved.
    assert changed() == {f"miner.{k}.{part}" for k in (0, 2) for part in ("weight", "bias")}
    averaged = first.generator.state_dict()
    assert all(torch.equal(averaged[k], before[k]) for k in learned if k.startswith("generator."))
    mined.mining = False
    train(mined, discriminator, photographs, BRIEF, seed=0, average=first.generator)
    now = changed()
    for part in ("miner.", "generator."):
        matrices = [k for k, v in mined.named_parameters() if k.startswith(part) and v.dim() > 1]
        own = [k for k in matrices if "embed" not in k]  # G_emb is not asked
        assert own
        assert {*own} <= now


def test_both_phases_in_one_call_and_kept(pretrained, judge, photographs, tmp_path):
    steps: list[int] = []
    runs = [
        train_minegan(
            pretrained(num_classes=3), judge("sngan", num_classes=3), photographs, BRIEF, BRIEF,
            seed=0, on_step=lambda k, now: steps.append(k),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert steps == [1, 2, 1, 2] * 2
    made, again = (sample(run.generator, [None] * 4, seed=0) for run in runs)
    assert (made == again).all()
    runs[0].generator.save(tmp_path)
    assert (sample(load(tmp_path), [None] * 4, seed=0) == made).all()


def test_the_average_of_the_first_phase_goes_on_in_the_second(pretrained, judge, photographs):
    """Of weights that stand still it would be a copy after a first step of its own."""
    still = {"generator_learning_rate": 1e-12, "discriminator_learning_rate": 1e-12}
    made = train_minegan(
        pretrained(num_classes=3), judge("sngan", num_classes=3), photographs,
        BRIEF, replace(BRIEF, **still), seed=0,
    )  # fmt: skip
    averaged, own = (g.miner[2].bias for g in (made.generator, made.unaveraged))
    assert (averaged - own).abs().max() > 1e-4


def test_a_stopped_training_goes_on(pretrained, judge, photographs, tmp_path):
    def run(folder):
        return train_minegan(
            pretrained(num_classes=3), judge("sngan", num_classes=3), photographs, BRIEF, BRIEF,
            seed=0, folder=folder,
        )  # fmt: skip

    whole = run(None).generator.state_dict()
    run(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"mining", "finetuning"}
    for key, value in run(tmp_path).generator.state_dict().items():
        assert torch.equal(value, whole[key]), key


def test_it_starts_from_what_the_generator_makes(pretrained):
    """At the mean of its classes, or at a condition vector of zeros."""
    latents, plain = torch.randn(4, 4), pretrained()
    for settings, middle in (
        ({"num_classes": 3}, lambda embed: embed(torch.arange(3)).mean(0, keepdim=True)),
        ({"condition_size": 5}, lambda embed: embed(torch.zeros(1, 5))),
    ):
        generator = pretrained(**settings)
        torch.nn.init.normal_(generator.embed.weight)
        want = generator.from_embedding(latents, middle(generator.embed).expand(4, -1))
        torch.testing.assert_close(Mined(generator)(latents), want)
    torch.testing.assert_close(Mined(plain)(latents), plain(latents))


def test_the_discriminator_judges_images_alone(pair):
    _, pretrained = pair("sngan", num_classes=3)
    made = discriminator_of(pretrained).eval()
    images = torch.randn(4, 3, 8, 8)
    pretrained.eval()
    h = pretrained.features(images)
    torch.testing.assert_close(made(images), pretrained.psi(h).squeeze(1))
    assert made.config.num_classes == 0


def test_what_does_not_fit_is_refused(pair, tmp_path):
    with pytest.raises(InputError, match="'resnet' cannot be given"):
        Mined(pair("resnet")[0])
    with pytest.raises(InputError, match="holds no generator"):
        load(tmp_path)
