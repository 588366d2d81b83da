"""Which ways to learn limited data chapter 42 compares, and how each of them is trained.

Mangla et al., Data Instance Prior for Transfer Learning in GANs (2022), Tables 2 and 9, Figure 2.
What has no prior is modulated by z alone (Appendix B). What a model is rated on is the
experiment's (``dip_limited``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from synthbook.errors import InputError
from synthbook.gans.recipes import Training
from synthbook.settings import from_texts
from synthbook.studies.dip_models import NONE, untrained
from synthbook.studies.drawn import Parameters
from synthbook.studies.prim import OF_TRAINING, bed, network_of, recipe_of
from synthbook.studies.rows import REAL

FINETUNED = ("TransferGAN", "FreezeD", "DiffAugment", "MineGAN")  # Table 2: from a GAN of others
AFRESH = ("scratch", "DiffAugment")  # Table 9: from random weights
AS_THEY_ARE = ("scratch", "TransferGAN", "MineGAN")  # nothing in their recipe is other
MODULATED = {"sngan": "sngan_self_modulated", "stylegan2": "stylegan2_mlp"}  # others are so anyway


@dataclass(frozen=True)
class Model:
    """One way to learn images: a method, alone or with a prior.

    ``share`` is that of a data set's images; 0 where a target is learned by finetuning.
    """

    method: str
    prior: str = NONE
    share: float = 0.0

    @property
    def labels(self) -> str:
        """What the generator is conditioned on, besides or in the place of z."""
        if self.prior != NONE:
            return "features"
        return NONE if self.method == "MineGAN" else "self-modulated"

    def fields(self) -> dict[str, Any]:
        """Return what a row says of it."""
        about = {"method": self.method, "prior": self.prior, "labels": self.labels}
        about |= {"share": self.share} if self.share else {}
        return about | {"train": REAL, "test": "", "source": NONE if self.share else REAL}


def models(p: Parameters) -> dict[str, list[Model]]:
    """Return what each part of the chapter compares.

    As in Table 2 the first prior is given to all methods, others to DiffAugment on targets.
    """
    for name in p.methods:
        if name not in (*FINETUNED, *AFRESH):
            raise untrained(name, "studies/dip_limited_models.py")
    given = [NONE, *(entry.partition("=")[0] for entry in p.priors)]
    one = given[:2]
    tuned = [
        Model(method, c)
        for method in FINETUNED
        if method in p.methods
        for c in {"MineGAN": (NONE,), "DiffAugment": given}.get(method, one)
    ]
    afresh = [m for m in AFRESH if m in p.methods]
    of_shares = [Model(m, c, share) for share, m, c in product(p.shares, afresh, one)]
    found = {
        "finetuning": tuned,
        "fractions": of_shares,
        "scores": [m for m in of_shares if (m.method, m.share) == ("scratch", min(p.shares))],
        "stylegan2": [
            model for model in of_shares if (model.method, model.prior != NONE) != ("scratch", True)
        ],
    }
    return {part: found[part] for part in p.parts}


def sets(p: Parameters, part: str) -> list[str]:
    """Return the targets of a part, or the data sets of which it learns shares."""
    return list(p.targets) if part == "finetuning" else [p.data, *p.more_data]


def of_bed(p: Parameters, part: str) -> Any:
    """Return the parameters of a part's GAN under the names that ``prim`` has for them."""
    if part == "finetuning":
        return bed(p, "", pretrain_on="")
    more = {"finetune_steps": p.share_steps, "pretrain_on": ""}
    if part == "stylegan2":
        more |= {"architecture": part, "image_size": p.share_image_size}
        return bed(p, "stylegan2_", **more)
    return bed(p, "share_", **more)


def network(p: Parameters, part: str) -> dict[str, Any]:
    """Return the settings of a part's networks without a condition: z modulates all blocks.

    Gains and biases of batch norm come from z through a hidden layer (Chen et al. 2019); BigGAN's
    blocks take a part of z each, and StyleGAN2's styles come from z.
    """
    found = network_of(of_bed(p, part))
    return found | {"name": MODULATED.get(found["name"], found["name"])}


def recipe(p: Parameters, part: str, model: Model) -> Training:
    """Return how a model is trained; one with the prior differs in the weight of consistency.

    That is so for shares of a data set alone: 10, and 1 with the prior (Appendix B).
    """
    own = of_bed(p, part)
    made = replace(recipe_of(own), augment="")
    if model.method == "DiffAugment":
        weight = p.consistency_with_prior if model.share and model.prior != NONE else p.consistency
        weight = 0.0 if part == "stylegan2" else weight
        made = replace(made, augment=own.augment, consistency=weight)
    elif model.method == "FreezeD":
        made = replace(made, frozen_blocks=own.frozen_blocks)
    elif model.method not in AS_THEY_ARE:
        raise untrained(model.method, "recipe of studies/dip_limited_models.py")
    return replace(made, **(own_settings(p, model.method) if part == "finetuning" else {}))


def own_settings(p: Parameters, method: str) -> dict[str, Any]:
    """Return the settings of training on a target that a method of Table 2 has of its own."""
    split = [text.partition(".") for text in p.method_settings]
    if unknown := [name for name, _, _ in split if name not in FINETUNED]:
        raise InputError(
            f"method_settings is of '{unknown[0]}'; write METHOD.NAME=VALUE, with one of "
            f"{', '.join(FINETUNED)}"
        )
    texts = [text for name, _, text in split if name == method]
    return from_texts(Training, texts, "method_settings", OF_TRAINING[1:])


def counts(p: Parameters) -> dict[str, int]:
    """Return how many images of each target are to train on."""
    numbers = list(p.target_images)
    numbers *= len(p.targets) if len(numbers) == 1 else 1
    if len(numbers) != len(p.targets):
        raise InputError(
            f"target_images = {numbers} and there are {len(p.targets)} targets; give a number for "
            "each of them, or one for all"
        )
    return dict(zip(p.targets, numbers, strict=True))


def steps_of(p: Parameters, part: str, model: Model) -> int:
    """Return after how many steps a training ends, or is stopped."""
    steps = recipe(p, part, model).steps
    return min(steps, p.stop_after or steps)
