"""Chapter 21: heads, encoders and networks that learn images by words, and the rows of it."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from synthbook.data import ImageSet
from synthbook.data.deferred import Deferred
from synthbook.data.shift import renditions, sketches
from synthbook.errors import InputError
from synthbook.measure.features import Extractor
from synthbook.press import grids
from synthbook.recognize import language_image, unfreezing
from synthbook.recognize.clip import Encoded
from synthbook.recognize.language_image import ClipConfig
from synthbook.record.parameters import check_values
from synthbook.record.published import published
from synthbook.studies import clones_by_name, ready, zero_shot
from synthbook.studies.given import words_of
from synthbook.studies.ready import Target, split_look
from synthbook.studies.zero_shot import CLAIMED, FEWER, FULL, ZeroShot, confusion, equal_count

CLIP = ClipConfig(
    embed_dim=8, width=2, image_size=32, text_width=8, text_layers=1, text_heads=1,
    context_length=40, merges=50,
)  # fmt: skip
SMALL = {
    "images_per_class": 4, "kept_share": 0.5, "sentences": 3, "num_inference_steps": 1,
    "tuning_settings": ["batch_size: 8", "learning_rate: 0.02"], "epochs": 2, "updates": 2,
    "batch_size": 8, "view_settings": ["global_size: 8", "local_size: 8", "local_views: 1"],
    "scratch_images": 4, "real_counts": [1, 4], "sizes": [1.0, 2.0], "shares": [0.0, 0.5],
}  # fmt: skip


def test_shares_of_the_paper_are_the_nearest_that_whole_weights_come_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import open_clip

    network = open_clip.create_model("RN50", pretrained=None).visual
    order = unfreezing.from_output(network, torch.randn(1, 3, 224, 224))
    monkeypatch.setattr(unfreezing, "from_output", lambda *_: order)
    printed = published("ready", "T3", metric="param_tuned_pct", source="synthetic GLIDE")
    shares, classifier = check_values("21_zero_shot", {}, "paper").shares, 10 * 1024
    reached = [
        unfreezing.unfreeze(network, None, share, classifier, "frozen")  # type: ignore[arg-type]
        for share in shares
    ]
    assert len({names for names, _ in reached}) == len(shares) == len(printed)
    every = unfreezing.unfreeze(network, None, 1.0, classifier, "frozen")[0]  # type: ignore[arg-type]
    sizes = dict(network.named_parameters())
    total = sum(weight.numel() for weight in sizes.values()) + classifier
    there = (classifier + np.cumsum([0, *(sizes[name].numel() for name in every)])) / total * 100
    taken: set[float] = set()
    for (_, share), wanted in zip(reached, printed.value.astype(float), strict=True):
        free = [one for one in there if one not in taken]
        nearest = min(free, key=lambda one: abs(one - wanted))
        assert 100 * share == pytest.approx(nearest)
        taken.add(nearest)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two untrained CLIPs."""
    top = tmp_path_factory.mktemp("clips")
    for seed in (0, 1):
        (top / f"{seed}").mkdir()
        language_image.save(language_image.create(CLIP, seed=seed), CLIP, top / f"{seed}")
    return {f"local-dir:{top / f'{seed}'}": top / f"{seed}" for seed in (0, 1)}


