"""Names of classifiers, and whether their weights are here: looked up without importing torch."""

from __future__ import annotations

import importlib.util
import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from synthbook.errors import InputError
from synthbook.settings import shown

# The names that `models.OWN` has without pretrained weights, and the one whose weights are here.
OWN = frozenset({"small_cnn", "resnet18_cifar", "resnet34_cifar", "resnet50_cifar"})
BUNDLED = "efficientnet_lite0"
HEAD = 1000  # classes that the bundled weights know
LONGEST = 80  # signs of a name that is compared with others
_NETWORK = re.compile(r"@register_model\s+def (\w+)\(")
_WEIGHTS = re.compile(r"""^\s*['"](\w+\.[\w.-]+)['"]\s*:""", re.MULTILINE)


@cache
def timm_names() -> frozenset[str]:
    """Return timm's networks, and its weights as NETWORK.NAME, as its source registers them.

    That takes a tenth of a second, where importing timm takes some five.
    """
    spec, names = importlib.util.find_spec("timm"), set()
    for path in Path(spec.origin).parent.glob("models/*.py"):
        text = path.read_text(encoding="utf-8")
        if networks := _NETWORK.findall(text):
            weights = (name for name in _WEIGHTS.findall(text) if not name.endswith(".untrained"))
            names |= {*networks, *weights}
    return frozenset(names)


def check_backbone(
    name: str, *, pretrained: bool, parameter: str = "backbone", switch: str = "pretrained"
) -> None:
    """Raise InputError for a network that nobody has, or weights that are not on this computer.

    ``parameter`` is what the name was given as, and ``switch`` what asks for its weights, if any.
    """
    if name not in OWN | {BUNDLED} and name not in (known := timm_names()):
        network, _, weights = name.partition(".")
        spelt = any(one.startswith(f"{network}.") for one in known)  # of a few weights none is
        if network not in known or spelt or weights in ("", "untrained"):
            every = sorted(known | OWN | {BUNDLED})
            near = get_close_matches(name[:LONGEST], every, n=1, cutoff=0.75)
            raise InputError(
                f"{parameter} = {shown(name)} is no network; give "
                f"{near[0] if near else f'small_cnn, {BUNDLED}'} or another name of timm's"
            )
    if not pretrained or name == BUNDLED:
        return
    remedy = f"take {parameter} = {BUNDLED}, whose weights are here"
    remedy = f"set {switch} to false, or {remedy}" if switch else remedy
    if name in OWN:
        raise InputError(f"{parameter} = {name} has no pretrained weights; {remedy}")
    if not _here(name):
        raise InputError(
            f"the pretrained weights of {parameter} = {name} are not on this computer, and nothing "
            f"is downloaded while a chapter runs; {remedy}"
        )


def check_published(name: str, classes: int, *, parameter: str, data: str) -> None:
    """Raise InputError unless a network can be taken as it was published, with its own last layer.

    Its weights must be on this computer and know as many ``classes`` as those of ``data``.
    """
    check_backbone(name, pretrained=name in OWN, parameter=parameter, switch="")
    if name != BUNDLED and not _here(name):
        raise InputError(
            f"the published weights of {parameter} = {name} are not on this computer, and nothing "
            f'is downloaded while a chapter runs; fetch them once with `python -c "import timm; '
            f"timm.create_model('{name}', pretrained=True)\"`, or leave it out"
        )
    known = HEAD
    if name != BUNDLED:
        import timm

        known = timm.get_pretrained_cfg(name).num_classes
    if known != classes:
        raise InputError(
            f"{parameter} = {name} knows {known:,} classes and '{data}' has {classes:,}; give a "
            "network that was trained on these, or leave it out"
        )


def _here(name: str) -> bool:
    """Return whether timm's weights of a name lie in the cache of Hugging Face."""
    from huggingface_hub import constants, try_to_load_from_cache

    if not any(Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*/model.safetensors")):
        return False  # of none at all; timm, which takes seconds, need not be asked which it is
    import timm

    hub = timm.get_pretrained_cfg(name).hf_hub_id
    return bool(hub) and isinstance(try_to_load_from_cache(hub, "model.safetensors"), str)
