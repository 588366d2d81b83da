"""Pipelines from text to image of the real classes of diffusers, with tiny parts, untrained."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import torch


def tokenizer(folder: Path) -> Any:
    """Return CLIP's tokenizer with its first 300 merges, from the file that open_clip brings."""
    from open_clip.tokenizer import bytes_to_unicode, default_bpe
    from transformers import CLIPTokenizer

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as stream:
        merges = [next(stream).rstrip() for _ in range(301)][1:]
    signs = list(bytes_to_unicode().values())
    words = [*signs, *(f"{sign}</w>" for sign in signs)]
    words += [*("".join(merge.split()) for merge in merges), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: k for k, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    files = (str(folder / name) for name in ("vocab.json", "merges.txt"))
    return CLIPTokenizer(*files, model_max_length=77)


def text_encoder(words: int, width: int, *, projected: bool = False) -> Any:
    """Return CLIP's text encoder, two layers deep."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return kind(
        CLIPTextConfig(
            vocab_size=words, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=77, projection_dim=width,
            bos_token_id=words - 2, eos_token_id=words - 1, pad_token_id=words - 1,
        )
    ).eval()  # fmt: skip


def networks(side: int, channels: tuple[int, int], width: int, **changes: Any) -> dict[str, Any]:
    """Return a denoising network, a scheduler, and an autoencoder of images of ``side`` pixels."""
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=side // 2, in_channels=4, out_channels=4, block_out_channels=channels,
        layers_per_block=1, attention_head_dim=2, norm_num_groups=4, cross_attention_dim=width,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **changes,
    ).eval()  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
        sample_size=side,
    ).eval()  # fmt: skip
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
        steps_offset=1,
    )  # fmt: skip
    return {"unet": unet, "vae": vae, "scheduler": scheduler}


def stable_diffusion(
    folder: Path, *, side: int = 16, channels: tuple[int, int] = (8, 16), width: int = 16
) -> Any:
    """Return a Stable Diffusion with the scheduler of version 1.4; its words go to ``folder``."""
    from diffusers import StableDiffusionPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        words = tokenizer(folder)
        return StableDiffusionPipeline(
            tokenizer=words, text_encoder=text_encoder(len(words), width),
            **networks(side, channels, width), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip


def sdxl(folder: Path) -> Any:
    """Return a Stable Diffusion XL: two text encoders, one pooled, and sizes as conditions."""
    from diffusers import StableDiffusionXLPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        words = tokenizer(folder)
        changes = {
            "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 16, "use_linear_projection": True,
        }  # fmt: skip
        return StableDiffusionXLPipeline(
            tokenizer=words, tokenizer_2=words, text_encoder=text_encoder(len(words), 16),
            text_encoder_2=text_encoder(len(words), 16, projected=True),
            **networks(16, (8, 16), 32, **changes),
        )  # fmt: skip


def sd3(folder: Path) -> Any:
    """Return a Stable Diffusion 3 without its T5: a transformer, and flow matching."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        words = tokenizer(folder)
        transformer = SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1,
            attention_head_dim=8, num_attention_heads=2, joint_attention_dim=32,
            caption_projection_dim=16, pooled_projection_dim=32, pos_embed_max_size=16,
        ).eval()  # fmt: skip
        vae = networks(16, (8, 16), 16)["vae"]
        vae.register_to_config(shift_factor=0.0)
        encoders = [text_encoder(len(words), 16, projected=True) for _ in range(2)]
        return StableDiffusion3Pipeline(
            transformer, FlowMatchEulerDiscreteScheduler(), vae, encoders[0], words, encoders[1],
            words, None, None,
        )  # fmt: skip


def unclip(folder: Path) -> Any:
    """Return an unCLIP as Karlo's: a prior, a decoder and two upsamplers, in pixels."""
    from diffusers import (
        PriorTransformer,
        UnCLIPPipeline,
        UnCLIPScheduler,
        UNet2DConditionModel,
        UNet2DModel,
    )
    from diffusers.pipelines.deprecated.unclip import UnCLIPTextProjModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        words = tokenizer(folder)
        prior = PriorTransformer(
            num_attention_heads=2, attention_head_dim=8, embedding_dim=16, num_layers=1
        ).eval()
        projection = UnCLIPTextProjModel(
            clip_embeddings_dim=16, time_embed_dim=32, cross_attention_dim=16
        ).eval()
        decoder = UNet2DConditionModel(
            sample_size=8, in_channels=3, out_channels=6, block_out_channels=(8, 16),
            layers_per_block=1, attention_head_dim=8, norm_num_groups=4, cross_attention_dim=16,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn", class_embed_type="identity",
        ).eval()  # fmt: skip
        first, last = (
            UNet2DModel(
                sample_size=16, in_channels=6, out_channels=3, block_out_channels=(8, 16),
                layers_per_block=1, norm_num_groups=4,
                down_block_types=("ResnetDownsampleBlock2D",) * 2,
                up_block_types=("ResnetUpsampleBlock2D",) * 2,
            ).eval()
            for _ in range(2)
        )  # fmt: skip
        variance = {"variance_type": "learned_range", "num_train_timesteps": 1000}
        return UnCLIPPipeline(
            prior=prior, decoder=decoder, text_encoder=text_encoder(len(words), 16, projected=True),
            tokenizer=words, text_proj=projection, super_res_first=first, super_res_last=last,
            prior_scheduler=UnCLIPScheduler(
                variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0
            ),
            decoder_scheduler=UnCLIPScheduler(prediction_type="epsilon", **variance),
            super_res_scheduler=UnCLIPScheduler(variance_type="fixed_small_log"),
        )  # fmt: skip


def word_to_sentence(folder: Path, words: str) -> Path:
    """Write a T5, untrained, that speaks in these words, as save_pretrained does."""
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -2.0)]
    pieces += [(f"▁{word}", -2.0) for word in words.split()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=len(pieces), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
            decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        )  # fmt: skip
        T5ForConditionalGeneration(config).save_pretrained(folder, safe_serialization=True)
    T5Tokenizer(vocab=pieces, extra_ids=0).save_pretrained(folder)
    return folder


def deepfloyd(folder: Path) -> Any:
    """Return a DeepFloyd IF's first stage: a T5 reads, and a U-Net paints in pixels."""
    from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel
    from transformers import AutoTokenizer, T5Config, T5EncoderModel

    words = AutoTokenizer.from_pretrained(word_to_sentence(folder, "a dog cat house plane inside"))
    words.model_max_length = 77
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = T5EncoderModel(
            T5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        ).eval()
        unet = UNet2DConditionModel(
            sample_size=8, in_channels=3, out_channels=6, block_out_channels=(8, 16),
            layers_per_block=1, attention_head_dim=8, norm_num_groups=4, cross_attention_dim=16,
            encoder_hid_dim=16, encoder_hid_dim_type="text_proj", addition_embed_type="text",
            addition_embed_type_num_heads=2, resnet_time_scale_shift="scale_shift",
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        ).eval()  # fmt: skip
        scheduler = DDPMScheduler(
            beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True
        )
        return IFPipeline(
            words, encoder, unet, scheduler, safety_checker=None, feature_extractor=None,
            watermarker=None, requires_safety_checker=False,
        )  # fmt: skip