@pytest.fixture(autouse=True)
def bed(painter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A painter in the place of the book's model, and eyes that see mean colours."""

    def look(name: str, *_: Any, **__: Any) -> Any:
        return Extractor(name, lambda x: x[:, ::8, ::8].reshape(len(x), -1) / 255, fingerprint="8")

    monkeypatch.setattr(Target, "generator", painter)
    monkeypatch.setattr(clones_by_name.features, "extractor", look)


@pytest.fixture
def study(clips: dict[str, Path]) -> Any:
    """(what is other) -> a small study with an untrained CLIP."""

    def make(**other: Any) -> ZeroShot:
        given = SMALL | {"encoders": [next(iter(clips))], "parts": ["strategies"]} | other
        p = check_values("21_zero_shot", given)
        zero_shot.check_zero_shot(p)
        return ZeroShot(p, "cpu")

    return make


@pytest.fixture
def rows_of(produced: Any) -> Any:
    """(study) -> its rows, which its chapter may produce, each once."""
    return produced("21_zero_shot")


def only(rows: list[dict[str, Any]], **where: Any) -> list[dict[str, Any]]:
    return [row for row in rows if where.items() <= row.items()]


# -- Strategies ---------------------------------------------------------------------------------


def test_all_strategies_start_from_one_zero_shot_head_and_count_alike(
    study: Any, rows_of: Any
) -> None:
    some = study(epochs=1, tuning_settings=["batch_size: 8", "learning_rate: 1e-9"])
    rows = rows_of(some)
    accuracies = only(rows, metric="top1_accuracy")
    heads = {(row["strategy"], row["loss"]) for row in accuracies if "strategy" in row}
    assert heads == {*CLAIMED, *((FEWER, loss) for loss in ("CE", "SCE"))}
    # A rate of nothing leaves every head as it was told.
    assert len({round(row["value"], 6) for row in accuracies}) == 1
    (zero,) = only(accuracies, method="zero-shot")
    assert zero["encoder"] == "first"
    assert "strength" not in zero


def test_the_filter_keeps_its_share_and_the_control_has_as_many(study: Any) -> None:
    some = study(images_per_class=5, kept_share=0.4, most_images=0)
    made = some.sets(0, 0, "caltech10")
    counts = {name: set(found.counts().tolist()) for name, found in made.features.items()}
    assert counts == {"B": {5}, "LE": {5}, FEWER: {2}, "LE+CF": {2}}
    whole = made.features["LE"].features
    np.testing.assert_array_equal(made.features["LE+CF"].features, whole[made.kept.indices])
    np.testing.assert_array_equal(
        made.images["LE+CF"].images, made.images["LE"].images[made.kept.indices]
    )
    few = study(targets=["caltech10_fine"], most_images=150, images_per_class=100)
    assert few.counts(few.target(0, "caltech10_fine")) == (2, 1)


def test_several_data_sets_and_encoders_have_gains_and_strengths(
    study: Any, rows_of: Any, clips: dict[str, Path]
) -> None:
    sets = ["caltech10", "caltech10:sketch", "caltech3"]
    some = study(targets=sets, encoders=[*clips])
    rows = rows_of(some)
    assert {row["strength"] for row in rows} == {"weaker", "stronger"}
    for place in ("first", "second"):
        mine = only(rows, encoder=place, metric="top1_accuracy")
        gains = []
        for data in sets:
            (zero,) = only(mine, dataset=data, method="zero-shot")
            (full,) = only(mine, dataset=data, strategy=FULL[0], loss=FULL[1])
            gains.append(full["value"] - zero["value"])
        (apart,) = only(rows, encoder=place, metric="gain_range")
        assert apart["value"] == pytest.approx(max(gains) - min(gains))
        assert apart["dataset"] == ""
    judged = only(rows, metric="class_agreement")
    assert {(row["dataset"], row["encoder"]) for row in judged} == {
        ("caltech10", "first"), ("caltech3", "first")
    }  # fmt: skip
    weaker = [row for row in rows if row["strength"] == "weaker"]
    assert len({row["backbone"] for row in weaker}) == 1


def jobs(given: Any, scale: str = "mini") -> set[str]:
    p = check_values("21_zero_shot", given, scale)
    return {job[0] for job in ZeroShot._jobs(SimpleNamespace(p=p, looks=p.encoders))}  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["mini", "small", "paper"])
def test_recorded_runs_have_what_is_said_over_a_whole_list(scale: str) -> None:
    found = [jobs(cell.parameters, scale) for cell in grids.cells("21_zero_shot", scale)]
    assert any("gains" in some for some in found) == (scale != "small")  # it has one data set
    assert all(("ratio" in some) == ("scratch" in some) for some in found)
    assert any("ratio" in some for some in found)


