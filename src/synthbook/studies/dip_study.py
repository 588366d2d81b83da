"""What the studies of the Data Instance Prior have in common, chapters 41 to 43.

`kept` finds a whole training by what its study says of it: whether it may be kept, its arguments,
the GAN that it starts from, and the name of its prior.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from synthbook.gans.prior import Prior, prior
from synthbook.measure import features
from synthbook.measure.features import Extractor
from synthbook.measure.neighbours import nearest
from synthbook.studies import few_images, frozen
from synthbook.studies.dip_models import NONE
from synthbook.studies.drawn import Parameters
from synthbook.studies.few_images import Finetuned
from synthbook.studies.targets import Target


class Study(ABC):
    """Targets, or whole data sets, learned by models with the prior and without, seed by seed.

    Everything is in the cache: asked again, it is read. ``jobs`` are (seed, part, name, model), the
    name that of a target or a data set.

    Args:
        p: the chapter's parameters.
        device: of torch.
        models: what each part compares.
        names: from the parameters and a part to its targets.

    Attributes:
        features: from the names of a target and of a prior to the features C(x) of the prior.
    """

    features: Callable[[str, str], Extractor]

    def __init__(
        self, p: Parameters, device: str, models: Mapping[str, Sequence[Any]],
        names: Callable[[Parameters, str], Sequence[str]],
    ) -> None:  # fmt: skip
        self.p, self.device, self.models = p, device, models
        self.jobs = [
            (seed, part, name, model)
            for seed, part in product(p.seeds_list, models)
            for name in names(p, part)
            for model in models[part]
        ]
        self.extractor = features.extractor(p.extractor, device, size=p.extractor_size)

    def name_of_prior(self, seed: int, part: str, name: str, model: Any) -> str:
        """Return the name of the prior's features, "none" without."""
        return NONE if model.prior == NONE else self.features(name, model.prior).name

    def may_be_kept(self, model: Any) -> bool:
        """Return whether `few_images.conditioned` trains it; a study says which it does not."""
        return True

    def told_before(self, seed: int, part: str) -> dict[str, Any] | None:
        """Return what tells the GAN that a part's models start from, None for random weights."""
        return None

    @abstractmethod
    def arguments(
        self, seed: int, part: str, name: str, model: Any, *, whole: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of `few_images.conditioned`; ``whole``: of a training to its end."""

    def learned(self, seed: int, part: str, name: str, model: Any) -> Finetuned:
        """Return what a model learned, or what it had when it was stopped."""
        given, how = self.arguments(seed, part, name, model)
        return few_images.conditioned(*given, **how)

    def beside(self, images: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Return the nearest of the images ``among`` of each image, in the features."""
        return among[nearest(self.extractor(images), self.extractor.cached(among))[0]]


class OfTargets(Study):
    """A study of few images, of chapters 41 and 42: each model has a prior of those it learns.

    ``priors`` are the frozen networks, by name.
    """

    def __init__(self, p: Parameters, device: str, *compared: Any) -> None:
        super().__init__(p, device, *compared)
        networks, how = frozen.networks(p.priors), {"size": p.prior_size}
        self.priors = {name: frozen.frozen(one, device, **how) for name, one in networks.items()}

    def features(self, name: str, given: str) -> Extractor:
        """Return a prior's network; it sees all targets alike."""
        return self.priors[given]

    @abstractmethod
    def images(self, seed: int, part: str, name: str, model: Any) -> Target:
        """Return the images of a target that a model learns, and held-out ones."""

    def prior(self, seed: int, part: str, name: str, model: Any) -> Prior:
        """Return D_prior of the images that a model learns."""
        few = self.images(seed, part, name, model)
        return prior(self.priors[model.prior].cached(few.train.images))
