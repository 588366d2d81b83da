"""A tiny CLIP: images and their captions learned together (Radford et al. 2021), by open_clip.

It is open_clip's model with a small ResNet and a small transformer, on the first thousands of
merges of CLIP's byte pairs. Longer words fall into more pieces, so that it can read any word.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from synthbook import settings as fields
from synthbook.errors import InputError
from synthbook.randomness import seeded, torch_generator
from synthbook.settings import Count, Rate, Weight, Width, settings
from synthbook.training import (
    OnStep,
    check_finite,
    flip_some,
    learning_rate_factor,
    load_checkpoint,
    mixed,
    save_checkpoint,
)

if TYPE_CHECKING:
    from open_clip.model import CLIP
    from open_clip.tokenizer import SimpleTokenizer

    from synthbook.data import ImageSet

Caption = Callable[[int, int], str]  # (number of the image, epoch) -> what is said of it
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
LENGTHS = 12, 20, 36  # tokens of texts that are read together
HOTTEST = 4.6052  # the largest logit scale, log 100 (Section 2.5)


@settings
class ClipConfig:
    """The settings of the two towers.

    The image tower is CLIP's ResNet, ``layers`` bottlenecks a stage, on images enlarged to
    ``image_size`` pixels; its last map is a 32nd of that. The text tower is a transformer of
    ``text_layers`` over ``context_length`` tokens, with ``merges`` byte pairs. Both end in
    ``embed_dim`` numbers.
    """

    embed_dim: Width = 128
    layers: Annotated[tuple[Count, Count, Count, Count], fields.Listed] = (1, 1, 1, 1)
    width: Width = 16
    image_size: fields.Side = 64
    text_width: Width = 128
    text_layers: Count = 3
    text_heads: Count = 4
    context_length: Annotated[int, Field(ge=8, le=77)] = 77
    merges: Annotated[int, Field(ge=0, le=48_894)] = 4096

    def __post_init__(self) -> None:
        if self.image_size % 32:
            raise InputError(
                f"image_size {self.image_size} is no multiple of 32, by which the image tower "
                f"shrinks it; give {max(32, 32 * round(self.image_size / 32))}"
            )
        if self.text_width % self.text_heads:
            raise InputError(
                f"text_width {self.text_width} cannot be cut into {self.text_heads} text_heads; "
                f"give a multiple of {self.text_heads}"
            )


@settings
class ClipRecipe:
    """How the two towers are trained, by AdamW; weights decay, biases and gains do not.

    Args:
        warmup_steps: over which the rate rises; then it falls as a half cosine.
        crop: least share of an image's area that is seen; half of the images are mirrored.
    """

    epochs: Count = 16
    batch_size: fields.Batch = 256
    learning_rate: Rate = 2e-3
    weight_decay: Weight = 0.1
    warmup_steps: fields.Whole = 200
    crop: Annotated[float, Field(gt=0, le=1)] = 0.5
    precision: fields.TrainingPrecision = "float32"


@cache
def tokenizer(merges: int, context_length: int) -> SimpleTokenizer:
    """Return CLIP's tokenizer with the first ``merges`` of its byte pairs.

    They are in the order in which they were learned, most frequent first, so that fewer of them
    are what a smaller vocabulary would have been. The file comes with open_clip.
    """
    from open_clip.tokenizer import SimpleTokenizer, default_bpe

    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode("utf-8").split("\n")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "merges.txt.gz")
        file.write_bytes(gzip.compress("\n".join(lines[: merges + 1]).encode("utf-8"), mtime=0))
        return SimpleTokenizer(str(file), context_length=context_length)


def tokens(texts: Sequence[str], config: ClipConfig) -> Tensor:
    """Return the tokens of texts, int64 [N, context_length].

    Raises:
        InputError: if a text is longer than the text tower reads.
    """
    look = tokenizer(config.merges, config.context_length)
    for text in texts:
        if (length := len(look.encode(text)) + 2) > config.context_length:
            raise InputError(
                f"'{text}' has {length} tokens and the text tower reads {config.context_length}; "
                "shorten it"
            )
    return look(list(texts))


def create(config: ClipConfig, *, seed: int) -> CLIP:
    """Return the model with weights from (seed, "clip")."""
    from open_clip.model import CLIP

    vocabulary = tokenizer(config.merges, config.context_length).vocab_size
    with seeded(seed, "clip"):
        return CLIP(**_parts(config, vocabulary))


def _parts(config: ClipConfig, vocabulary: int) -> dict[str, Any]:
    """Return the arguments of open_clip's model, as its configurations have them."""
    return {
        "embed_dim": config.embed_dim,
        "vision_cfg": {
            "image_size": config.image_size, "layers": list(config.layers), "width": config.width,
            "head_width": config.width,
        },
        "text_cfg": {
            "context_length": config.context_length, "vocab_size": vocabulary,
            "width": config.text_width, "heads": config.text_heads, "layers": config.text_layers,
        },
    }  # fmt: skip


