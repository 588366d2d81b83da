"""What a parameter's name means: one range for it in every chapter."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list[str]": "a list of texts",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
}


@dataclass(frozen=True)
class Rule:
    """The values that a parameter may have; for a list, each of its members.

    Attributes:
        minimum, maximum: ends of the range, in the parameter's own unit; None: open.
        above, below: True leaves that end itself out.
        also: single numbers allowed besides the range (``image_size=0``: as it is).
        choices: the allowed texts; (): any.
        pattern: regular expression that allows further texts (``cuda:\\d+``).
        shown: choices as the message shows them, where a pattern adds to them.
        filled: False allows "" and [].
        unique: True forbids a list to name something twice.
        example: value that the message gives as a remedy.
        help: what the parameter is, for tables and ``--help``.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    below: bool = False
    also: tuple[float, ...] = ()
    choices: tuple[str, ...] = ()
    pattern: str = ""
    shown: str = ""
    filled: bool = True
    unique: bool = False
    example: Any = None
    help: str = ""

    def admits(self, value: float | str) -> bool:
        """Return whether a single value (a member of a list) is allowed."""
        if isinstance(value, bool):
            return True
        if isinstance(value, str):
            if self.choices or self.pattern:
                return value in self.choices or (
                    bool(self.pattern) and re.fullmatch(self.pattern, value) is not None
                )
            return bool(value.strip()) or not self.filled
        if value in self.also:
            return True
        low, high = self.minimum, self.maximum
        return (low is None or (value > low if self.above else value >= low)) and (
            high is None or (value < high if self.below else value <= high)
        )

    def describe(self, kind: str, noun: str = "") -> str:
        """Return the allowed values in words: "a whole number from 1 to 1000".

        Args:
            kind: name of the type.
            noun: word in place of the type's own, where the sentence has named it already.
        """
        noun = noun or KINDS[kind]
        each = ", each once" if self.unique else ""
        if self.shown or self.choices:
            one = self.shown or ", ".join(self.choices)
            return f"some of {one}{each}" if kind.startswith("list") else f"one of {one}"
        if kind == "bool":
            return noun
        if kind.endswith(("str", "str]")):
            return f"{noun} that is not empty{each}" if self.filled else f"{noun}{each}"
        words = self._range()
        if self.also:
            words = f"{', '.join(map(str, self.also))} or {words}"
        return f"{noun} {words}".rstrip() + each

    def _range(self) -> str:
        low, high = self._end(self.minimum), self._end(self.maximum)
        if low and high and not (self.above or self.below):
            return f"from {low} to {high}"
        ends = []
        if low:
            ends.append(f"above {low}" if self.above else f"of {low} or more")
        if high:
            ends.append(f"below {high}" if self.below else f"up to {high}")
        return " and ".join(ends)

    @staticmethod
    def _end(end: float | None) -> str:
        if end is None or math.isinf(end):
            return ""
        return f"{end:,.0f}".replace(",", " ") if end >= 10_000 else f"{end:g}"


def listed(*choices: str, **more: Any) -> Rule:
    """Return the rule of a name that has a few known values."""
    return Rule(choices=choices, example=more.pop("example", choices[0]), **more)


def at_least(minimum: float, example: Any, text: str, maximum: float | None = None) -> Rule:
    """Return the rule of a number with a closed range."""
    return Rule(minimum=minimum, maximum=maximum, example=example, help=text)


SOURCES = ("real", "diffusion", "gan")
_WEIGHT = "weight of a term in the loss; 0 turns it off"

