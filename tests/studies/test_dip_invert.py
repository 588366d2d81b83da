"""Chapter 44: where inversions begin, what is drawn of what, and what is computed of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from synthbook.errors import InputError
from synthbook.gans.invert import images_of
from synthbook.gans.networks import create_generator
from synthbook.gans.sampling import set_standing_statistics
from synthbook.measure import features
from synthbook.measure.alike import squared_errors
from synthbook.measure.features import Extractor
from synthbook.measure.fidelity import frechet_distance
from synthbook.record.metrics import PRODUCES
from synthbook.record.parameters import check_values
from synthbook.studies import dip_invert, dip_scale, inversions, kept
from synthbook.studies.dip_scale import Model
from synthbook.studies.inversions import DRAWN, NEAREST, Case, begin

CHAPTER = "44_inversion_and_editing"
SMALL: dict[str, Any] = {
    "priors": ["supervised", "self-supervised"], "targets": ["digits"], "image_size": 8,
    "parts": [*dip_invert.CASES, "variation", "editing"], "queries": 6, "control_queries": 4,
    "shown_images": 2, "edited_images": 5,
    "noises": 3, "inversion_steps": 6, "tried_starts": 8, "train_missing": True,
    "network_settings": ["channels=4", "discriminator_channels=4", "latent=4", "embedding=5"],
    "training_settings": ["batch_size=4", "standing_images=8", "schedule=constant"],
    "finetune_steps": 2, "evaluate_every": 2, "generated": 8,
}  # fmt: skip
BASELINE, DIP = Model("baseline"), Model("DIP", "supervised")


def pixels(name: str = "supervised") -> Extractor:
    """Return features of sight, which is quick: each second pixel, for the other network turned."""
    step = 1 if name == "supervised" else -1

    def look(images: np.ndarray) -> np.ndarray:
        return images[:, ::2, ::2].mean(-1).reshape(len(images), -1)[:, ::step].astype(np.float32)

    return Extractor(name, look, fingerprint=name)


def tiny(study: dip_invert.Inversion, seed: int, model: Model) -> torch.nn.Module:
    """Return a generator of random weights in the place of a trained one."""
    prior = study.seen_by(model.prior) if model.prior != "none" else None
    size = prior.vectors.shape[1] if prior else 0
    made = create_generator(**study.scale.network("digits"), condition_size=size, seed=seed + 50)

    def conditions(count: int, draw: torch.Generator) -> torch.Tensor | None:
        return prior.vectors[:count] if prior else None

    set_standing_statistics(made, conditions, seed=seed, images=50)
    return made.eval().requires_grad_(False)


@pytest.fixture
def checked(monkeypatch):
    """Return a function from parameters to checked ones, with features that are quick."""
    monkeypatch.setattr(features, "extractor", lambda *given, **how: pixels("judge"))
    named = SimpleNamespace(
        networks=lambda priors, *more: {name: name for name in priors},
        frozen=lambda name, *given, **how: pixels(name), check_frozen=lambda *given: None,
    )  # fmt: skip
    monkeypatch.setattr(dip_scale, "frozen", named)
    monkeypatch.setattr(dip_invert, "frozen", named)

    def made(**values: Any) -> Any:
        p = check_values(CHAPTER, SMALL | values)
        dip_invert.check_inversion(p)
        return p

    return made


@pytest.fixture
def study(checked, monkeypatch):
    """Return a function from parameters to the study of generators that were not trained."""
    monkeypatch.setattr(dip_invert.Inversion, "_trained", tiny)
    return lambda **values: dip_invert.Inversion(checked(**values), "cpu")


def every_row(study: dip_invert.Inversion, *parts: str) -> list[dict[str, Any]]:
    jobs = [job for job in study.jobs if not parts or job[1] in parts]
    return [row for job in jobs for row in study.rows(*job)]


def value(rows: list[dict[str, Any]], **where: Any) -> float:
    (found,) = (row["value"] for row in rows if where.items() <= row.items())
    return found


# -- Generators ------------------------------------------------------------------------------------


def test_what_is_not_kept_has_no_jobs_and_is_named(checked) -> None:
    made = dip_invert.Inversion(checked(train_missing=False, priors=["supervised"]), "cpu")
    assert made.jobs == made.of_seed(0) == []
    assert made.missing == ["baseline, seed 0", "DIP, seed 0"]
    assert "Of digits" in made.advice
    assert "baseline, seed 0; DIP, seed 0" in made.advice
    assert "-p train_missing true" in made.advice


def test_the_last_generator_of_a_training_is_asked_kept_or_made_now(checked, monkeypatch) -> None:
    made = dip_invert.Inversion(checked(priors=["supervised"], parts=["shown"]), "cpu")
    assert made.missing == []
    for model in (BASELINE, DIP):
        trained = made.scale.learned(0, "methods", "digits", model).generator("last")
        given = made.trained(0, model)
        assert given.config == trained.config
        for name, weights in trained.state_dict().items():
            assert torch.equal(given.state_dict()[name], weights)
    there = SimpleNamespace(generator=lambda which: which)
    monkeypatch.setattr(kept, "of", lambda scale, *job: there if job[-1] == DIP else None)
    made = dip_invert.Inversion(checked(train_missing=False, priors=["supervised"]), "cpu")
    assert made.of_seed(0) == [DIP]
    assert made.trained(0, DIP) == "last"


def test_the_page_asks_for_the_generators_that_the_book_keeps() -> None:
    mine = dip_scale.LargeScale(dip_invert.bed_of(check_values(CHAPTER, {})), "cpu")
    told = []
    for scale in (mine, kept.chapter_43(0, "cpu")):
        given, how = scale.arguments(0, "methods", "caltech101", BASELINE, whole=True)
        told.append(kept.learned_from(*given, prior="none", **how))
    assert told[0] == told[1]
    assert mine.p.prior_size == kept.BED["prior_size"]


def test_an_untrained_generator_is_of_the_same_kind_and_draws_as_widely(study) -> None:
    made = study(priors=["supervised"])
    trained, other = made.gan(0, DIP), made.gan(0, DIP, False)
    assert other.generator.config == trained.generator.config
    latents, conditions = other.drawn(60, 0)
    images = images_of(other.generator, latents, conditions)
    assert images.std() > 10  # the statistics are its own


# -- Where inversions begin ------------------------------------------------------------------------


def test_inversions_begin_at_the_features_of_the_image_or_at_anything(study) -> None:
    made = study()
    gan, images = made.gan(0, DIP), made.queries(0)
    how = {"tried": 8, "seed": 0}
    latents, own = begin(gan, images, "own", **how)
    assert latents is None
    features = pixels()(images) / np.float32(gan.prior.scale)
    torch.testing.assert_close(own, gan.generator.embed(torch.from_numpy(features)))
    _, turned = begin(gan, images[::-1].copy(), "own", **how)
    torch.testing.assert_close(turned, own.flip(0))
    # Anything: some training images', whatever the query is.
    _, drawn = begin(gan, images, DRAWN, **how)
    _, again = begin(gan, images[::-1].copy(), DRAWN, **how)
    assert torch.equal(drawn, again)
    every = gan.embedded(gan.prior.vectors)
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    assert (torch.cdist(drawn, every, **exact).min(1).values < 1e-4).all()
    # Without a prior both are the same: z is drawn, and that is all.
    plain = made.gan(0, BASELINE)
    assert begin(plain, images, "own", **how) == begin(plain, images, DRAWN, **how) == (None, None)


@pytest.mark.parametrize("model", [BASELINE, DIP], ids=lambda m: m.method)
def test_the_nearest_start_is_the_best_of_as_many_draws(study, model) -> None:
    made = study()
    gan, images = made.gan(0, model), made.queries(0)
    found = made.inverted(0, model, Case(NEAREST), 6)
    drawn = images_of(gan.generator, *gan.drawn(8, inversions.derive(0, "start")))
    best = [squared_errors(drawn, image).min() for image in images]
    np.testing.assert_allclose(found.history[0], best, atol=2e-3)  # drawn are rounded to pixels


def test_the_same_noise_begins_all_inversions_of_a_query_but_the_nearest(study) -> None:
    made = study()
    own, z = (made.inverted(0, BASELINE, case, 6) for case in (Case(), Case(freedom="z")))
    np.testing.assert_allclose(own.history[0], z.history[0], rtol=1e-5)
    few = made.inverted(0, BASELINE, Case(), 2)
    np.testing.assert_allclose(few.history[0], own.history[0, :2], rtol=1e-5)
    first = made.inverted(0, BASELINE, Case(), 2, 0).images
    errors = squared_errors(first, made.queries(0)[:2])
    np.testing.assert_allclose(errors, few.history[0], atol=5e-3)


def test_inversions_are_kept(study, monkeypatch) -> None:
    first = study().inverted(0, DIP, Case(), 4)
    monkeypatch.setattr(inversions, "invert", None)
    again = study().inverted(0, DIP, Case(), 4)
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.history, again.history)
    with pytest.raises(TypeError):
        study(inversion_steps=5).inverted(0, DIP, Case(), 4)


# -- Rows ------------------------------------------------------------------------------------------


def test_rows_are_unique_and_listed(study, distinct) -> None:
    rows = distinct(every_row(study()))
    listed = PRODUCES[CHAPTER]
    for key, names in listed._asdict().items():
        assert {row[key] for row in rows} == {*names}
    assert all(np.isfinite(row["value"]) for row in rows)
    assert {row["seen_by"] for row in rows if row["metric"] == "inverted_fd"} == {
        "judge", "supervised", "self-supervised",
    }  # fmt: skip


def test_errors_fall_and_the_last_is_ivom(study) -> None:
    rows = every_row(study(priors=["supervised"]), "inversion", "shown", "starts")
    for method, part, start in (
        ("baseline", "inversion", "own"), ("DIP", "shown", "own"), ("DIP", "starts", "drawn"),
    ):  # fmt: skip
        where = {"method": method, "part": part, "start": start}
        steps = {
            row["step"]: row["value"]
            for row in rows
            if where.items() <= row.items() and row["metric"] == "best_error"
        }
        assert {0, 1, 3, 6} <= steps.keys()
        curve = [steps[k] for k in sorted(steps)]
        assert curve == sorted(curve, reverse=True)
        assert steps[6] == value(rows, metric="ivom", **where)
        assert steps[3] == value(rows, metric="ivom_half", **where)
    # For the baseline, which knows nothing of a query, both are one.
    starts = [value(rows, method="baseline", metric="ivom", part="starts", start=start)
              for start in ("own", "drawn")]  # fmt: skip
    assert starts[0] == starts[1]


def test_controls_invert_the_first_images_with_the_way_of_the_paper_beside(study) -> None:
    made = study(priors=["supervised"])
    rows = every_row(made, "inversion", "starts", "freedom", "untrained", "others")
    own = {"metric": "ivom", "start": "own", "freedom": "blocks", "queries": "test"}
    for method, model in (("baseline", BASELINE), ("DIP", DIP)):
        first = made.inverted(0, model, Case(), 4).lowest[-1]
        for part in ("starts", "freedom", "others", "untrained"):
            assert value(rows, method=method, part=part, **own) == first
        every = made.inverted(0, model, Case(), 6).lowest[-1]
        assert value(rows, method=method, part="inversion", **own) == every != first


def test_what_takes_no_generator_is_computed_of_training_images(study) -> None:
    made = study(priors=["supervised"])
    rows = every_row(made, "inversion")
    queries, train = made.queries(0), made.pool("train")
    errors = np.array([squared_errors(train, query) for query in queries])
    assert value(rows, method="nearest image", metric="ivom") == pytest.approx(errors.min(1).mean())
    mean = squared_errors(queries, train.mean(0)).mean()
    assert value(rows, method="mean image", metric="ivom") == pytest.approx(mean)
    near, look = train[errors.argmin(1)], pixels()
    wanted = frechet_distance(look(queries), look(near))
    where = {"metric": "inverted_fd", "seen_by": "judge"}
    assert value(rows, method="nearest image", **where) == pytest.approx(wanted, rel=1e-4)
    known = {image.tobytes() for image in queries}
    pool = {image.tobytes() for image in made.pool("test")}
    assert known <= pool
    assert value(rows, method="real images", **where) > 0


def test_queries_are_held_out_or_trained_on_or_what_the_model_draws(study) -> None:
    made = study()
    held, seen = ({x.tobytes() for x in made.pool(which)} for which in ("test", "train"))
    assert {x.tobytes() for x in made.asked(0, DIP, Case(), 6)} <= held
    assert {x.tobytes() for x in made.asked(0, DIP, Case(queries="train"), 6)} <= seen
    for model in (BASELINE, DIP):
        gan = made.gan(0, model)
        drawn = images_of(gan.generator, *gan.drawn(6, inversions.derive(0, "queries")))
        assert np.array_equal(made.asked(0, model, Case(queries="generated"), 6), drawn)
    assert len(made.asked(0, DIP, Case(), 2)) == 2
    assert not np.array_equal(made.queries(0), study(seeds=2).queries(1))


def test_photographs_take_the_place_of_held_out_images(study, tmp_path) -> None:
    for k in range(4):
        image = np.full((12, 12, 3), 40 * k, np.uint8)
        Image.fromarray(image).save(tmp_path / f"{k}.png")
    made = study(photographs=f"{tmp_path}/", priors=["supervised"])
    assert {int(image.mean()) for image in made.queries(0)} == {0, 40, 80, 120}
    rows = every_row(made, "inversion", "editing")
    assert {row["dataset"] for row in rows} == {str(tmp_path)}
    assert not any(row["method"] == "real images" and row["part"] == "inversion" for row in rows)


def test_two_photographs_are_enough(study, tmp_path) -> None:
    for k in range(2):
        Image.fromarray(np.full((12, 12, 3), 90 * k, np.uint8)).save(tmp_path / f"{k}.png")
    made = study(photographs=f"{tmp_path}/", priors=["supervised"])
    assert made.variants(made.gan(0, DIP), 0, 3, 4).shape == (2, 4, 8, 8, 3)


# -- Variations and edits --------------------------------------------------------------------------


def test_a_line_has_one_prior_and_a_column_one_noise(study) -> None:
    made = study()
    gan = made.gan(0, DIP)
    grid = made.variants(gan, 0, 3, 4)
    assert grid.shape == (3, 4, 8, 8, 3)
    conditions, z = gan.conditions(made.queries(0)[:3]), made._noise(gan.generator, 0, 4)
    for i in range(3):
        for j in range(4):
            image = images_of(gan.generator, z[j : j + 1], conditions[i : i + 1])[0]
            assert np.abs(image.astype(int) - grid[i, j]).max() <= 1
    rows = every_row(made, "variation")
    for side in ("within", "between"):
        assert value(rows, method="DIP", prior="supervised", metric=f"{side}_pixels") > 0


def test_within_are_images_of_one_prior_and_between_those_of_one_noise() -> None:
    grid = np.zeros((2, 3, 4, 4, 3), np.uint8)  # two priors, each the same with any noise
    grid[0, ..., 0], grid[1, ..., 1] = 200, 200

    def see(name: str, images: np.ndarray) -> np.ndarray:
        return images[:, 0, 0] / 200.0

    made = SimpleNamespace(
        variants=lambda *_: grid, extractors=["one"], see=see,
        p=SimpleNamespace(edited_images=2, noises=3),
    )  # fmt: skip
    rows = dip_invert.Inversion._variation(made, None, 0, {})  # type: ignore[arg-type]
    told = {row["metric"]: row["value"] for row in rows}
    assert told["within_pixels"] == 0 < told["between_pixels"]
    assert told["within_distance"] == pytest.approx(0)
    assert told["between_distance"] == pytest.approx(1)


def test_answers_are_compared_with_what_was_asked_and_with_the_image_before() -> None:
    rows_of = np.eye(6)  # three images before an edit, and after it

    def edited(seed: int, edit: str) -> np.ndarray:
        return rows_of[:3] if edit == "none" else rows_of[3:]

    made = SimpleNamespace(
        edited=edited, answers=lambda seed, model, edit: edited(seed, edit), extractors=["one"],
        see=lambda name, images: images, known=lambda name: rows_of,
    )  # fmt: skip
    rows = list(dip_invert.Inversion._editing(made, 0, DIP, {}))  # type: ignore[arg-type]
    for row in rows:
        follows = row["against"] == "edited" and row["method"] != "real images"
        expected = {"own_similarity": follows, "other_similarity": 0}
        assert row["value"] == expected.get(row["metric"], row["value"]), row
    assert {(row["method"], row["against"]) for row in rows if row["edit"] == "paste"} == {
        ("DIP", "edited"), ("DIP", "original"), ("nearest image", "edited"),
        ("nearest image", "original"), ("real images", "edited"),
    }  # fmt: skip


def test_ways_begin_and_end_at_the_priors_of_their_ends(study) -> None:
    made = study()
    ways = made.between(0, DIP, (0, 1), 5)
    back = made.between(0, DIP, (1, 0), 5)["interpolation"]
    first, last = ({name: way[k] for name, way in ways.items()} for k in (0, -1))
    assert np.array_equal(first["interpolation"], first["mixup"])
    assert np.array_equal(first["interpolation"], first["noise"])
    assert np.array_equal(last["interpolation"], last["mixup"])
    assert not np.array_equal(first["noise"], last["noise"])
    assert np.abs(back[::-1].astype(int) - ways["interpolation"]).max() <= 1


def test_what_is_drawn_of_an_edit_depends_on_the_edit_alone(study) -> None:
    made = study()
    # The digits are grey already: no edit, and the same noise for every edit.
    assert np.array_equal(made.edited(0, "grey"), made.edited(0, "none"))
    assert np.array_equal(made.answers(0, DIP, "grey"), made.answers(0, DIP, "none"))
    assert not np.array_equal(made.answers(0, DIP, "sketch"), made.answers(0, DIP, "none"))
    assert np.array_equal(made.answers(0, DIP, "sketch", 2), made.answers(0, DIP, "sketch")[:2])
    rows = every_row(made, "editing")
    where = {"prior": "supervised", "seen_by": "supervised", "against": "edited"}
    same = value(rows, method="real images", edit="grey", metric="own_similarity", **where)
    assert same == pytest.approx(1)
    looked_up = value(rows, method="nearest image", edit="none", metric="own_similarity", **where)
    asked, known = made.see("supervised", made.queries(0)[:5]), made.seen_by("supervised").vectors
    known = known - made.seen_by("supervised").mean
    unit = known / known.norm(dim=1, keepdim=True)
    assert looked_up == pytest.approx((asked @ unit.double().numpy().T).max(1).mean(), abs=1e-5)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"queries": 5000}, "queries = 5000 and 'digits' has 1300 held-out images; give 1300"),
        ({"shown_images": 7}, "shown_images = 7 of 6 queries; give at most 6"),
        ({"noises": 1}, "noises = 1 and edited_images = 5; give 2 or more"),
        ({"photographs": "no_such_folder/"}, "no_such_folder/ is no folder that exists"),
        ({"targets": ["digit"]}, "digits"),
        ({"targets": ["digits", "mnist5k"], "photographs": "mine"}, "one data set .*=digits$"),
        ({"image_size": 9}, "image_size = 9"),
    ],
)
def test_what_chapter_44_cannot_run_is_refused(values, says, checked) -> None:
    with pytest.raises(InputError, match=says):
        checked(**values)
