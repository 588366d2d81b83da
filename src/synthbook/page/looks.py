"""How methods and image sources look and are written, fixed for the whole book."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import NamedTuple

# Okabe and Ito (2008), told apart with the common kinds of colour blindness. Their yellow is left
# out: a yellow line on white is invisible to everybody. Grey stands in for it. To
# some it is near green and purple: where it stands beside them, let marks differ.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, RED, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"
PALETTE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
UNTAKEN = (GREEN, PURPLE, ORANGE, SKY, GREY)  # by real images and the book's two generators
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", "--", "-.", ":")


class Look(NamedTuple):
    """How a name is drawn and written."""

    color: str
    marker: str
    line: str
    label: str


LOOKS: dict[str, Look] = {
    # image sources
    "real": Look(BLACK, "o", "-", "real"),
    "real-few": Look(BLACK, "x", ":", "few real"),
    "diffusion": Look(BLUE, "s", "-", "diffusion"),
    "gan": Look(RED, "^", "-", "GAN"),
    "lsgm": Look(BLUE, "s", "-", "LSGM"),
    "sg-xl": Look(RED, "^", "-", "StyleGAN-XL"),
    "proj-gan": Look(ORANGE, "v", "-", "Projected GAN"),
    "dt-gan": Look(PURPLE, "D", "-", "DT-GAN"),
    "synthetic-glide": Look(BLUE, "s", "-", "GLIDE"),
    "pinknoise": Look(PURPLE, "D", "-", "pink noise"),
    "pinknoise+ps": Look(PURPLE, "D", "--", "pink noise + PS"),
    "primitives": Look(RED, "o", "-", "Primitives"),
    "primitives-s": Look(GREEN, "s", "-", "Primitives-S"),
    "primitives-ps": Look(BLUE, "^", "-", "Primitives-PS"),
    "ffhq": Look(BLACK, "P", "-", "FFHQ"),
    "imagenet-100": Look(BLACK, "o", "-", "ImageNet-100"),
    "imagenet-1k": Look(BLACK, "o", "--", "ImageNet-1K"),
    "imagenet-100-sd": Look(BLUE, "s", "-", "ImageNet-100-SD"),
    "imagenet-1k-sd": Look(BLUE, "s", "--", "ImageNet-1K-SD"),
    # training with both kinds of images
    "plain": Look(GREY, "o", "-", "plain"),
    "baseline": Look(GREY, "o", "-", "baseline"),
    "baseline-real": Look(BLACK, "o", "-", "baseline (real)"),
    "baseline-fake": Look(GREY, "s", "--", "baseline (synthetic)"),
    "aug": Look(ORANGE, "s", "-", "Aug"),
    "baseline-aug": Look(ORANGE, "s", "-", "Aug"),
    "adp": Look(SKY, "D", "-", "Adp"),
    "baseline-adp": Look(SKY, "D", "-", "Adp"),
    "pg": Look(GREEN, "^", "-", "PG"),
    "pg-l1": Look(GREEN, "^", "-", "PG-L1"),
    "pg-kl": Look(GREEN, "v", "--", "PG-KL"),
    "pg-r": Look(GREEN, "<", "-.", "PG-R"),
    "pg-f": Look(GREEN, ">", ":", "PG-F"),
    "rg": Look(PURPLE, "P", "-", "RG"),
    "rg+pg-r+pg-f": Look(BLUE, "*", "-", "RG + PG-R + PG-F"),
    "sum": Look(GREY, "D", "--", "sum"),
    "pcgrad": Look(ORANGE, "P", ":", "PCGrad"),
    "ours": Look(BLUE, "*", "-", "PG + RG"),
    "asg": Look(RED, "s", "-", "ASG"),
    "csg": Look(RED, "D", "--", "CSG"),
    "dann": Look(BLACK, "v", "-.", "DANN"),
    "adda": Look(BLACK, "<", ":", "ADDA"),
    "dada": Look(RED, ">", "-.", "DADA"),
    "ltda": Look(ORANGE, "X", "-.", "LTDA"),
    "a-gem": Look(SKY, "P", "--", "A-GEM"),
    # recognition with CLIP
    "clip-zero-shot": Look(GREY, "o", "-", "CLIP zero-shot"),
    "ct-b": Look(SKY, "s", "-", "CT with B"),
    "ct-le": Look(ORANGE, "D", "-", "CT with LE"),
    "ct-le+cf": Look(GREEN, "^", "-", "CT with LE + CF"),
    "ct-le+cf+sce": Look(BLUE, "*", "-", "CT with LE + CF + SCE"),
    "ct": Look(PURPLE, "P", "-", "CT"),
    "ct-rf": Look(GREEN, "<", "--", "CT with RF"),
    "ct-rg": Look(RED, "v", "-", "CT with RG"),
    "ct-rg-mix": Look(RED, "v", "--", "CT with RG, mixed"),
    "ct-rg-phase-wise-syn->real": Look(RED, ">", "-.", "CT with RG, synthetic then real"),
    "ct-rg-phase-wise-real->syn": Look(RED, "<", ":", "CT with RG, real then synthetic"),
    "b": Look(SKY, "s", "-", "B"),
    "le": Look(ORANGE, "D", "-", "LE"),
    "classifier-tuning": Look(BLUE, "s", "-", "classifier tuning"),
    "encoder-tuning": Look(RED, "o", "--", "encoder tuning"),
    # GANs from few images
    "from-scratch": Look(GREY, "o", "-", "from scratch"),
    "scratch": Look(GREY, "o", "-", "from scratch"),
    "transfergan": Look(SKY, "s", "-", "TransferGAN"),
    "freezed": Look(ORANGE, "D", "-", "FreezeD"),
    "diffaugment": Look(PURPLE, "v", "-", "DiffAugment"),
    "diffaug": Look(PURPLE, "v", "-", "DiffAugment"),
    "finetune": Look(BLUE, "*", "-", "fine-tuned"),
    "dip-vgg16": Look(GREEN, "^", "-", "DIP (VGG-16)"),
    "dip-simclr": Look(BLUE, "*", "-", "DIP (SimCLR)"),
    "dip": Look(GREEN, "^", "-", "DIP"),
    "dip,-self-supervised": Look(BLUE, "*", "-", "DIP, self-supervised"),
    "bsa": Look(RED, "s", "-", "BSA"),
    "minegan": Look(RED, "D", "--", "MineGAN"),
    "ssgan": Look(RED, "v", "-.", "SSGAN"),
    "self-cond-gan": Look(BLACK, "s", "-", "Self-Cond GAN"),
    "pretrained-model": Look(BLACK, "P", ":", "pretrained, not tuned"),
    "biggan": Look(GREY, "X", "-", "BigGAN"),
    "biggan+diffaug": Look(PURPLE, "v", "--", "BigGAN + DiffAugment"),
    "biggan+finetune": Look(GREEN, "X", "-.", "BigGAN, fine-tuned"),
    "biggan+ps": Look(GREEN, "D", ":", "BigGAN + Primitives-PS"),
    "biggan+diffaug+ps": Look(BLUE, "^", "-", "BigGAN + DiffAugment + Primitives-PS"),
    # training on clones
    "baseline-real-images": Look(BLACK, "o", "-", "real images"),
    "p-c-=-c": Look(GREY, "o", "-", "class name"),
    "p-c-=-c,-h-c": Look(ORANGE, "s", "-", "class name, hypernym"),
    "p-c-=-c,-d-c": Look(GREEN, "^", "-", "class name, description"),
    "p-c-=-c,-h-c-inside-b": Look(BLUE, "D", "-", "class name, hypernym, background"),
    "random-weights": Look(GREY, "X", ":", "random weights"),
}


def canonical(name: str) -> str:
    """Return a name in lower case with single hyphens: "CT LE + CF" -> "ct-le+cf"."""
    return re.sub(r"[\s_()\-]+", "-", name.strip().lower()).strip("-.").replace("-+-", "+")


@cache
def look(name: str) -> Look:
    """Return the look of a method or source; a new name always gets the same one.

    "A + B" that has no look of its own takes colour of A (of B where A is real images), marker of B
    and a dashed line.
    """
    key = canonical(name)
    if key in LOOKS:
        return LOOKS[key]
    first, _, second = key.rpartition("+")
    if first in LOOKS and second in LOOKS:
        one, other = LOOKS[first], LOOKS[second]
        color = other.color if first.startswith("real") else one.color
        return Look(color, other.marker, "--", f"{one.label} + {other.label}")
    digest = hashlib.sha256(key.encode()).digest()
    return Look(
        UNTAKEN[digest[0] % len(UNTAKEN)], MARKERS[digest[1] % len(MARKERS)],
        LINES[digest[2] % len(LINES)], name,
    )  # fmt: skip
