"""A changed byte in a kept file of any kind: it is named, made anew, and changes no number."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from synthbook import machine
from synthbook.data import load
from synthbook.data.scenes import SceneRecipe, bundled_scenes
from synthbook.gans.baselines.bsa import BSARecipe
from synthbook.gans.invert import FREEDOMS
from synthbook.gans.networks import create_generator
from synthbook.gans.networks import load as load_gan
from synthbook.gans.recipes import Training, published
from synthbook.generate import banks
from synthbook.generate.sentences import sentences_of
from synthbook.generate.wordnet import ClassWords
from synthbook.measure.features import Extractor
from synthbook.press.models_page import models_page
from synthbook.recognize import language_image, pretrained
from synthbook.recognize.clip import encoded, encoder
from synthbook.recognize.detect import DetectRecipe
from synthbook.recognize.detectors import DetectorRecipe
from synthbook.recognize.finetune import FinetuneRecipe
from synthbook.recognize.heads import text_head
from synthbook.recognize.language_image import ClipConfig
from synthbook.recognize.pretrain import SupervisedRecipe, made
from synthbook.recognize.views import ViewRecipe
from synthbook.record.parameters import check_values
from synthbook.sources import PACKAGE
from synthbook.studies import few_images, inversions, remedies, tasks, training_sets
from synthbook.studies.clones_by_name import Bed
from synthbook.studies.dip_scale import own
from synthbook.studies.inversions import Case, Gan
from synthbook.studies.mined import mined
from synthbook.studies.targets import target

Read = Callable[[], Any]


@pytest.fixture
def readers(keep_models, new_book, load_script, tmp_path) -> dict[str, Read]:
    """Kind of kept files -> a function that reads one of them, or makes it."""
    real = load("digits")
    (model,) = keep_models(real.train, ("gan",))
    p = check_values(
        "12_not_mutual",
        {"data": "digits", "sources": ["real", "gan"], "generators": 1, "epochs": 1,
         "set_size": 40, "input_size": 0, "unconditional": []},
    )  # fmt: skip
    of_names = check_values("31_prompts", {"updates": 1, "set_size": 20, "batch_size": 4})
    new_book({"notebooks/.keep": ""})  # without models, whose page is drawn at once
    pixels = Extractor("pixels", lambda x: x.reshape(len(x), -1), fingerprint="pixels")
    few = target("mnist5k:3", count=12, image_size=16, seed=0)
    network = {"name": "stylegan2", "image_size": 16, "channels": 2, "widest": 4, "latent": 4,
               "style": 4, "mapping_layers": 1}  # fmt: skip
    recipe = published("stylegan2", steps=2, batch_size=4, path_length=0.0, ema_half_life=8.0)

    def tuned() -> Any:
        look = Extractor("means", lambda x: x[:, ::8, ::8].reshape(len(x), -1), fingerprint="m")
        made = few_images.finetuned(
            few.train, None, recipe, network, first=None, extractor=look, generated=10,
            evaluate_every=1, seed=0,
        )  # fmt: skip
        return made.history, made.images(1).tolist()

    def weights(network: torch.nn.Module) -> list[np.ndarray]:
        return [tensor.numpy() for tensor in network.state_dict().values()]

    plain = {"name": "sngan", "image_size": 16, "channels": 4, "discriminator_channels": 4,
             "latent": 4, "num_classes": 1}  # fmt: skip
    short = Training(steps=2, batch_size=4, standing_images=8)
    look = Extractor("means", lambda x: x[:, ::8, ::8].reshape(len(x), -1), fingerprint="m")
    how = {"extractor": look, "seed": 0}

    def pair() -> Path:
        return few_images.pretrained(few.train, short, plain, seed=0)

    def conditioned() -> Any:
        asked = few_images.Asked(None, [0] * 6)
        given = few.train, None, short, plain, asked
        made = few_images.conditioned(*given, first=None, evaluate_every=1, **how)
        return made.history, made.images(1).tolist()

    def fitted() -> Any:
        given = "BSA", few.train, None, BSARecipe(steps=2), None
        more = {"perceptual": "efficientnet_lite0", "generated": 6, "device": "cpu"}
        return few_images.fitted(*given, first=pair(), **more, **how).history

    def dug() -> Any:
        given = few.train, None, short, short
        more = {"generated": 6, "evaluate_every": 1, "choosing": "train"}
        made = mined(*given, first=pair(), **more, **how)
        return made.history, made.images(1).tolist()

    def inverted() -> Any:
        free = create_generator(**plain | {"num_classes": 0}, seed=0).eval()
        case = Case(freedom=FREEDOMS[0])
        of = Gan(free, None, None), few.train.images[:2], case
        return inversions.inverted(*of, tried=2, seed=0, steps=2, rate=0.1).images

    def learned() -> list[np.ndarray]:
        bed = Bed(of_names, "cpu")
        return weights(bed.trained(bed.real(0), 0))

    config = ClipConfig(embed_dim=8, width=2, image_size=32, text_width=8, text_layers=1,
                        text_heads=1, context_length=12, merges=50)  # fmt: skip
    clip = tmp_path / "clip"
    clip.mkdir()
    language_image.save(language_image.create(config, seed=0).eval(), config, clip)
    look = encoder(f"local-dir:{clip}")

    tiny = load_script("tests/generate/tiny_pipelines.py")
    cat, t5 = ClassWords("cat", ("cat",)), tiny.word_to_sentence(tmp_path / "t5", "a cat on the")

    def remedied() -> Any:
        experiment = SimpleNamespace(device="cpu", real=real)
        how = {"synthetic": real.train, "updates": 2, "seed": 0, "with_model": True}
        found, model = remedies.rated(experiment, training_sets.network_of(p), "plain-eval", **how)
        return found.accuracy, found.history.train_loss, weights(model)

    def backbone() -> list[np.ndarray]:
        views = ViewRecipe(global_views=1, local_views=0)
        recipe = SupervisedRecipe(steps=1, batch_size=4, views=views)
        return weights(pretrained.load(made("small_cnn", few.train, recipe, seed=0)))

    on_cpu = {"seed": 0, "device": "cpu"}

    def taught() -> dict[str, Any]:
        network = pretrained.started("small_cnn", num_classes=10, channels=1, image_size=8)
        recipe = FinetuneRecipe(steps=1, batch_size=4)
        return tasks.named(network, real.train, real.val, real.test, recipe, **on_cpu)

    def sought() -> dict[str, Any]:
        network = pretrained.started("small_cnn", num_classes=10, image_size=32)
        scenes = bundled_scenes({"train": 40, "test": 60}, SceneRecipe(), seed=0)
        recipes = DetectorRecipe(), DetectRecipe(steps=1, batch_size=2)
        return tasks.found(network, *scenes.values(), *recipes, rule="area", **on_cpu)

    return {
        "clip_features": lambda: encoded(look, few.train).features,
        "clip_heads": lambda: text_head(look, ["cat", "dog"], "a {}"),
        "pretrained": backbone,
        "sentences": lambda: sentences_of([cat], t5, count=4),
        "clone_classifiers": learned,
        "detected": sought,
        "finetuned": taught,
        "conditioned_gans": conditioned,
        "fitted_generators": fitted,
        "inversions": inverted,
        "mined_gans": dug,
        "own_encoders": lambda: own(few.train, 1, "cpu")(few.train.images),
        "features": lambda: pixels.cached(real.train.images),
        "samples": lambda: model.sample([0, 1, 2], seed=3),
        "banks": lambda: banks.strip(model, 1.0, 0),
        "classifiers": lambda: weights(
            training_sets.network_of(p).train(real.train, seed=0)[0]
        ),
        "clones": lambda: training_sets.training_sets(real, p, seed=0)["gan"].train.images,
        "pretrained_gans": lambda: weights(
            load_gan(few_images.pretrained(few.train, recipe, network, seed=0))
        ),
        "finetuned_gans": tuned,
        "pages": lambda: sorted(models_page().items()),
        "remedies": remedied,
    }  # fmt: skip


KINDS = {
    kind
    for path in PACKAGE.rglob("*.py")
    for kind in re.findall(r"\bcached\(\s*\"(\w+)\"", path.read_text(encoding="utf-8"))
}


def test_every_kind_is_tried(readers: dict[str, Read]) -> None:
    assert readers.keys() == KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_changed_byte_changes_no_number(
    kind: str, readers: dict[str, Read], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(machine, "say", said.append)
    read, draw = readers[kind], random.Random(kind)
    before = read()
    every = [path for path in (tmp_path / "cache" / kind).glob("*/**/*") if path.is_file()]
    assert every
    for path in {path.suffix: path for path in sorted(every)}.values():  # a file of each form
        said.clear()
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        np.testing.assert_equal(read(), before)
        broken = [line for line in said if "is broken" in line]
        assert len(broken) == 1, path
        assert f"/{kind}/" in broken[0]
