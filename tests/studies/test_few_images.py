"""Pretraining and finetuning through the cache: what starts where, and what a kill costs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from synthbook.gans.recipes import published
from synthbook.generate.primitives import Primitives
from synthbook.measure.features import Extractor
from synthbook.studies import few_images as lowshot
from synthbook.studies.few_images import Judge, Log, finetuned, pretrained, started
from synthbook.studies.targets import stream, target

NETWORK = {
    "name": "stylegan2", "image_size": 16, "channels": 4, "widest": 8, "latent": 8, "style": 8,
    "mapping_layers": 1,
}  # fmt: skip
RECIPE = published("stylegan2", steps=4, batch_size=4, path_length=0.0, ema_half_life=8.0)
PIXELS = Extractor(
    "pixels", lambda x: x[:, ::4, ::4].reshape(len(x), -1).astype("float32"), fingerprint="pixels"
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def few():
    return target("mnist5k:3", count=12, image_size=16, seed=0, spare=30)


def _judge(few, **more) -> Judge:
    return Judge(PIXELS, few.train, few.held_out, 10, **more)


def _tune(few, first=None, *, recipe=RECIPE, judge=None, **more):
    how = {"first": first, "evaluate_every": 2, "seed": 0} | more
    return finetuned(few.train, recipe, NETWORK, judge or _judge(few), **how)


def _weights(network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _equal(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_started_copies_both_networks_and_skips_what_is_named() -> None:
    source = stream(Primitives(), image_size=16, seed=0, num_classes=3)
    network = NETWORK | {"num_classes": 3}
    folder = pretrained(source, RECIPE, network, seed=0)
    fresh, copied = started(network, None, seed=5), started(network, folder, seed=5)
    assert _equal(_weights(copied[0]), _weights(lowshot.load(folder)))
    assert _equal(_weights(copied[1]), _weights(lowshot.load_discriminator(folder)))
    assert not _equal(_weights(copied[0]), _weights(fresh[0]))


def test_parts_that_are_skipped_stay_random() -> None:
    network = {"name": "biggan", "image_size": 16, "channels": 4, "latent": 6, "num_classes": 3}
    source = stream(Primitives(), image_size=16, seed=0, num_classes=3)
    recipe = published("biggan", steps=2, batch_size=4, standing_images=8, ema_start=0)
    folder = pretrained(source, recipe, network, seed=0)
    fresh, partly = (
        started(network, None, seed=5),
        started(network, folder, seed=5, skip=("embed",)),
    )
    for new, tuned, first in zip(
        fresh, partly, (lowshot.load(folder), lowshot.load_discriminator(folder)), strict=True
    ):
        new, tuned, first = _weights(new), _weights(tuned), _weights(first)
        inside = {name for name in tuned if name.startswith("embed")}
        assert inside
        for name, value in tuned.items():
            assert torch.equal(value, (new if name in inside else first)[name])


def test_a_pretraining_is_made_once_and_another_source_is_another() -> None:
    calls = []
    drawn = stream(Primitives(), image_size=16, seed=0)
    how = {"seed": 0, "on_step": lambda done, found: calls.append(done)}
    first = pretrained(drawn, RECIPE, NETWORK, **how)
    assert calls == [1, 2, 3, 4]
    assert pretrained(drawn, RECIPE, NETWORK, **how) == first
    assert calls == [1, 2, 3, 4]
    other = stream(Primitives("PinkNoise"), image_size=16, seed=0)
    assert pretrained(other, RECIPE, NETWORK, **how) != first
    assert not (first / "checkpoints").exists()


def test_the_history_holds_every_evaluation_and_best_is_its_lowest(few) -> None:
    found = _tune(few)
    assert sorted(found.history) == [0, 2, 4]
    assert all(set(one) == {"train", "held_out"} for one in found.history.values())
    lowest = min(one["train"] for one in found.history.values())
    assert found.history[found.best]["train"] == lowest
    assert found.last == 4
    assert found.reached(lowest) == found.best
    assert found.reached(lowest - 1) is None


def test_the_generators_kept_are_those_that_were_judged(few) -> None:
    found, judge = _tune(few), _judge(few)
    judged = judge.start()
    for which, step in (("best", found.best), ("last", found.last)):
        again = judged(found.generator(which))
        assert again == pytest.approx(found.history[step], rel=1e-6)


def test_the_middle_generator_is_that_of_half_of_the_training(few) -> None:
    half = published("stylegan2", steps=2, batch_size=4, path_length=0.0, ema_half_life=8.0)
    found, shorter = _tune(few), _tune(few, recipe=half)
    assert found.middle == 2
    assert found.history[2] == shorter.history[2]
    assert _equal(_weights(found.generator("middle")), _weights(shorter.generator("last")))


def test_a_finetuning_starts_from_the_pretrained_pair(few) -> None:
    first = pretrained(stream(Primitives(), image_size=16, seed=0), RECIPE, NETWORK, seed=0)
    scratch, tuned = _tune(few), _tune(few, first)
    assert scratch.history[0] != tuned.history[0]
    assert tuned.history[0] == pytest.approx(_judge(few).start()(lowshot.load(first)), rel=1e-6)


def test_what_is_counted_beside_is_kept_with_each_evaluation(few) -> None:
    judge = _judge(few, also=lambda images: {"mean": float(images.mean())}, also_name="mean")
    found = _tune(few, judge=judge)
    images = judge.images(found.generator("last"))
    assert images.shape == (10, 16, 16, 3)
    assert found.history[4]["mean"] == pytest.approx(images.mean(), abs=0.01)


def test_a_killed_finetuning_goes_on_to_the_same_result(few, monkeypatch, tmp_path) -> None:
    recipe = published("stylegan2", steps=6, batch_size=4, path_length=0.0, ema_half_life=8.0)
    whole = _tune(few, recipe=recipe)
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "second"))
    real = lowshot.train

    def often(*args, **kwargs):
        return real(*args, **kwargs | {"checkpoint_every": 2})

    monkeypatch.setattr(lowshot, "train", often)

    class Killed(Exception):
        pass

    def kill(done, found):
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        _tune(few, recipe=recipe, on_step=kill)
    seen = []
    resumed = _tune(few, recipe=recipe, on_step=lambda done, found: seen.append(done))
    assert seen == [5, 6]
    assert resumed.history == whole.history
    for which in ("best", "last"):
        ours, theirs = resumed.generator(which), whole.generator(which)
        assert _equal(_weights(ours), _weights(theirs))


def test_the_log_is_a_whole_file_after_every_step(tmp_path) -> None:
    values = iter([3.0, 2.0, 1.0])
    log = Log(tmp_path / "history.json", lambda generator: {"train": next(values)})
    log.evaluate(None)
    log.on_step(1, {})
    assert json.loads(log.path.read_text()) == {"0": {"train": 3.0}}
    log.evaluate(None)
    log.on_step(2, {"evaluation": 2.0})
    again = Log(log.path, lambda generator: {"train": next(values)})
    again.evaluate(None)
    again.on_step(4, {"evaluation": 1.0})
    assert again.history == {0: {"train": 3.0}, 2: {"train": 2.0}, 4: {"train": 1.0}}


def test_a_step_that_is_the_first_and_judged_keeps_both_numbers_apart(tmp_path) -> None:
    values = iter([3.0, 2.0])
    log = Log(tmp_path / "history.json", lambda generator: {"train": next(values)})
    log.evaluate(None)
    log.evaluate(None)
    log.on_step(1, {"evaluation": 2.0})
    assert log.history == {0: {"train": 3.0}, 1: {"train": 2.0}}


def test_classes_are_judged_in_turn() -> None:
    network = NETWORK | {"num_classes": 3}
    generator, _ = started(network, None, seed=0)
    some = target("digits:1", count=5, image_size=16, seed=0)
    judge = Judge(PIXELS, some.train, None, 6)
    images = judge.images(generator)
    from synthbook.gans.sampling import sample
    from synthbook.randomness import derive

    labels = [0, 1, 2, 0, 1, 2]
    assert np.array_equal(images, sample(generator, labels, seed=derive(0, "judged")))
    assert set(judge.start()(generator)) == {"train"}