THREE = ["caltech10", "caltech10:sketch", "caltech3"]


@pytest.mark.parametrize(
    ("given", "name", "there"),
    [
        ({"targets": THREE}, "gains", False),
        ({"targets": [*zero_shot.SETS, "mine"]}, "gains", False),
        ({"targets": [*reversed(zero_shot.SETS)]}, "gains", True),
        ({"targets": THREE, "epochs": 3}, "gains", True),
        ({"parts": ["scratch"], "real_counts": [1, 100]}, "ratio", False),
        ({"parts": ["scratch"], "real_counts": [1, 100], "scratch_images": 50}, "ratio", True),
    ],
)
def test_of_less_than_a_whole_list_nothing_passes_for_what_is_recorded(
    given: dict[str, Any], name: str, there: bool
) -> None:
    """A run of no scale stands beside nothing that is recorded, and has all of its own."""
    assert (name in jobs(given)) == there


def test_a_look_has_other_photographs_and_the_same_images(study: Any) -> None:
    assert split_look("caltech10:sketch") == ("caltech10", "sketch")
    assert split_look("caltech3:Motorbikes") == ("caltech3:Motorbikes", "")
    some = study(targets=["caltech10", "caltech10:rendition"])
    plain, other = (some.target(0, data) for data in some.p.targets)
    assert not np.array_equal(plain.test.features, other.test.features)
    np.testing.assert_array_equal(plain.test.labels, other.test.labels)
    for strategy in ("B", "LE"):
        images = [target.images(0, strategy, 2).images for target in (plain, other)]
        np.testing.assert_array_equal(*images)


