"""A place of one's own for models, and small ones of both families in it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbook.gans.networks import create_generator
from synthbook.gans.recipes import GanRecipe
from synthbook.generate import diffusion, models
from synthbook.generate.models import Generator, described, write
from synthbook.generate.unet import DiffusionRecipe, build_unet

torch.set_num_threads(1)
CLASSES = ("crow", "owl", "oak", "fern", "rose")
KINDS = {"classes": ["bird", "plant"], "of": [0, 0, 1, 1, 1]}
SHARES = [0.1, 0.3, 0.3, 0.2, 0.1]


@pytest.fixture
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNTHBOOK_MODELS", str(tmp_path / "models"))
    (tmp_path / "top/models").mkdir(parents=True)
    monkeypatch.setattr(models, "root", lambda: tmp_path / "top")
    models._load.cache_clear()
    yield
    models._load.cache_clear()


def _network(family: str, seed: int = 0, classes: int = len(CLASSES)) -> tuple[Any, Any]:
    """Return an untrained network and its recipe."""
    if family == "gan":
        recipe = GanRecipe(channels=4, latent=4)
        how = {"image_size": 8, "channels": 4, "latent": 4, "num_classes": classes}
        return create_generator("resnet", seed=seed, **how).eval(), recipe
    recipe = DiffusionRecipe(channels=(8, 8), patch=2, prediction="flow")
    how = {"image_size": 8, "channels": 3, "num_classes": classes}
    unet = build_unet(recipe, seed=seed, **how)
    return diffusion.as_pipeline(unet, recipe), recipe


@pytest.fixture
def make(tmp_path: Path, own_places) -> Callable[..., Generator]:
    """Return a function that writes a model of a family; ``changes`` are of its card."""

    def made(family: str = "gan", name: str = "", *, extras=None, **changes: Any) -> Generator:
        network, recipe = _network(family, changes.get("seed", 0))
        card = {
            "family": family, "seed": 0,
            "data": {
                "name": "trees", "fingerprints": ["fine", "kinds"], "image_size": 8, "channels": 3,
            },
            "classes": CLASSES, "shares": SHARES, "kinds": KINDS, "recipe": described(recipe),
            "sampling": {"num_inference_steps": 3} if family == "diffusion" else {},
        }  # fmt: skip
        folder = tmp_path / "models" / (name or f"trees-{family}-{changes.get('seed', 0)}")
        return write(folder, network, card | changes, extras)

    return made


@pytest.fixture(params=["gan", "diffusion"])
def model(request, make) -> Generator:
    return make(request.param)


@pytest.fixture(scope="session")
def network_of() -> Callable[..., tuple[Any, Any]]:
    """Return the function that makes the networks of `make`."""
    return _network


# ---- pipelines from text to image, of tiny untrained parts ---------------------------------------


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """CLIP's tokenizer with its first 300 merges, from the file that open_clip brings along."""
    from open_clip.tokenizer import bytes_to_unicode, default_bpe
    from transformers import CLIPTokenizer

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as stream:
        merges = [next(stream).rstrip() for _ in range(301)][1:]
    signs = list(bytes_to_unicode().values())
    words = [*signs, *(f"{sign}</w>" for sign in signs)]
    words += [*("".join(merge.split()) for merge in merges), "<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.json").write_text(json.dumps({word: k for k, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
    )


def _text_encoder(tokenizer: Any, *, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    last = len(tokenizer) - 1
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return kind(
        CLIPTextConfig(
            vocab_size=last + 1, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=77, projection_dim=16,
            bos_token_id=last - 1, eos_token_id=last, pad_token_id=last,
        )
    ).eval()  # fmt: skip


def _networks(**changes: Any) -> dict[str, Any]:
    """Return a denoising network for latents of 8 x 8 and an autoencoder for images of 16 x 16."""
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16),
        layers_per_block=1, attention_head_dim=2, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **{"cross_attention_dim": 16} | changes,
    ).eval()  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
        sample_size=16,
    ).eval()  # fmt: skip
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
        steps_offset=1,
    )  # fmt: skip
    return {"unet": unet, "vae": vae, "scheduler": scheduler}


@pytest.fixture(scope="session")
def text_folder(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion of the classes of version 1.4, as save_pretrained writes it."""
    from diffusers import StableDiffusionPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = {"tokenizer": tokenizer, "text_encoder": _text_encoder(tokenizer), **_networks()}
        none = dict.fromkeys(("safety_checker", "feature_extractor"))
        pipeline = StableDiffusionPipeline(**parts, **none, requires_safety_checker=False)
    folder = tmp_path_factory.mktemp("stable-diffusion")
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def sdxl(tokenizer: Any) -> Any:
    """A Stable Diffusion XL: two text encoders, one of them pooled, and sizes as conditions."""
    from diffusers import StableDiffusionXLPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = _networks(
            cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16, use_linear_projection=True,
        )  # fmt: skip
        return StableDiffusionXLPipeline(
            tokenizer=tokenizer, tokenizer_2=tokenizer, text_encoder=_text_encoder(tokenizer),
            text_encoder_2=_text_encoder(tokenizer, projected=True), **networks,
        )  # fmt: skip
