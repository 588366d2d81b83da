"""What tests of the studies share: an own cache, one thread, and a look at rows."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet, Splits
from synthbook.gans.networks import create_discriminator, create_generator, save
from synthbook.measure import features
from synthbook.randomness import numpy_generator
from synthbook.record.metrics import PRODUCES
from synthbook.record.rows import Row
from synthbook.studies import ahead, few_images, remedies, web
from synthbook.studies import training_sets as sets
from synthbook.studies.few_images import Finetuned

torch.set_num_threads(1)
NEEDED = {"method", "train", "test", "dataset", "metric", "value", "seed"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNTHBOOK_MODELS", str(tmp_path / "models"))


class Painter:
    """A generator whose images have one colour, of prompt, seed and guidance; it counts them."""

    identity, device, side, made = {"pipeline": "painter"}, "cpu", 32, 0

    def images(self, prompts: Any, seeds: Any, *, guidance_scale: float, **_: Any) -> Any:
        self.made += len(prompts)
        tones = [
            (sum(map(ord, p)), s % 251, int(10 * guidance_scale))
            for p, s in zip(prompts, seeds, strict=True)
        ]
        pixels = np.array(tones, dtype=np.int64)[:, None, None] % 256
        shape = (len(tones), self.side, self.side, 3)
        return SimpleNamespace(images=np.broadcast_to(pixels, shape).astype(np.uint8))


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Painter:
    """Return a painter, to be put in the place of the book's model, of which nothing is kept."""
    monkeypatch.setattr(web, "kept", lambda name: tmp_path)
    monkeypatch.setattr(web, "kept_samples", dict)
    return Painter()


