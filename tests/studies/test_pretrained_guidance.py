"""The experiment of chapter 15 on a miniature: which rows, of which trainings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from synthbook.data import Splits
from synthbook.errors import InputError
from synthbook.recognize.methods import METHODS
from synthbook.recognize.methods.pretrained_guidance import cosine
from synthbook.recognize.predict import features
from synthbook.studies.pretrained_guidance import PretrainedGuidance, check_pretrained_guidance


def values(rows: list[dict], **where) -> list[float]:
    return [row["value"] for row in rows if where.items() <= row.items()]


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": ("real",)}, "give a generator too"),
        ({"methods": ("plain", "ASG")}, "give plain and PG-KL"),
        ({"parts": ("readings",)}, "give scratch, pretrained or other_architecture too"),
        ({"guide_backbone": "small_cnn"}, "is the guide's own"),
    ],
)
def test_parameters_of_chapter_15_that_do_not_fit_are_refused(p15: dict, values, message) -> None:
    p = p15 | {"guide_backbone": "efficientnet_lite0"}
    assert "digits" in str(check_pretrained_guidance(p))
    with pytest.raises(InputError, match=message):
        check_pretrained_guidance(p | values)


@pytest.mark.usefixtures("all_kept")
def test_a_guided_method_without_a_parameter_for_its_weights_is_named_before_any_training(
    p15: dict, monkeypatch
) -> None:
    fixed = METHODS["PG-KL"].fixed | {"similarity": "js"}
    monkeypatch.setitem(METHODS, "PG-JS", replace(METHODS["PG-KL"], name="PG-JS", fixed=fixed))
    p = p15 | {"methods": ("plain", "PG-KL", "PG-JS"), "guide_backbone": "efficientnet_lite0"}
    for asked in (PretrainedGuidance.plan, check_pretrained_guidance):
        with pytest.raises(InputError, match=r"method 'PG-JS' .*; add one to GUIDED of studies/"):
            asked(p)


def test_rows_of_chapter_15(p15: dict, real: Splits, trained: list[dict], distinct) -> None:
    experiment = PretrainedGuidance(p15, real)
    rows = distinct(experiment.rows(5))
    assert {row["seed"] for row in rows} == {5}
    # CSG compares two networks of one architecture; real images have plain training alone.
    right = {"part": "tables", "metric": "top1_accuracy", "split": "test"}
    for guide, count in (("same_architecture", 5), ("other_architecture", 4)):
        assert len(values(rows, guide=guide, train="gan", **right)) == count
        assert len(values(rows, guide=guide, train="real", **right)) == 1
    assert len(values(rows, metric="relative_cost", train="gan")) == 4 + 3
    shares = values(rows, metric="guidance_gradient_share", part="tables", train="gan")
    assert len(shares) == 2 * 2
    # A weight that the tables have is not trained again, and has their accuracy.
    for split in ("val", "test"):
        where = {"method": "PG-KL", "train": "gan", "split": split, "guide": "same_architecture"}
        table = values(rows, part="tables", **where)
        assert table == values(rows, part="sensitivity", lambda_3=1.0, **where)
    assert len(values(rows, part="sensitivity", split="test")) == 2 * 2 * 2
    assert len(values(rows, part="readings", split="test")) == 2 * 4
    assert len(trained) == 2 * 9 + 2 + 2 * 4
    assert len({(call["updates"], call["seed"]) for call in trained}) == 1
    assert set(experiment.models) == {
        ("real", "plain"), ("diffusion", "plain"), ("diffusion", "PG-KL"),
        ("gan", "plain"), ("gan", "PG-KL"),
    }  # fmt: skip
    assert rows[0]["value"] == next(iter(PretrainedGuidance(p15, real).rows(5)))["value"]


def test_other_readings_are_trained_as_their_rows_say(
    p15: dict, real: Splits, trained: list[dict]
) -> None:
    p = p15 | {"parts": ("other_architecture", "readings"), "methods": ("plain", "PG-KL")}
    p |= {"sources": ("real", "gan"), "method_settings": ("PG-KL.distance=l2",)}
    rows = list(PretrainedGuidance(p, real).rows(5))
    names = ("distance", "target", "over")
    said = {tuple(row[name] for name in names) for row in rows if row["part"] == "readings"}
    done = {tuple(call[name] for name in names) for call in trained if call["name"] == "PG-KL"}
    assert said == {
        ("cosine", "model", "row"),
        ("cosine", "guide", "matrix"),
        ("l2", "guide", "row"),
    }
    assert done == said


def test_similarities_are_cosines_of_the_guide_or_of_what_was_trained(
    p15: dict, real: Splits
) -> None:
    p = p15 | {"parts": ("scratch", "other_architecture"), "methods": ("plain", "PG-KL")}
    experiment = PretrainedGuidance(p | {"scratch_input_size": 16, "guide_input_size": 12}, real)
    list(experiment.rows(0))
    images = real.test.subset(range(5))
    of_guide = experiment.similarities(images, "guide")
    of_model = experiment.similarities(images, "PG-KL", "gan")
    for matrix in (of_guide, of_model):
        assert matrix.shape == (5, 5)
        assert torch.allclose(matrix, matrix.T)
        assert torch.allclose(matrix.diagonal(), torch.ones(5), atol=1e-5)
    wanted = cosine(torch.from_numpy(features(experiment.models["gan", "PG-KL"], images)))
    assert torch.allclose(of_model, wanted)
    guided = features(experiment.guide.network, images, input_size=12)
    assert torch.allclose(of_guide, cosine(torch.from_numpy(guided)))


def test_each_setting_trains_its_network(p15: dict, real: Splits, trained: list[dict]) -> None:
    p = p15 | {
        "parts": ("scratch", "other_architecture"), "methods": ("plain",), "sources": ("real",),
        "backbone": "resnet18_cifar", "scratch_input_size": 16, "scratch_learning_rate": 0.02,
        "scratch_epochs": 2, "scratch_set_size": 6, "large_input_size": 8,
        "scratch_crop_padding": 2, "scratch_flip": True,
    }  # fmt: skip
    rows = list(PretrainedGuidance(p, real).rows(0))
    places = {(row["guide"], row["init"], row["backbone"]) for row in rows}
    assert places == {
        ("same_architecture", "scratch", "small_cnn"),
        ("other_architecture", "scratch", "resnet18_cifar"),
    }
    recipes = {call["network"].backbone: call["network"].recipe for call in trained}
    scratch = recipes["small_cnn"]
    assert (scratch.input_size, scratch.learning_rate, scratch.epochs) == (16, 0.02, 2)
    assert (scratch.crop_padding, scratch.flip) == (2, True)
    sizes = {call["network"].backbone: len(call["synthetic"]) for call in trained}
    assert sizes == {"small_cnn": 6, "resnet18_cifar": 16}
    small = recipes["resnet18_cifar"]
    assert (small.input_size, small.crop_padding, small.flip) == (0, 0, False)