def test_images_that_no_memory_holds_are_the_same(
    study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = study().target(0, "caltech10")
    held = target.images(0, "LE", 3)
    monkeypatch.setattr(clones_by_name, "held_in_memory", lambda *_: False)
    read = target.images(0, "LE", 3)
    assert isinstance(held, ImageSet)
    assert isinstance(read, Deferred)
    np.testing.assert_array_equal(read.held().images, held.images)


# -- Faults, encoders, random weights -----------------------------------------------------------


def test_faults_are_what_they_say(study: Any, rows_of: Any) -> None:
    some = study(parts=["faults", "strategies"], epochs=8)
    rows = rows_of(some)
    of = {(row["strategy"], row["fault"]): row["value"] for row in only(rows, part="faults")}
    full = some.tuned(0, 0, "caltech10")[FULL]
    assert of["LE+CF", "test"] == full.test.max() >= of["LE+CF", "none"] == full.test[-1]
    assert of["LE+CF", "validation"] <= of["LE+CF", "test"]
    # Who gets the features of B under the name of LE has the head of B.
    (basic,) = only(rows, part="strategies", strategy="B", loss="SCE")
    assert of["LE", "stale cache"] == basic["value"]
    assert ("LE+CF", "saw-tooth") in of


def test_encoders_are_tuned_on_equally_many_images(study: Any, rows_of: Any) -> None:
    some = study(parts=["encoder"], images_per_class=2, epochs=1)
    learned = {train: some.learned(0, train) for train in zero_shot.LEARNED}
    assert {len(images) for images in learned.values()} == {10}
    np.testing.assert_array_equal(learned["shifted"].labels, learned["real"].labels)
    assert not np.array_equal(learned["shifted"].images, learned["real"].images)
    rows = rows_of(some)
    shares = only(rows, metric="tuned_share")
    for row in shares:
        assert (row["tuned"] == "encoder") == ("share" in row)
        assert row["value"] >= 100 * row.get("share", 0)
    assert len(shares) == 6


def test_random_weights_learn_so_many_of_each_and_are_compared(study: Any, rows_of: Any) -> None:
    some = study(parts=["scratch"])
    rows = rows_of(some)
    each = [(r["train"], r["n_per_class"], r.get("amount")) for r in rows if "n_per_class" in r]
    assert each == [
        ("real", 1, None), ("real", 4, "one"), ("synthetic", 4, "one"), ("synthetic", 8, "two")
    ]  # fmt: skip
    (equal,), (ratio,) = (only(rows, metric=m) for m in ("equal_images", "data_ratio"))
    assert 1 <= equal["value"] <= 4
    assert ratio["value"] == pytest.approx(4 / equal["value"])


@pytest.mark.parametrize(
    ("counts", "made", "count"),
    [
        ([1, 50, 100], 100, 100),
        ([1, 100, 250], 100, 100),
        (check_values("21_zero_shot", {}, "paper").real_counts, 500, 450),
        ([1, 449], 500, None),
        ([501], 500, None),
    ],
)
def test_as_many_photographs_may_lack_a_tenth(
    study: Any, monkeypatch: pytest.MonkeyPatch, counts: list[int], made: int, count: int | None
) -> None:
    assert zero_shot.as_many(counts, made) == count
    monkeypatch.setattr(ZeroShot, "scratch_accuracy", lambda *_: 50.0)
    some = study()
    some.p = SimpleNamespace(
        scratch_target="caltech10", real_counts=counts, scratch_images=made, backbone="small_cnn"
    )
    monkeypatch.setattr(some, "bed", lambda _: SimpleNamespace(about=lambda *_, **more: more))
    rows = [row for n in counts for row in some.scratch_rows(0, "real", n)]
    assert [row["n_per_class"] for row in rows if "amount" in row] == [count] * (count is not None)


def test_equal_counts_lie_on_straight_lines() -> None:
    counts, rising = [1, 16, 32], [10.0, 20.0, 40.0]
    assert equal_count(counts, rising, 5) == 1
    assert equal_count(counts, rising, 20) == 16
    assert equal_count(counts, rising, 30) == 24
    assert equal_count(counts, rising, 41) == float("inf")
    assert equal_count(counts, [10, 30, 20], 25) == pytest.approx(1 + 15 * 0.75)  # the first time
    printed = [2.48, 10.4, 14.95, 21.96, 24.4, 25.52, 27.99, 29.95]
    at = equal_count([1, 16, 32, 64, 80, 90, 95, 100], printed, 28.74)
    assert 500 / at == pytest.approx(5.2, abs=0.05)  # the paper's Table 4, its "around 5"


def test_confusion_counts_names_in_percent_of_each_class() -> None:
    features = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 2]]
    images = Encoded(features, np.array([0, 0, 1, 1, 0]), ("a", "b", "c"), "some")
    table = confusion(images, np.eye(3, dtype=np.float32))
    np.testing.assert_allclose(table, [[200 / 3, 0, 100 / 3], [50, 50, 0], [0, 0, 0]])