def save(model: CLIP, config: ClipConfig, folder: Path) -> None:
    """Write the model to a folder as open_clip reads it ("local-dir:FOLDER"), in half precision.

    Its tokenizer is made anew by whoever loads it (``load``).
    """
    from safetensors.torch import save_file

    vocabulary = tokenizer(config.merges, config.context_length).vocab_size
    normal = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    told = {"model_cfg": _parts(config, vocabulary), "preprocess_cfg": normal,
            "synthbook": asdict(config)}  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in model.state_dict().items()
    }
    save_file(halves, folder / WEIGHTS)


def load(folder: Path) -> tuple[CLIP, ClipConfig]:
    """Return the model that ``save`` wrote, in float32 and eval mode, and its settings.

    Raises:
        InputError: if a file is missing, or is none of this kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["synthbook"]
        config = ClipConfig(**told)
        model = create(config, seed=0)
        model.load_state_dict({name: value.float() if value.is_floating_point() else value
                               for name, value in load_file(folder / WEIGHTS).items()})  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{folder} holds no CLIP of this book ({type(error).__name__}: {CONFIG} and "
            f"{WEIGHTS}); make it anew"
        ) from error
    return model.eval().requires_grad_(False), config


MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # images are seen as -1..1


def seen(pixels: Tensor, image_size: int) -> Tensor:
    """Return what the image tower sees of uint8 [N, 3, H, W]: -1..1, of its own size."""
    x = pixels.float()
    if x.shape[-2:] != (image_size, image_size):
        how = {"mode": "bicubic", "align_corners": False, "antialias": True}
        x = F.interpolate(x, size=(image_size, image_size), **how)
    return x.clamp(0, 255) / 127.5 - 1


def cropped(pixels: Tensor, least: float, draw: torch.Generator) -> Tensor:
    """Return one square crop of each of uint8 [N, C, H, W], enlarged to its size; some mirrored.

    The area of a crop is uniform between ``least`` and 1 of the image's.
    """
    count, side = len(pixels), pixels.shape[-1]
    scale = torch.empty(count).uniform_(least, 1, generator=draw).sqrt()
    place = torch.empty(count, 2).uniform_(-1, 1, generator=draw) * (1 - scale)[:, None]
    turn = torch.zeros(count, 2, 3)
    turn[:, 0, 0] = turn[:, 1, 1] = scale
    turn[:, :, 2] = place
    shape = [count, pixels.shape[1], side, side]
    grid = F.affine_grid(turn, shape, align_corners=False).to(pixels.device)
    how = {"mode": "bilinear", "padding_mode": "reflection", "align_corners": False}
    return flip_some(F.grid_sample(pixels.float(), grid, **how), draw)


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """Return the loss of features [N, D] of length one (Radford et al. 2021, Figure 3), a scalar.

    The mean of two cross-entropies: of each image over all texts, and of each text over all images,
    with logits of ``scale`` times the cosine.
    """
    logits = scale * images @ texts.T
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def encode_texts(model: CLIP, texts: Tensor) -> Tensor:
    """Return ``model.encode_text(texts)``, sooner where most of [N, context_length] is padding.

    Tokens do not see later ones, so what fills a text up may be left out: short texts go through
    the tower together, and so do long ones.
    """
    lengths, parts, rows = texts.argmax(1) + 1, [], []
    for least, most in pairwise((0, *(n for n in LENGTHS if n < texts.shape[1]), texts.shape[1])):
        some = ((lengths > least) & (lengths <= most)).nonzero().squeeze(1)
        if not len(some):
            continue
        h = model.token_embedding(texts[some, :most]) + model.positional_embedding[:most]
        h = model.ln_final(model.transformer(h, attn_mask=model.attn_mask[:most, :most]))
        ends = lengths[some] - 1
        parts.append(h[torch.arange(len(some), device=h.device), ends] @ model.text_projection)
        rows.append(some)
    return torch.cat(parts)[torch.cat(rows).argsort()]


def train_clip(
    model: CLIP, config: ClipConfig, images: ImageSet, caption: Caption, recipe: ClipRecipe, *,
    seed: int, device: str = "cpu", folder: Path | None = None, on_step: OnStep | None = None,
    checkpoint_every: int = 100,
) -> CLIP:  # fmt: skip
    """Train ``model`` in place on images and what ``caption`` says of each; return it in eval mode.

    A caption is asked for anew in every epoch. With a ``folder``, a checkpoint is kept there and
    training goes on from it. ``on_step`` gets the number of steps done, of `steps_of`, and numbers
    by name: the loss, and the share of images whose own caption comes first in the batch.

    Raises:
        InputError: if the images are grey, or fewer than a batch of two.
        TrainingError: if the loss is no longer finite.
    """
    if images.channels != 3 or len(images) < 2:
        raise InputError(
            f"'{images.name}' has {len(images)} images of {images.channels} channels; CLIP needs "
            "two images or more, in colour"
        )
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2)
    model = model.train().requires_grad_(True).to(device, memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
    modules, states = {"model": model}, {"model": optimizer}
    run = {
        "recipe": asdict(recipe), "config": asdict(config), "seed": seed,
        "data": images.fingerprint(), "captions": [caption(k, 0) for k in (0, len(images) - 1)],
    }  # fmt: skip
    first = load_checkpoint(folder, modules, states, run) if folder else 0
    steps, size = steps_of(recipe, len(images)), min(recipe.batch_size, len(images))
    for step in range(first, steps):
        # Images and captions of the batch: drawn on the CPU, the same for every device.
        epoch, place = divmod(step, len(images) // size)
        order = torch.randperm(len(images), generator=torch_generator(seed, "epoch", epoch))
        chosen = order[place * size : (place + 1) * size]
        draw = torch_generator(seed, "step", step)
        texts = tokens([caption(k, epoch) for k in chosen.tolist()], config).to(device)
        views = seen(cropped(pixels[chosen].to(device), recipe.crop, draw), config.image_size)

        # One step of AdamW.
        factor = learning_rate_factor("cosine", step, steps, recipe.warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        with mixed(recipe.precision, device):
            both = (
                model.encode_image(views.contiguous(memory_format=torch.channels_last)),
                encode_texts(model, texts),
            )
        by_image, by_text = (F.normalize(features.float(), dim=1) for features in both)
        loss = contrastive_loss(by_image, by_text, model.logit_scale.exp())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, HOTTEST)

        # Look, report, keep.
        done = step + 1
        check_finite({"loss": loss.detach()}, done, folder)
        if on_step:
            own = (by_image @ by_text.T).argmax(1).cpu() == torch.arange(size)
            on_step(done, {"loss": loss.item(), "own first": own.float().mean().item()})
        if folder and (done % checkpoint_every == 0 or done == steps):
            save_checkpoint(folder, done, modules, states, run)
    model.to(memory_format=torch.contiguous_format)
    return model.eval().requires_grad_(False)


def steps_of(recipe: ClipRecipe, images: int) -> int:
    """Return the number of steps of a training on so many images; a batch is never cut."""
    return recipe.epochs * max(1, images // min(recipe.batch_size, images))


@torch.inference_mode()
def image_features(
    model: CLIP, config: ClipConfig, images: Any, *, batch_size: int = 256, device: str = "cpu"
) -> Tensor:
    """Return features [N, embed_dim] of length one of uint8 images [N, H, W, 3]."""
    pixels, found = torch.from_numpy(images).permute(0, 3, 1, 2), []
    for batch in pixels.split(batch_size):
        views = seen(batch.to(device), config.image_size)
        found.append(model.encode_image(views, normalize=True).float().cpu())
    return torch.cat(found)


@torch.inference_mode()
def text_features(
    model: CLIP, config: ClipConfig, texts: Sequence[str], *, device: str = "cpu"
) -> Tensor:
    """Return features [N, embed_dim] of length one of texts."""
    return model.encode_text(tokens(texts, config).to(device), normalize=True).float().cpu()


def class_features(
    model: CLIP, config: ClipConfig, classes: Sequence[str], templates: Sequence[str], *,
    device: str = "cpu",
) -> Tensor:  # fmt: skip
    """Return the zero-shot head [classes, embed_dim]: the mean over ``templates``, of length one.

    A template holds the place of the name as {} (Radford et al. 2021, Section 3.1.4).
    """
    heads = [
        text_features(model, config, [t.format(name) for t in templates], device=device).mean(0)
        for name in classes
    ]
    return F.normalize(torch.stack(heads), dim=1)


def transformers_tokenizer(config: ClipConfig) -> Any:
    """Return the tokenizer as transformers' CLIPTokenizer: the same tokens, others as padding."""
    from transformers import CLIPTokenizer

    look = tokenizer(config.merges, config.context_length)
    return CLIPTokenizer(
        vocab=look.encoder, merges=sorted(look.bpe_ranks, key=look.bpe_ranks.get),
        model_max_length=config.context_length, bos_token="<start_of_text>",
        eos_token="<end_of_text>", unk_token="<end_of_text>", pad_token="<end_of_text>",
    )  # fmt: skip


