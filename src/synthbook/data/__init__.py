"""Real images by name, folder or .npz; fixed splits; few-shot draws.

``load`` reads, ``check`` says in about a second whether it can, ``available`` lists the names,
``fetch`` downloads one of them (the only function here that uses the network).
"""

from synthbook.data.images import ImageSet, Splits, at_most, concatenate, few_shot
from synthbook.data.loading import Summary, check, load
from synthbook.data.named import available, fetch

__all__ = [
    "ImageSet",
    "Splits",
    "Summary",
    "at_most",
    "available",
    "check",
    "concatenate",
    "fetch",
    "few_shot",
    "load",
]