# -- What is asked beforehand -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"targets": ["digits"]}, "no words for the classes of 'digits'; give class_words"),
        ({"targets": ["caltech10:cartoon"]}, "caltech10"),
        ({"targets": ["nowhere"]}, "^targets: unknown data set 'nowhere'"),
        ({"parts": ["encoder"], "encoder_target": "nowhere"}, "^encoder_target: unknown data set"),
        ({"class_words": "nowhere.csv"}, "^class_words = 'nowhere.csv' is no file"),
        ({"guidance_scale": 0.5}, "guidance_scale 0.5 is not possible"),
        ({"model": "./nowhere"}, "model = './nowhere' is no folder of a diffusers pipeline"),
        ({"template": "photos"}, "templates 'photos' are not known"),
        ({"tuning_settings": ["steps: 5"]}, "steps is a parameter of its own"),
        ({"tuning_settings": ["batchsize: 5"]}, "did you mean 'batch_size'"),
        ({"parts": ["scratch"], "sizes": [2.0]}, "lacks 1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        zero_shot.check_zero_shot(check_values("21_zero_shot", given))


def test_of_two_encoders_all_targets_are_asked_for_wherever_one_is_called_the_weaker() -> None:
    two = {"encoders": ["web-clip-narrow", "web-clip"], "targets": ["caltech10", "data/nowhere"]}
    p = check_values("21_zero_shot", two | {"parts": ["encoder"]})
    with pytest.raises(InputError, match="data/nowhere"):
        zero_shot.check_zero_shot(p)
    for other in ({"parts": ["scratch"]}, {"encoders": ["web-clip"]}):
        zero_shot.check_zero_shot(check_values("21_zero_shot", {**p.as_dict(), **other}))


def test_validation_photographs_are_asked_for_where_they_judge(monkeypatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(zero_shot, "check_validated", lambda p, data: looked.append(data))
    two = {"encoders": ["web-clip-narrow", "web-clip"], "targets": ["caltech10:sketch", "cifar10"]}
    one = {**two, "encoders": ["web-clip"]}
    monkeypatch.setattr(zero_shot, "described", lambda p, name: name)
    for given, names in (
        ({"parts": ["strategies"], **two}, ["caltech10", "cifar10"]),
        ({"parts": ["strategies"], **one}, []),
        ({"parts": ["faults"], **one}, ["caltech10"]),
        ({"parts": ["scratch"], **two}, []),
    ):
        looked.clear()
        zero_shot.check_zero_shot(check_values("21_zero_shot", given))
        assert looked == names


def test_more_photographs_than_there_are_and_unknown_encoders_are_refused(study: Any) -> None:
    with pytest.raises(InputError, match="which shots=1000 cannot be drawn from"):
        study(parts=["scratch"], real_counts=[1, 1000])
    with pytest.raises(InputError, match="open_clip has no network 'RN51'"):
        study(encoders=["RN51:openai"])


def test_a_file_of_words_adds_to_those_of_the_book(tmp_path: Path) -> None:
    file = tmp_path / "words.csv"
    file.write_text("bird, a thing with feathers\n")
    p = check_values("21_zero_shot", {"class_words": str(file)})
    assert "caltech10" in zero_shot.check_zero_shot(p)
    words = words_of(p, "caltech10", ready.told_of(p, "caltech10").classes)
    assert words[0].definition == "a thing with feathers"
    assert words[1].definition not in ("", words[0].definition)


def test_names_that_the_generator_never_read_are_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of one's own: what the book's generator cannot draw is said before it draws."""
    classes = ("apple", "rust", "forklift")
    for part, name in itertools.product(("train", "val", "test"), classes):
        (tmp_path / "mine" / part / name).mkdir(parents=True)
        for k in range(2):
            image = Image.new("RGB", (32, 32), (k * 90, len(part) * 9, len(name) * 20))
            image.save(tmp_path / "mine" / part / name / f"{k}.png")
    file = tmp_path / "words.csv"
    file.write_text("".join(f"{name}\n" for name in classes))
    given = {"targets": [str(tmp_path / "mine")], "class_words": str(file), "image_size": 32}
    told = zero_shot.check_zero_shot(check_values("21_zero_shot", given))
    assert "has read no caption with: forklift, rust. What it draws" in told
    monkeypatch.setattr(zero_shot, "check_model", lambda p: None)
    other = zero_shot.check_zero_shot(check_values("21_zero_shot", given | {"model": "another"}))
    assert "caption" not in other


def test_validation_photographs_stand_beside_and_tell_the_weaker_encoder(
    study: Any, clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    some, asked, judged, rated = study(encoders=[*clips]), [], [], []
    target = some.target(0, "caltech10")
    monkeypatch.setattr(zero_shot, "tune", lambda *_, **how: asked.append(how) or [])
    some._tune(target, [], 10)
    assert asked[0]["validation"] is target.validation
    assert asked[0]["test"] is target.test
    np.testing.assert_array_equal(target.validation.labels, target.splits.val.labels)
    np.testing.assert_array_equal(target.test.labels, target.splits.test.labels)
    monkeypatch.setattr(
        zero_shot, "zero_shot", lambda images, head: rated.append(images) or {"top1": 0.0}
    )
    assert some.strengths == ["weaker", "stronger"]
    assert rated == [some.target(k, "caltech10").validation for k in (0, 1)]
    inner = zero_shot.some
    monkeypatch.setattr(zero_shot, "some", lambda x, *how: judged.append(x) or inner(x, *how))
    list(some._image_rows(0, target, {}))
    assert judged[-1] is target.splits.val


def test_each_head_learns_what_its_row_says_and_photographs_are_those_of_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zero_shot, "encoded", lambda look, images: images)
    splits = SimpleNamespace(train="train", val="val", test="test")
    target = SimpleNamespace(look=None, head="told", splits=splits, seen=lambda images: [images])
    features = {name: [name] for name in ("B", "LE", FEWER, "LE+CF")}
    made = SimpleNamespace(
        heads={}, target=lambda *_: target, sets=lambda *_: SimpleNamespace(features=features),
        _tune=lambda target, runs, kept: [*runs],
    )  # fmt: skip
    runs: Any = ZeroShot.tuned(made, 3, 0, "caltech10")  # type: ignore[arg-type]
    for (strategy, loss), run in runs.items():
        assert (run.start, run.seed, run.loss) == ("told", 3, loss)
        if strategy == "real":
            assert (run.real, run.synthetic) == (["train"], None)
        else:
            assert (run.real, run.synthetic) == (None, [strategy])
    assert {*runs} == {*itertools.product(features, ("CE", "SCE")), ("real", "CE")}


def test_the_last_step_counts_and_gains_go_with_zero_shots_by_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zero = {"a": 10.0, "b": 20.0, "c": 30.0, "d": 90.0}
    gain = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 9.0}  # ranks 1, 3, 2, 4
    monkeypatch.setattr(zero_shot, "zero_shot", lambda images, head: {"top1": zero[images]})

    def tuned(seed: int, number: int, data: str) -> Any:
        chosen = {"last": gain[data], "validation": 0.0, "test": 2 * gain[data]}
        by = {name: zero[data] + value for name, value in chosen.items()}
        return {kind: SimpleNamespace(accuracy=by.get) for kind in (FULL, ("real", "CE"))}

    made = SimpleNamespace(
        p=SimpleNamespace(targets=[*zero]), about=lambda *_: {}, tuned=tuned,
        target=lambda number, data: SimpleNamespace(test=data, head=None, shift="", data=data),
    )  # fmt: skip
    rows = [*ZeroShot.strategies_rows(made, 0, 1, "c")]  # type: ignore[arg-type]
    assert [row["value"] for row in rows] == [30.0, 32.0, 32.0]
    rows = [*ZeroShot.gains_rows(made, 0, 1)]  # type: ignore[arg-type]
    told = {row["metric"]: row["value"] for row in rows}
    assert told == {"gain_range": 8.0, "gain_correlation": pytest.approx(0.8)}


def test_the_weaker_encoder_has_the_lower_mean_over_data_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {(0, "a"): 80.0, (0, "b"): 20.0, (1, "a"): 30.0, (1, "b"): 60.0}
    monkeypatch.setattr(zero_shot, "zero_shot", lambda images, head: {"top1": values[images]})

    def strengths(*order: int) -> list[str]:
        made = SimpleNamespace(
            looks=order, p=SimpleNamespace(targets=["a", "b"]),
            target=lambda k, data: SimpleNamespace(validation=(order[k], data), head=None),
        )  # fmt: skip
        return ZeroShot.__dict__["strengths"].func(made)

    assert strengths(0, 1) == ["stronger", "weaker"]
    assert strengths(1, 0) == ["weaker", "stronger"]


BY = {"last": 40.0, "validation": 50.0, "test": 60.0}  # accuracies, by what chooses the step


def test_encoders_and_random_weights_are_rated_on_test_photographs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def some(shift: int) -> ImageSet:  # whose pixels are labels, of the test the right ones
        labels = np.arange(6) % 3
        pixels = np.broadcast_to(((labels + shift) % 3)[:, None, None, None], (6, 4, 4, 1))
        return ImageSet(pixels.astype(np.uint8), labels, ("a", "b", "c"), "some")

    splits, asked = SimpleNamespace(train=some(1), val=some(2), test=some(0)), []

    def tune_live(look: Any, images: Any, head: Any, recipe: Any, **how: Any) -> Any:
        asked.append((images, how["loss"], how["test"]))
        return SimpleNamespace(tuned=SimpleNamespace(accuracy=BY.get), share=0.25)

    monkeypatch.setattr(zero_shot, "tune_live", tune_live)
    monkeypatch.setattr(zero_shot, "recipe_of", lambda p, images: zero_shot.TuningRecipe())
    monkeypatch.setattr(
        zero_shot, "predict", lambda model, images, **_: torch.eye(3)[images[:, 0, 0, 0].tolist()]
    )
    bed = SimpleNamespace(splits=splits, reading={}, trained=lambda images, seed: None)
    made = SimpleNamespace(
        p=SimpleNamespace(encoder_target="a", scratch_target="a", encoder_rate=1.0),
        target=lambda *_: SimpleNamespace(look=None, head=None, splits=splits),
        learned=lambda seed, train: train, about=lambda *_: {}, accuracies={},
        bed=lambda data: bed, scratch_images=lambda *_: None,
    )  # fmt: skip
    for train in zero_shot.LEARNED:
        rows = [*ZeroShot.encoder_rows(made, 0, train, 0.5)]  # type: ignore[arg-type]
        assert [row["value"] for row in rows] == [40.0, 25.0]
    losses = {"synthetic": "SCE", "shifted": "CE", "real": "CE"}
    assert asked == [(train, losses[train], splits.test) for train in zero_shot.LEARNED]
    assert ZeroShot.scratch_accuracy(made, 0, "real", 4) == 100  # type: ignore[arg-type]


@pytest.mark.parametrize(("most", "equal"), [(50.0, 2.5), (20.0, 6.0)])
def test_the_ratio_is_of_generated_images_to_photographs_that_teach_as_much(
    most: float, equal: float
) -> None:
    accuracies = {("synthetic", 1.0): 30.0, ("real", 1): 10.0, ("real", 4): most}
    made = SimpleNamespace(
        p=SimpleNamespace(real_counts=[4, 1], scratch_images=6), _of_scratch=lambda *_: {},
        scratch_accuracy=lambda seed, *asked: accuracies[asked],
    )  # fmt: skip
    rows = [*ZeroShot.ratio_rows(made, 0)]  # type: ignore[arg-type]
    told = {row["metric"]: row["value"] for row in rows}
    assert told == {"equal_images": equal, "data_ratio": pytest.approx(6 / equal)}


def test_photographs_are_seen_in_the_look_of_their_name() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    images = ImageSet(pixels, [0, 1, 0, 1], ("a", "b"), "some")
    looks = {"": images, "sketch": sketches(images), "rendition": renditions(images, seed=0)}
    for look, wanted in looks.items():
        seen = Target.seen(SimpleNamespace(shift=look), images)  # type: ignore[arg-type]
        np.testing.assert_array_equal(seen.images, wanted.images)


def test_gains_are_told_of_the_data_sets_that_the_recorded_runs_have() -> None:
    runs = [cell.parameters for cell in grids.cells("21_zero_shot", "mini")]
    asked = {tuple(run["targets"]) for run in runs if "strategies" in run["parts"]}
    assert asked == {zero_shot.SETS}