def text_encoder(model: CLIP, config: ClipConfig) -> nn.Module:
    """Return the text tower as transformers' CLIPTextModel, which diffusers' pipelines take.

    Its last hidden states are those before open_clip's pooling; the projection is left out.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    look = tokenizer(config.merges, config.context_length)
    made = CLIPTextModel(CLIPTextConfig(
        vocab_size=look.vocab_size, hidden_size=config.text_width,
        intermediate_size=4 * config.text_width, num_hidden_layers=config.text_layers,
        num_attention_heads=config.text_heads, max_position_embeddings=config.context_length,
        hidden_act="gelu", bos_token_id=look.sot_token_id, eos_token_id=look.eot_token_id,
        pad_token_id=0, attn_implementation="eager",
    ))  # fmt: skip
    weights = {
        "embeddings.token_embedding.weight": model.token_embedding.weight,
        "embeddings.position_embedding.weight": model.positional_embedding,
        "final_layer_norm.weight": model.ln_final.weight,
        "final_layer_norm.bias": model.ln_final.bias,
    }
    names = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
             "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}  # fmt: skip
    for k, block in enumerate(model.transformer.resblocks):
        for kind in ("weight", "bias"):
            whole = getattr(block.attn, f"in_proj_{kind}").chunk(3)
            for letter, part in zip("qkv", whole, strict=True):
                weights[f"encoder.layers.{k}.self_attn.{letter}_proj.{kind}"] = part
            for ours, theirs in names.items():
                given = block.get_submodule(ours).get_parameter(kind)
                weights[f"encoder.layers.{k}.{theirs}.{kind}"] = given
    inner = getattr(made, "text_model", made)
    inner.load_state_dict({name: value.detach().clone() for name, value in weights.items()})
    return made.eval().requires_grad_(False)
