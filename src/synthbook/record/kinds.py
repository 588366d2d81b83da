"""The kinds of values that parameters have: their types, the names that they choose from, checks.

What each parameter is, and means, stands in ``vocabulary``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field

from synthbook import settings as s
from synthbook.errors import InputError
from synthbook.store import path_of

TYPES: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "str": str, "list[str]": list[str],
    "list[int]": list[int], "list[float]": list[float],
}  # fmt: skip

Family = Literal["diffusion", "gan"]  # of the book's generators
BookSource = Literal["real", Family]
_NAME = re.compile(r"(?!real)[a-z][a-z0-9_-]{0,19}", re.IGNORECASE)


def _own_sources(sources: list[str]) -> list[str]:
    """Return sources of images as they are, after a look at a reader's own, "NAME=PATH"."""
    names = [source.partition("=")[0] for source in sources]
    for name, path in s.source_paths(source for source in sources if "=" in source).items():
        if not _NAME.fullmatch(name) or name in get_args(BookSource):
            raise InputError(
                f"'{name}' cannot name images of your own; take a short name of letters and "
                "digits that is neither the book's nor begins with real, as in mine=PATH"
            )
        if names.count(name) > 1:
            raise InputError(f"two sources are called '{name}'; give each a name of its own")
        if not path or not path_of(path).exists():
            raise InputError(
                f"the path '{path}' of '{name}' does not exist; correct it: a folder of class "
                "folders or of images, an .npz, or the folder of a diffusers pipeline"
            )
    return sources


def _place(text: str) -> str:
    path_of(text)
    return text


def _rows_file(path: str) -> str:
    if path:
        from synthbook.record.rows import check_rows_file  # which itself needs parameters

        check_rows_file(path_of(path))
    return path


Place = Annotated[str, AfterValidator(_place)]  # a path, or the name of a data set
Named = Annotated[s.Text, AfterValidator(_place)]  # likewise, and not empty
RowsFile = Annotated[str, AfterValidator(_rows_file)]  # a file that rows go to, or nothing
Source = BookSource | Annotated[str, Field(pattern="=", json_schema_extra={"words": "NAME=PATH"})]
Sources = Annotated[s.Some[Source], AfterValidator(_own_sources)]
Batch = Annotated[s.Batch, Field(ge=2)]
Rate = Annotated[s.Rate, Field(le=1)]
Images = s.Batch
Device = (
    Literal["auto", "cpu", "cuda", "mps"]
    | Annotated[str, Field(pattern=r"^cuda:\d+$", json_schema_extra={"words": "cuda:N"})]
)
Features = Literal["efficientnet_lite0", "inception"]

Mixing = Literal[
    "Aug", "Adp", "ADDA", "DADA", "DANN", "LTDA", "A-GEM", "PG-R+PG-F", "RG", "RG+PG-R", "RG+PG-F",
    "RG+PG-R+PG-F", "sum", "PCGrad",
]  # fmt: skip
Pretrained = Literal["PG-L1", "PG-KL"]  # with Pretrained Guidance on generated images alone
Guided = Literal["plain", "plain-eval", "ASG", "CSG", Pretrained]
Residual = Literal["sngan", "biggan"]  # GANs of residual blocks
Architecture = Literal[Residual, "stylegan2"]
Big = Literal["BigGAN", "BigGAN+DiffAug", "BigGAN+DiffAug+PS", "BigGAN+PS"]
Adversarial = Literal["scratch", "TransferGAN", "FreezeD", "DiffAugment"]
FewShot = Literal[Adversarial, "GLANN", "BSA"]
LimitedData = Literal[Adversarial, "MineGAN"]
Shot = Literal[
    "zero-shot", "CT w. init", "CT w. random", "CT w. Syn", "Tip-Adapter", "Tip-Adapter-F", "CoOp"
]
Whole = Literal["baseline", "SSGAN", "Self-Cond GAN", "DIP"]


def type_name(name: str, annotation: Any) -> str:
    """Return a parameter's type, given as text or as the type itself, as it stands in `TYPES`."""
    if isinstance(annotation, type):
        annotation = annotation.__name__
    text = str(annotation).strip("'\" ").replace(" ", "").replace("List[", "list[")
    if text not in TYPES:
        raise InputError(f"parameter '{name}' has the type {text}; use one of {', '.join(TYPES)}")
    return text
