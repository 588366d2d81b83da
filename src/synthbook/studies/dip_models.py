"""Which ways to learn few images chapter 41 compares: methods, alone and with the prior.

Mangla et al., Data Instance Prior for Transfer Learning in GANs (2022), Tables 1, 6, 7 and 8. How a
model is trained, and what it is rated on, is the experiment's (``dip``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

from synthbook.errors import InputError
from synthbook.studies.drawn import Parameters
from synthbook.studies.few_images import WITHOUT
from synthbook.studies.rows import REAL

ADVERSARIAL = ("scratch", "TransferGAN", "FreezeD", "DiffAugment")
FROM_OTHERS = ("TransferGAN", "FreezeD", "GLANN", "BSA")  # start from a GAN of other images
STUDIED = ("FreezeD", "DiffAugment")  # what the paper's Tables 6, 7 and 8 are about
LOSSES = ("hinge", "non_saturating", "wasserstein")
CLUSTERS = ("5", "10")  # of Logo-GAN
NONE = "none"
FIRST = "supervised"  # the prior that is called DIP, without its name


@dataclass(frozen=True)
class Model:
    """One way to learn few images.

    ``labels`` are what takes the prior's place without it: an embedding an image ("instances"),
    Logo-GAN's clusters ("5", "10"), no condition ("none"), or z itself ("self-modulated").
    ``chosen`` says which images: "random", or "alike" ones; ``images`` how many.
    """

    method: str
    prior: str = NONE
    labels: str = "instances"
    loss: str = "hinge"
    chosen: str = "random"
    images: int = 100

    @property
    def between(self) -> bool:
        """Whether images have conditions that can be interpolated."""
        conditioned = self.prior != NONE or self.labels == "instances"
        return self.method in ADVERSARIAL and conditioned

    def fields(self) -> dict[str, Any]:
        """Return what a row says of it."""
        source = REAL if self.method in FROM_OTHERS else NONE
        labels = "features" if self.prior != NONE else self.labels
        return asdict(self) | {"train": REAL, "test": "", "source": source, "labels": labels}

    def __str__(self) -> str:
        how = f"{self.method}, {self.labels if self.prior == NONE else f'DIP of {self.prior}'}"
        return f"{how}, {self.loss}, {self.images} {self.chosen} images"


def models(p: Parameters) -> dict[str, list[Model]]:
    """Return what each part of the chapter compares."""
    for name in (*p.methods, *p.amount_methods):
        if name not in (*ADVERSARIAL, *WITHOUT):
            raise untrained(name, "studies/dip.py")
    plain = partial(Model, images=p.target_images)
    both = (NONE, *(entry.partition("=")[0] for entry in p.priors))
    one = both[:2]  # the studies of Tables 7 and 8 and Figure 6 have one prior
    given = [(m, c) for m, c in product(p.methods, both) if m != "BSA" or c == NONE]
    found = {
        "methods": [plain(m, c) for m, c in given],
        "stylegan2": [
            plain(m, c, loss="non_saturating")
            for m, c in product((*STUDIED, "GLANN"), one)
            if (m, c) != ("GLANN", NONE)
        ],
        "labels": [
            model
            for m in STUDIED
            for model in (*(plain(m, c) for c in one), *(plain(m, labels=k) for k in CLUSTERS))
        ],
        "losses": [plain(m, c, loss=x) for m, x, c in product(STUDIED, LOSSES, one)],
        "amount": [
            Model(m, c, images=n) for m, n, c in product(p.amount_methods, p.amounts, one)
        ],
        "controls": [plain(labels=k, method="scratch") for k in
                     ("instances", NONE, "self-modulated")],
        "alike": [plain("DiffAugment", c, chosen=k) for k, c in product(("random", "alike"), one)],
    }  # fmt: skip
    return {part: found[part] for part in p.parts}


def untrained(method: str, place: str) -> InputError:
    """Return the error of a method that can be asked for and would be trained as another one."""
    return InputError(
        f"method '{method}' has a name in record/kinds.py and no training in {place}; add one"
    )