RULES: dict[str, Rule] = {
    # how often and from which seed
    "seeds": at_least(1, 5, "number of seeds", 1000),
    "first_seed": at_least(0, 0, "first seed; the others follow it", 2**31 - 1),
    "generators": at_least(1, 1, "number of generators trained per family", 1000),
    # training
    "epochs": at_least(1, 20, "passes over the largest stream of images", 100_000),
    "steps": at_least(1, 1000, "optimisation steps", 100_000_000),
    "schedule": listed("constant", "cosine", help="of the learning rate"),
    "crop_padding": at_least(0, 4, "pixels of padding for random crops", 512),
    "input_size": Rule(
        8, 1024, also=(0,), example=224, help="side that batches are resized to; 0: as they are"
    ),
    "precision": listed("float32", "bfloat16", help="of the arithmetic in training"),
    "batch_size": at_least(2, 64, "images a batch", 1_000_000),
    "learning_rate": Rule(0, 1, above=True, example=0.001, help="step size of the optimiser"),
    "weight_decay": at_least(0, 0.0, "weight decay of the optimiser", 1),
    "weight": at_least(0, 1.0, _WEIGHT),
    "guidance_weight": at_least(0, 1.0, _WEIGHT),
    "temperature": Rule(0, None, above=True, example=1.0, help="temperature of a softmax"),
    # generators
    "diffusion_channels": Rule(4, 4096, example=64, help="widths of the U-Net's levels"),
    "diffusion_attention": Rule(0, 9, filled=False, example=1, help="levels with self-attention"),
    "diffusion_steps": at_least(1, 1500, "training steps of the diffusion model", 10**8),
    "diffusion_batch_size": at_least(2, 64, "images a step", 1_000_000),
    "diffusion_learning_rate": Rule(0, 1, above=True, example=0.001, help="of Adam"),
    "diffusion_condition_dropout": at_least(0, 0.1, "share of labels hidden in training", 1),
    "gan_channels": at_least(1, 64, "width of both networks at full size", 4096),
    "gan_latent": at_least(1, 64, "numbers in a latent vector", 65_536),
    "gan_steps": at_least(1, 1500, "training steps of the GAN", 100_000_000),
    "gan_batch_size": at_least(2, 32, "images a step", 1_000_000),
    "gan_learning_rate": Rule(0, 1, above=True, example=0.001, help="of both networks"),
    "unconditional": Rule(
        choices=("diffusion",), filled=False, unique=True, example="diffusion",
        help="families sampled without a class",
    ),
    # sampling
    "guidance_scale": at_least(0, 2.0, "0 unconditional, 1 conditional, above 1 guided", 100),
    "num_inference_steps": at_least(1, 50, "denoising steps", 1000),
    "images_per_class": at_least(1, 100, "generated images a class", 10_000_000),
    "synthetic_ratio": Rule(
        0, 1000, above=True, example=1.0, help="generated images for each real image"
    ),
    "confidence": Rule(0, 1, below=True, example=0.8, help="smallest softmax probability kept"),
    "share": Rule(0, 1, above=True, below=True, example=0.1, help="share of the images"),
    # drawn images
    "variants": listed(
        "PinkNoise", "Primitives", "Primitives-S", "Primitives-PS",
        unique=True, example="Primitives-PS", help="synthesizers of drawn images",
    ),
    "resolution": at_least(8, 256, "side of drawn images in pixels, a power of two", 4096),
    "shapes": at_least(0, 100, "shapes in a drawn image", 1000),
    "size_policy": listed(
        "Decay", "Rand", "Fix(1/10)", "Fix(1/5)", "Fix(1/2)", help="how sizes of shapes are drawn"
    ),
    "exponent_low": at_least(0, 0.5, "lower end of the spectral exponents", 10),
    "exponent_high": at_least(0, 3.5, "upper end of the spectral exponents", 10),
    "exponent_steps": at_least(2, 7, "spectral exponents that are checked", 100),
    # GANs from few images
    "targets": Rule(unique=True, example="china,mnist5k:3", help="images that a GAN is to learn"),
    "in_domain": Rule(
        filled=False, unique=True, example="mnist5k:3", help="targets like the real source"
    ),
    "single_object": Rule(
        filled=False, unique=True, example="mnist5k:3", help="targets with one bright object"
    ),
    "real_source": Rule(example="mnist5k", help="real images that a GAN is pretrained on"),
    "target_images": at_least(2, 100, "images of a target to train on", 1_000_000),
    "style_channels": at_least(1, 16, "width of StyleGAN2 at full size", 4096),
    "style_widest": at_least(1, 512, "most channels that a map of StyleGAN2 has", 4096),
    "style_latent": at_least(1, 512, "numbers in z, and in w", 65_536),
    "mapping_layers": at_least(1, 2, "layers from z to w", 16),
    "pretrain_steps": at_least(1, 300, "training steps on the source", 100_000_000),
    "finetune_steps": at_least(1, 200, "training steps on a target", 100_000_000),
    "r1": at_least(0, 10.0, "gamma of the R1 penalty; 0 for none", 1e6),
    "path_length": at_least(0, 2.0, "weight of the path length penalty; 0 for none", 1e6),
    "ema_half_life": Rule(
        0, 1e9, above=True, example=500.0, help="of the averaged generator, in images"
    ),
    "augment": Rule(filled=False, example="color,translation,cutout", help="DiffAugment"),
    "frozen_blocks": at_least(0, 4, "blocks of the discriminator that FreezeD keeps", 16),
    "evaluate_every": at_least(1, 25, "training steps between two measurements", 100_000_000),
    "generated": at_least(2, 200, "generated images that are measured", 1_000_000),
    "policies": listed(
        "Decay", "Rand", "Fix(1/10)", "Fix(1/5)", "Fix(1/2)",
        unique=True, example="Decay,Rand", help="how sizes of shapes are drawn",
    ),
    "counts": Rule(0, 1000, unique=True, example=100, help="numbers of shapes"),
    "shares": Rule(0, 1, above=True, unique=True, example=0.1, help="shares of a data set"),
    "biggan_image_size": at_least(8, 32, "side of BigGAN's images in pixels", 256),
    "biggan_channels": at_least(1, 64, "width of both networks", 4096),
    "biggan_latent": at_least(2, 128, "numbers in a latent vector", 65_536),
    "biggan_steps": at_least(1, 1000, "training steps of BigGAN", 100_000_000),
    "biggan_pretrain_steps": at_least(1, 1000, "training steps on drawn images", 100_000_000),
    "biggan_batch_size": at_least(2, 50, "images a step", 1_000_000),
    "biggan_learning_rate": Rule(0, 1, above=True, example=0.0002, help="of both networks"),
    "biggan_augment": Rule(filled=False, example="translation,cutout", help="DiffAugment"),
    "biggan_ema_half_life": at_least(0, 500.0, "of the averaged generator, in images", 1e9),
    "biggan_ema_start": at_least(0, 1000, "steps before the average begins", 100_000_000),
    "biggan_evaluate_every": at_least(1, 500, "steps between two measurements", 100_000_000),
    "discriminator_steps": at_least(1, 4, "discriminator's updates a step", 100),
    "standing_images": at_least(2, 4000, "images that set the statistics of batch norm", 10**6),
    # data
    "data": Rule(example="digits", help="data set: a name, a folder of class folders, an .npz"),
    "data_root": Rule(filled=False, example="", help="folder of downloaded data sets"),
    "download": Rule(example=False, help="allow downloads"),
    "image_size": Rule(
        8, 1024, also=(0,), example=32, help="side of the images in pixels; 0: as they are"
    ),
    "set_size": Rule(
        10, 10**9, also=(0,), example=5000, help="training images a source; 0: as many as real ones"
    ),
    "measured": at_least(10, 1000, "images of each source that are compared", 1_000_000),
    "extractor_size": Rule(16, 512, example=64, help="side of the extractor's input"),
    "shots": at_least(1, 16, "real images a class", 1_000_000),
    "train_images": Rule(2, 10**9, also=(0,), example=200, help="real training images; 0: all"),
    "n_real": at_least(1, 5, "real images a class in a sweep over them", 1_000_000),
    # remedies
    "lambda_1": at_least(0, 1.0, "weight of the real gradient", 1e6),
    "lambda_2": at_least(0, 1.0, "weight of the synthetic gradient", 1e6),
    "lambda_3": at_least(0, 1.0, "weight of Pretrained Guidance", 1e6),
    "lambda_3_kl": at_least(0, 1.0, "weight of Pretrained Guidance with KL", 1e6),
    "lambda_3_l1": at_least(0, 1.0, "weight of Pretrained Guidance with L1", 1e6),
    "lambdas": Rule(0, 1e6, unique=True, example=1.0, help="weights of a sensitivity study"),
    "distance": listed("cosine", "l2", help="between two feature vectors"),
    "similarity": listed("kl", "l1", help="between two matrices of distances"),
    "target": listed("guide", "model", help="whose distribution the KL starts from"),
    "over": listed("row", "matrix", help="what a distribution of the KL is over"),
    "accumulate": at_least(1, 1, "pieces that a batch is cut into", 65_536),
    "guide_backbone": Rule(example="efficientnet_lite0", help="frozen network: a timm name"),
    "guide_input_size": Rule(8, 1024, example=32, help="side of the guide's input in pixels"),
    "large_input_size": Rule(8, 1024, example=32, help="side of the large network's input"),
    "large_epochs": at_least(1, 10, "passes over the images for the large network", 100_000),
    "large_learning_rate": Rule(0, 1, above=True, example=0.001, help="of the large network"),
    # models and measures
    "backbone": Rule(example="small_cnn", help="classifier: small_cnn or a timm name"),
    "pretrained": Rule(example=False, help="start from ImageNet weights"),
    "extractor": Rule(example="efficientnet_lite0", help="feature extractor of the measures"),
    "neighbours": at_least(1, 5, "k of the k-nearest-neighbour measures", 10_000),
    "subsets": at_least(1, 100, "subsets of the kernel distance", 100_000),
    "subset_size": at_least(2, 1000, "images a subset", 1_000_000),
    # what to run and where
    "sources": listed(
        *SOURCES, unique=True, example="real,gan", help="where training images come from"
    ),
    "methods": Rule(unique=True, example="plain", help="methods to run"),
    "parts": Rule(unique=True, example="methods", help="parts of a chapter's experiment to run"),
    "device": listed(
        "auto", "cpu", "cuda", "mps",
        pattern=r"cuda:\d+", shown="auto, cpu, cuda, cuda:N, mps", help="where to compute",
    ),
    "threads": at_least(0, 1, "CPU threads; 0: torch's choice", 4096),
    "rows": Rule(filled=False, example="rows.jsonl", help="file that rows go to; '': _build/rows"),
}  # fmt: skip


def rule_of(name: str, extra: Mapping[str, Rule] | None = None) -> Rule:
    """Return the rule of a name: the chapter's own, the shared one, or one without limits."""
    return (extra or {}).get(name) or RULES.get(name) or Rule(filled=False)


def repeated(values: Sequence[Any]) -> bool:
    """Return whether a list names something twice."""
    return len(set(values)) != len(values)
