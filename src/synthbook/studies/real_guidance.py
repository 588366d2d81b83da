"""The experiment of chapter 16: Real Guidance (Wang et al., WACV 2024) on both kinds of image.

To import this, to check parameters and to plan needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from synthbook.data import few_shot
from synthbook.errors import InputError
from synthbook.recognize.methods import GUIDE, METHODS
from synthbook.studies import needs
from synthbook.studies.image_sources import (
    SAME_IMAGES,
    check_shots,
    check_sources,
    families_of,
    trained_here,
)
from synthbook.studies.plans import (
    Cell,
    Choice,
    Experiment,
    Train,
    Trained,
    Training,
    method_settings,
    metrics_of,
)
from synthbook.studies.remedies import guide_of, rated, weight_given
from synthbook.studies.rows import REAL

if TYPE_CHECKING:
    from synthbook.data import ImageSet, Splits
    from synthbook.recognize.methods.guide import Guide

WEIGHTS = ("lambda_1", "lambda_2", "lambda_3")
ALL_OURS = "RG+PG-R+PG-F"
TWO_STAGES = tuple(name for name, method in METHODS.items() if method.stages == "two")
# What a part compares, as far as it is asked for; methods and same_images take all that are.
METHODS_OF = {
    "real_images": ("Aug", "A-GEM", "RG", ALL_OURS, "sum"),
    "sensitivity": (ALL_OURS,),
    "readings": ("RG", "sum", "PCGrad", *TWO_STAGES),
}
READINGS = [("RG", {"per_layer": False}), ("RG", {"per_layer": True}), ("sum", {}), ("PCGrad", {})]
READINGS += [(x, {"second_stage": of}) for x in TWO_STAGES for of in ("epochs", "updates")]


def check_real_guidance(p: Mapping[str, Any]) -> object:
    """Return a summary of the data; raise InputError for parameters that do not fit together."""
    for part in p["parts"]:
        known = METHODS_OF.get(part, p["methods"])
        if not set(known) & set(p["methods"]):
            raise InputError(
                f"methods = {list(p['methods'])} has none of those of the part {part}; "
                f"add one of {', '.join(known)}"
            )
    if SAME_IMAGES in p["parts"] and not (p["shots"] and trained_here(p)):
        raise InputError(
            f"the part {SAME_IMAGES} compares on models of a family of the book that know the few "
            "real images only; set shots = 10 and give sources diffusion or gan, or leave it out"
        )
    summary = check_sources(p)
    count = check_shots(p, summary, **_shots(p))
    few, ratio = p["shots"] * summary.num_classes or count, p["synthetic_ratio"]
    if p["shots"] and ratio * few > count:  # of all real images a source has as many as asked for
        raise InputError(
            f"synthetic_ratio = {ratio:g} asks for {ratio * few:,.0f} generated images and there "
            f"are {count:,}; give at most {count / few:.4g}, or 0 for all"
        )
    if any(GUIDE in METHODS[name].needs for name in p["methods"]):
        needs.check_guide(p)
    if SAME_IMAGES in p["parts"]:
        needs.check_kept_of_few(trained_here(p), p, summary)
    method_settings(p)
    return summary


def _guide(p: Mapping[str, Any], real: Splits, device: str) -> Guide | None:
    """Return the guide, None where no method needs one."""
    if not any(GUIDE in METHODS[name].needs for name in p["methods"]):
        return None
    return guide_of(p, channels=real.train.channels, device=device)


def _shots(p: Mapping[str, Any]) -> dict[str, int]:
    """Return the largest numbers of real images a class that are asked for, by parameter."""
    asked = {"shots": p["shots"]}
    return asked | ({"n_real": max(p["n_real"])} if "real_images" in p["parts"] else {})


def generator_knows(p: Mapping[str, Any], family: str, shots: int | None) -> str:
    """Return which real images a generator was trained on, beside those of the classifier.

    'same': no others, as in the second setting of the paper. 'all': all there are, of which the
    classifier has ``shots`` a class, as in its CIFAR-10 columns; the samples may then tell of
    images that the classifier was not given. 'unknown' for samples that were made elsewhere. In
    the part same_images the book's models of few images make it 'same'.
    """
    if any(source.startswith(f"{family}=") for source in p["sources"]):
        return "unknown"
    few = p["shots"] if shots is None else shots
    return "all" if few or p["set_size"] else "same"


class RealGuidance(Experiment):
    """Chapter 16: the methods of Table 4, on few real images and many generated ones.

    ``images`` of a `Training` are a generator, real images a class (0 for all, None for none of
    them), whether they are without generated ones, and whether the generator knows these real
    images only. There is one `Choice`.
    """

    main = "methods"

    def __init__(self, p: Mapping[str, Any], real: Splits, *, device: str = "cpu") -> None:
        """Unpack a chapter's parameters, see that classes are large enough; load a guide."""
        from synthbook.studies.training_sets import network_of

        few_shot(real.train, max(1, *_shots(p).values()), seed=0)
        super().__init__(p, real, device=device)
        self.network, self.guide = network_of(p), _guide(p, real, device)

    @staticmethod
    def numbers(p: Mapping[str, Any]) -> dict[str, Any]:
        """Return the weights of both gradients and the readings that are taken."""
        readings = {"distance": "cosine", "similarity": "kl", "target": "guide", "over": "row"}
        readings |= {"per_layer": False, "second_stage": "epochs"}
        return {"lambda_1": p["lambda_1"], "lambda_2": p["lambda_2"], **readings}

    @staticmethod
    def choices(p: Mapping[str, Any]) -> list[Choice]:
        """Return the weight of Pretrained Guidance, chosen with it on both kinds of image."""
        if not any(METHODS[name].guided for name in p["methods"]):
            return []
        weights, families = p["lambda_3"], families_of(p)
        grid = product(weights, families) if len(weights) > 1 else ()
        cells = [
            _cell(p, "choice", ALL_OURS, x, p["shots"], "val", numbers={"lambda_3": w}, lambda_3=w)
            for w, x in grid
        ]
        row = _cell(p, "choice", ALL_OURS, "+".join(families), p["shots"]).row
        row |= {"metric": "lambda_3", "split": "val"}
        return [Choice((), row, weights, tuple(cells))]

    @staticmethod
    def cells(p: Mapping[str, Any]) -> Iterator[Cell]:
        """Yield Table 4, then by part what more or fewer real images, weights and readings do."""
        families, methods, few = families_of(p), p["methods"], p["shots"]
        parts = {part: [x for x in known if x in methods] for part, known in METHODS_OF.items()}
        parts = {part: known for part, known in parts.items() if part in p["parts"]}
        if "methods" in p["parts"]:
            if "plain" in methods:  # on real images alone, whatever the generator
                for name, shots in (("real_few", few), ("real", 0)):
                    how = {"alone": name, "cost": "Aug" in methods}
                    yield _cell(p, "methods", "plain", families[0], shots, "test", **how)
            for family, method in product(families, methods):
                shots = None if method == "plain" else few
                yield _cell(p, "methods", method, family, shots, "test", cost="Aug" in methods)
        kept = trained_here(p) if SAME_IMAGES in p["parts"] else ()
        for family, method in product(kept, methods):
            shots = None if method == "plain" else few
            yield _cell(p, SAME_IMAGES, method, family, shots, "test", of_few=True)
        for family in families:
            for method, n in product(parts.get("real_images", ()), p["n_real"]):
                yield _cell(p, "real_images", method, family, n, "test", n_real=n)
            if parts.get("sensitivity"):
                for name, value in product(WEIGHTS, p["lambdas"]):
                    where = {"varied": name, "weight": value, "numbers": {name: value}}
                    yield _cell(p, "sensitivity", ALL_OURS, family, few, "val", "test", **where)
            for method, reading in READINGS:
                if method in parts.get("readings", ()):
                    yield _cell(
                        p, "readings", method, family, few, "test", numbers=reading, **reading
                    )

    def _train(self, seed: int) -> Train:
        from synthbook.data import at_most
        from synthbook.recognize.methods.task import updates_of
        from synthbook.studies.training_sets import clone_of_few, training_sets

        sets = training_sets(self.real, self.p, seed=seed, device=self.device)
        of_real, generated = sets[REAL].train, {x: sets[x].train for x in self.families}
        if ratio := self.p["synthetic_ratio"]:  # of ``shots``, also where there are more or fewer
            few = self.p["shots"] * of_real.num_classes or len(of_real)
            most = max(2, round(ratio * few))
            generated = {x: at_most(images, most, seed=seed) for x, images in generated.items()}

        @cache  # one object a number, of which the guide need not look at the images again
        def few_of(shots: int | None) -> ImageSet | None:
            if shots:  # nested: a part of those of the set, and of those of more shots
                return few_shot(self.real.train, shots, seed=seed)
            return of_real if shots == 0 else None

        @cache
        def made(family: str, of_few: bool) -> ImageSet:
            if not of_few:
                return generated[family]
            count, few = len(generated[family]), few_of(self.p["shots"])
            how = {"count": count, "seed": seed, "device": self.device}
            return clone_of_few(family, few, self.p, **how)

        def train(method: str, images: tuple[Any, ...], numbers: dict[str, Any]) -> Trained:
            family, shots, alone, of_few = images
            synthetic = made(family, of_few)
            updates = updates_of(synthetic, self.network.recipe)
            how = {"updates": updates, "seed": seed, "guide": self.guide}
            how["real"] = few_of(shots)
            how["synthetic"] = None if alone else synthetic
            return rated(self, self.network, method, **how, **numbers)[0]

        return train