@pytest.fixture
def distinct():
    """Return a function that lists rows, after a look that no two measure the same."""

    def listed(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = list(rows)
        identities = {frozenset(row.items() - {("value", row["value"])}) for row in kept}
        assert len(identities) == len(kept)
        for row in kept:
            assert row.keys() >= NEEDED
            assert not row.keys() & (Row.model_fields.keys() - NEEDED - {"backbone"})
        return kept

    return listed


@pytest.fixture
def kept_from_elsewhere(monkeypatch, no_builds):
    """Return a function: a job of a study is done as by another process, and then not again."""

    def look(study: Any, p: Any, job: tuple[Any, ...]) -> None:
        monkeypatch.setattr(ahead, "_MADE", {})
        monkeypatch.setattr(ahead, "prepare", lambda device, threads: "cpu")
        ahead._do(pickle.loads(pickle.dumps((type(study), p, job))))
        no_builds(few_images)
        list([study.learned(*job)] if hasattr(study, "learned") else study.rows(*job))

    return look


@pytest.fixture
def plain_features(monkeypatch) -> None:
    """Have images' pixels as their features, which is quick."""

    def pixels(name: str, device: str = "cpu", size: int = 0) -> features.Extractor:
        return features.Extractor(
            "pixels", lambda x: x.mean(-1).reshape(len(x), -1)[:, ::8], fingerprint="pixels"
        )

    monkeypatch.setattr(features, "extractor", pixels)


@pytest.fixture
def all_rows(distinct):
    """Return a function from a study to its rows."""
    return lambda study: distinct(row for job in study.jobs for row in study.rows(*job))


@pytest.fixture
def produced(all_rows):
    """Return a function from a chapter to one from its study to rows, which it may produce."""

    def of(chapter: str) -> Callable[[Any], list[dict[str, Any]]]:
        said = PRODUCES[chapter]

        def rows(study: Any) -> list[dict[str, Any]]:
            found = all_rows(study)
            for row in found:
                assert row["method"] in said.method
                assert row["metric"] in said.metric
                assert row.get("part", "") in ("", *said.part)
                assert np.isfinite(row["value"]), row
            return found

        return rows

    return of


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Return parameters with which chapters 52 and 53 train small networks briefly."""
    return {
        "image_size": 8, "target_images": 5, "generated": 4, "real_source": "digits",
        "in_domain": ["digits:3"], "targets": ["china", "digits:3", "digits:4"],
        "pretrain_steps": 7, "finetune_steps": 4, "stop_after": 0, "evaluate_every": 2,
        "architecture": "stylegan2",
        "network_settings": [
            "channels=2", "widest=4", "latent=4", "style=4", "mapping_layers=2", "noise=false",
        ],
        "training_settings": ["batch_size=16", "path_length=0", "r1=0.16", "ema_half_life=1000"],
    }  # fmt: skip


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """Replace both trainings; return what they were asked for: (kind, what, options)."""
    asked: list[tuple[str, object, dict]] = []

    def pretrained(source, recipe, network, *, seed, device):
        asked.append(("pretrained", source, {"recipe": recipe, "network": network, "seed": seed}))
        folder = tmp_path / f"{source.name}, {seed}".replace("/", " ")
        if not folder.exists():
            how = {"seed": len(str(folder)), **network}
            save(create_generator(**how), folder, create_discriminator(**how))
        return folder

    def finetuned(images, held_out, recipe, network, *, first, seed, **more):
        more |= {"held_out": held_out, "recipe": recipe, "network": network, "seed": seed}
        asked.append(("finetuned", images, more | {"first": first}))
        start = len(first.name) if first else 50  # distances that differ by where it started
        found = {0: 4 * start, 2: start + seed, 4: 2 * start}
        history = {step: {"train": float(v), "held_out": v + 0.5} for step, v in found.items()}
        if more.get("count"):
            counted = more["count"](np.zeros((2, 8, 8, 3), np.uint8))
            history = {step: numbers | counted for step, numbers in history.items()}
        made = create_generator(seed=seed, **network), create_discriminator(seed=seed, **network)
        for which in ("best", "last"):
            save(made[0], tmp_path / "made" / which, made[1])
        return Finetuned(tmp_path / "made", history)

    monkeypatch.setattr(few_images, "pretrained", pretrained)
    monkeypatch.setattr(few_images, "finetuned", finetuned)
    monkeypatch.setattr(features, "extractor", lambda name, device="cpu", size=0: name)
    return asked


# Chapters 15 and 16 on a miniature.

P = {
    "data": "digits", "data_root": "", "image_size": 0, "set_size": 0,
    "sources": ("real", "diffusion", "gan"),
    "backbone": "small_cnn", "pretrained": False, "epochs": 1, "batch_size": 8,
    "learning_rate": 0.01, "input_size": 0, "precision": "float32",
    "guide_backbone": "small_cnn", "guide_input_size": 8, "guide_pretrained": False,
}  # fmt: skip


@pytest.fixture
def p15() -> dict[str, Any]:
    """Return parameters with which chapter 15 trains a tiny network briefly."""
    return P | {
        "parts": ("scratch", "other_architecture", "sensitivity", "readings"),
        "methods": ("plain", "ASG", "CSG", "PG-L1", "PG-KL"),
        "large_set_size": 0, "large_epochs": 1, "large_learning_rate": 0.01, "large_input_size": 8,
        "lambda_3_kl": (1.0,), "lambda_3_l1": (10.0,),
        "scratch_set_size": 0, "scratch_epochs": 1, "scratch_learning_rate": 0.01,
        "scratch_input_size": 8, "scratch_crop_padding": 0, "scratch_flip": False,
    }  # fmt: skip


@pytest.fixture
def p16() -> dict[str, Any]:
    """Return the like for chapter 16."""
    return P | {
        "parts": ("methods", "same_images", "real_images", "sensitivity", "readings"),
        "methods": ("plain", "Aug", "A-GEM", "RG", "RG+PG-R+PG-F", "sum", "PCGrad"),
        "lambda_1": 1.0, "lambda_2": 1.0, "lambda_3": (0.1,), "lambdas": (0.1, 1.0), "shots": 2,
        "n_real": (2, 4), "synthetic_ratio": 0.0,
    }  # fmt: skip


def stripes(count: int, seed: int = 0) -> ImageSet:
    """Return two classes: the upper or the lower half of the image is bright, on noise."""
    pixels = numpy_generator(seed, "stripes").uniform(0, 0.6, (count, 8, 8, 1))
    labels = np.arange(count) % 2
    for k, label in enumerate(labels):
        pixels[k, 4 * label : 4 * label + 4] += 0.4
    return ImageSet((255 * pixels).astype(np.uint8), labels, ("up", "down"), "stripes")


@pytest.fixture(name="stripes")
def _stripes() -> Callable[..., ImageSet]:
    """Return a function from a number and a seed to images of two classes."""
    return stripes


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Splits:
    """Real images; the chapters' training sets are made-up ones, new for each seed."""

    def training_sets(real, p, *, seed, device):
        made = {"diffusion": stripes(16, 100 + seed), "gan": stripes(16, 200 + seed)}
        return {k: SimpleNamespace(train=v) for k, v in ({"real": real.train} | made).items()}

    def clone_of_few(family, few, p, *, count, seed, device):
        assert len(few) == (p["shots"] * few.num_classes or 16)
        return stripes(count, 300 + seed + len(family))

    monkeypatch.setattr(sets, "training_sets", training_sets)
    monkeypatch.setattr(sets, "clone_of_few", clone_of_few)
    return Splits(stripes(16, 1), stripes(30, 2), stripes(40, 3))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What is trained, a dict a training."""
    calls, inner = [], remedies.remedy

    def spy(network, name, **given):
        calls.append({"network": network, "name": name, **given})
        return inner(network, name, **given)

    monkeypatch.setattr(remedies, "remedy", spy)
    return calls
