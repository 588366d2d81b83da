"""How methods and image sources look and are written, fixed for the whole book."""

from __future__ import annotations

import re

# Okabe and Ito (2008), told apart with the common kinds of colour blindness. Their yellow is left
# out: a yellow line on white is invisible to everybody. Grey stands in for it.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, RED, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"
PALETTE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", "--", "-.", ":")


def canonical(name: str) -> str:
    """Return a name in lower case with single hyphens: "CT LE+CF" -> "ct-le+cf"."""
    return re.sub(r"[\s_()\-]+", "-", name.strip().lower()).strip("-.")


# name: (colour, marker, line, how it is written); "" is the name itself.
_LOOKS: dict[str, tuple[str, str, str, str]] = {
    # image sources
    "real": (BLACK, "o", "-", "real"),
    "diffusion": (BLUE, "s", "-", "diffusion"),
    "gan": (RED, "^", "-", "GAN"),
    "real+diffusion": (BLUE, "s", "--", "real + diffusion"),
    "real+gan": (RED, "^", "--", "real + GAN"),
    "lsgm": (BLUE, "s", "-", "LSGM"),
    "sg-xl": (RED, "^", "-", "StyleGAN-XL"),
    "proj-gan": (ORANGE, "v", "-", "Projected GAN"),
    "dt-gan": (PURPLE, "D", "-", "DT-GAN"),
    "real+lsgm": (BLUE, "s", "--", "real + LSGM"),
    "real+sg-xl": (RED, "^", "--", "real + StyleGAN-XL"),
    "real+proj-gan": (ORANGE, "v", "--", "real + Projected GAN"),
    "real+dt-gan": (PURPLE, "D", "--", "real + DT-GAN"),
    "synthetic-glide": (BLUE, "s", "-", "GLIDE"),
    "real+synthetic-glide": (BLUE, "s", "--", "real + GLIDE"),
    "pinknoise": (PURPLE, "D", "-", "pink noise"),
    "pinknoise-+-ps": (PURPLE, "D", "--", "pink noise + PS"),
    "primitives": (ORANGE, "o", "-", "Primitives"),
    "primitives-s": (GREEN, "s", "-", "Primitives-S"),
    "primitives-ps": (BLUE, "^", "-", "Primitives-PS"),
    "ffhq": (BLACK, "P", "-", "FFHQ"),
    "imagenet-100": (BLACK, "o", "-", "ImageNet-100"),
    "imagenet-1k": (BLACK, "o", "--", "ImageNet-1K"),
    "imagenet-100-sd": (BLUE, "s", "-", "ImageNet-100-SD"),
    "imagenet-1k-sd": (BLUE, "s", "--", "ImageNet-1K-SD"),
    # training with both kinds of images
    "plain": (GREY, "o", "-", "plain"),
    "baseline": (GREY, "o", "-", "baseline"),
    "baseline-real": (BLACK, "o", "-", "baseline (real)"),
    "baseline-fake": (GREY, "s", "--", "baseline (synthetic)"),
    "aug": (ORANGE, "s", "-", "Aug"),
    "baseline-aug": (ORANGE, "s", "-", "Aug"),
    "adp": (SKY, "D", "-", "Adp"),
    "baseline-adp": (SKY, "D", "-", "Adp"),
    "pg": (GREEN, "^", "-", "PG"),
    "pg-l1": (GREEN, "^", "-", "PG-L1"),
    "pg-kl": (GREEN, "v", "--", "PG-KL"),
    "pg-r": (GREEN, "<", "-.", "PG-R"),
    "pg-f": (GREEN, ">", ":", "PG-F"),
    "rg": (PURPLE, "P", "-", "RG"),
    "pg-r+pg-f": (GREEN, "^", "-", "PG-R + PG-F"),
    "rg+pg-r": (PURPLE, "<", "-.", "RG + PG-R"),
    "rg+pg-f": (PURPLE, ">", ":", "RG + PG-F"),
    "rg+pg-r+pg-f": (BLUE, "*", "-", "RG + PG-R + PG-F"),
    "sum": (GREY, "D", "--", "sum"),
    "pcgrad": (ORANGE, "P", ":", "PCGrad"),
    "pg+rg": (BLUE, "*", "-", "PG + RG"),
    "pg-l1+rg": (BLUE, "*", "-", "PG-L1 + RG"),
    "pg-kl+rg": (BLUE, "X", "--", "PG-KL + RG"),
    "ours": (BLUE, "*", "-", "PG + RG"),
    "asg": (RED, "s", "-", "ASG"),
    "csg": (RED, "D", "--", "CSG"),
    "dann": (BLACK, "v", "-.", "DANN"),
    "adda": (BLACK, "<", ":", "ADDA"),
    "dada": (RED, ">", "-.", "DADA"),
    "ltda": (ORANGE, "X", "-.", "LTDA"),
    "a-gem": (SKY, "P", "--", "A-GEM"),
    # recognition with CLIP
    "clip-zero-shot": (GREY, "o", "-", "CLIP zero-shot"),
    "zero-shot": (GREY, "o", "-", "zero-shot"),
    "ct-b": (SKY, "s", "-", "CT with B"),
    "ct-le": (ORANGE, "D", "-", "CT with LE"),
    "ct-le+cf": (GREEN, "^", "-", "CT with LE + CF"),
    "ct-le+cf+sce": (BLUE, "*", "-", "CT with LE + CF + SCE"),
    "ct": (PURPLE, "P", "-", "CT"),
    "ct-rf": (GREEN, "<", "--", "CT with RF"),
    "ct-rg": (RED, "v", "-", "CT with RG"),
    "ct-rg-mix": (RED, "v", "--", "CT with RG, mixed"),
    "ct-rg-phase-wise-syn->real": (RED, ">", "-.", "CT with RG, synthetic then real"),
    "ct-rg-phase-wise-real->syn": (RED, "<", ":", "CT with RG, real then synthetic"),
    "b": (SKY, "s", "-", "B"),
    "le": (ORANGE, "D", "-", "LE"),
    "classifier-tuning": (BLUE, "s", "-", "classifier tuning"),
    "encoder-tuning": (RED, "o", "--", "encoder tuning"),
    # GANs from few images
    "from-scratch": (GREY, "o", "-", "from scratch"),
    "scratch": (GREY, "o", "-", "from scratch"),
    "transfergan": (SKY, "s", "-", "TransferGAN"),
    "freezed": (ORANGE, "D", "-", "FreezeD"),
    "diffaugment": (PURPLE, "v", "-", "DiffAugment"),
    "diffaug": (PURPLE, "v", "-", "DiffAugment"),
    "dip-vgg16": (GREEN, "^", "-", "DIP (VGG-16)"),
    "dip-simclr": (BLUE, "*", "-", "DIP (SimCLR)"),
    "dip": (GREEN, "^", "-", "DIP"),
    "from-scratch-+-dip-vgg16": (GREY, "^", "--", "from scratch + DIP (VGG-16)"),
    "transfergan-+-dip-vgg16": (SKY, "^", "--", "TransferGAN + DIP (VGG-16)"),
    "freezed-+-dip-vgg16": (ORANGE, "^", "--", "FreezeD + DIP (VGG-16)"),
    "freezed-+-dip-simclr": (ORANGE, "*", "-.", "FreezeD + DIP (SimCLR)"),
    "diffaugment-+-dip-vgg16": (PURPLE, "^", "--", "DiffAugment + DIP (VGG-16)"),
    "diffaugment-+-dip-simclr": (PURPLE, "*", "-.", "DiffAugment + DIP (SimCLR)"),
    "diffaugment-+-dip": (PURPLE, "^", "--", "DiffAugment + DIP"),
    "bsa": (RED, "s", "-", "BSA"),
    "minegan": (RED, "D", "--", "MineGAN"),
    "ssgan": (RED, "v", "-.", "SSGAN"),
    "self-cond-gan": (BLACK, "s", "-", "Self-Cond GAN"),
    "scratch-+-diffaug": (GREY, "o", "-", "from scratch + DiffAugment"),
    "finetune-+-diffaug": (BLUE, "s", "-", "fine-tuned + DiffAugment"),
    "transfergan-+-diffaug": (SKY, "s", "-", "TransferGAN + DiffAugment"),
    "freezed-+-diffaug": (ORANGE, "D", "-", "FreezeD + DiffAugment"),
    "pretrained-model": (BLACK, "P", ":", "pretrained, not tuned"),
    "biggan": (GREY, "X", "-", "BigGAN"),
    "biggan-+-diffaug": (PURPLE, "X", "--", "BigGAN + DiffAugment"),
    "biggan-+-finetune": (GREEN, "X", "-.", "BigGAN, fine-tuned"),
    # training on clones
    "baseline-real-images": (BLACK, "o", "-", "real images"),
    "p-c-=-c": (GREY, "o", "-", "class name"),
    "p-c-=-c,-h-c": (ORANGE, "s", "-", "class name, hypernym"),
    "p-c-=-c,-d-c": (GREEN, "^", "-", "class name, description"),
    "p-c-=-c,-h-c-inside-b": (BLUE, "D", "-", "class name, hypernym, background"),
    "random-weights": (GREY, "X", ":", "random weights"),
}

COLORS: dict[str, str] = {name: look[0] for name, look in _LOOKS.items()}
SHAPES: dict[str, tuple[str, str]] = {name: look[1:3] for name, look in _LOOKS.items()}
LABELS: dict[str, str] = {name: look[3] for name, look in _LOOKS.items()}