def _cell(
    p: Mapping[str, Any], part: str, method: str, family: str, shots: int | None, *splits: str,
    numbers: Mapping[str, Any] | None = None, cost: bool = False, alone: str = "",
    of_few: bool = False, **quantities: Any,
) -> Cell:  # fmt: skip
    """Return the cell of a method on ``shots`` real images a class and those of a generator.

    ``alone`` names real images where there are no others; ``of_few``: the generator knows these
    real images only. ``quantities`` go into the row.
    """
    train = alone or (family if shots is None else f"real_few+{family}")
    if "n_real" in quantities:
        train = f"real_n+{family}"
    row = {
        "method": method, "train": train, "test": REAL, "dataset": p["data"], "part": part,
        "backbone": p["backbone"], **quantities,
    }  # fmt: skip
    if "lambda_3" not in (numbers or {}):
        row |= weight_given(method, p["lambda_3"])
    if not alone:
        row["generator_knows"] = "same" if of_few else generator_knows(p, family, shots)
    images = (family, shots, bool(alone), of_few)
    training = Training(method, images, tuple((numbers or {}).items()))
    than = Training("Aug", (family, p["shots"], False, False)) if cost else None
    metrics = metrics_of(method, *splits, cost=cost)
    return Cell(row, training, metrics if part != "choice" else metrics[: len(splits)], than)
