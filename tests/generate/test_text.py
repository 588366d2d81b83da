"""Images from prompts: the same alone and in a batch, with the real classes of diffusers."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForImage2Image
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

from synthbook.errors import InputError
from synthbook.generate import text
from synthbook.generate.text import LANES, TextToImage, opened
from synthbook.randomness import torch_generator

PROMPTS = ["a dog", "a cat inside a house", "dog, domestic animal", "a plane"]
SEEDS = [3, 2**62, 0, 3]
HOW = {"num_inference_steps": 2, "guidance_scale": 2.0}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def generator(text_folder: Path) -> TextToImage:
    return opened(text_folder)


def alone(generator: TextToImage, k: int, **how: Any) -> np.ndarray:
    (image,) = generator.images([PROMPTS[k]], [SEEDS[k]], **HOW | how).images
    return image


def test_an_image_is_that_of_the_plain_pipeline(generator: TextToImage) -> None:
    """A guided image is, up to the rounding of 8 bits, what the pipeline gives if asked itself."""
    made, black = generator.images(PROMPTS, SEEDS, **HOW)
    assert (made.dtype, made.shape, black.tolist()) == (np.uint8, (4, 16, 16, 3), [0] * 4)
    for k, prompt in enumerate(PROMPTS):
        draw = torch_generator(SEEDS[k], "text to image", 0)
        plain = generator.pipeline(prompt, generator=draw, output_type="np", **HOW).images[0]
        assert np.abs(made[k] - 255 * plain).max() < 0.51
    assert len({image.tobytes() for image in made}) == 4


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 7.5])
def test_an_image_is_the_same_alone_and_in_any_batch(
    generator: TextToImage, guidance_scale: float
) -> None:
    how = HOW | {"guidance_scale": guidance_scale}
    prompts, seeds = PROMPTS * 3, SEEDS * 3  # more than a call holds
    many = generator.images(prompts, seeds, **how).images
    for k in range(4):
        one = alone(generator, k, **how)
        assert all((many[place] == one).all() for place in range(k, 12, 4))
    back = generator.images(prompts[::-1], seeds[::-1], **how).images
    assert (back[::-1] == many).all()


def test_what_a_call_computes_is_equal_to_the_bit_before_it_is_rounded(
    generator: TextToImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, call = [], type(generator.pipeline).__call__

    def keep(self: Any, *given: Any, **how: Any) -> Any:
        outputs.append(call(self, *given, **how))
        return outputs[-1]

    monkeypatch.setattr(type(generator.pipeline), "__call__", keep)
    generator.images(PROMPTS, SEEDS, **HOW)
    for k in range(4):
        alone(generator, k)
    assert all(len(output.images) == LANES for output in outputs)
    for k, output in enumerate(outputs[1:]):
        np.testing.assert_array_equal(output.images[0], outputs[0].images[k])


def test_every_scheduler_that_is_let_in_keeps_images_apart(generator: TextToImage) -> None:
    pipeline, own = generator.pipeline, generator.pipeline.scheduler
    let_in = text.schedulers(pipeline)
    assert {"DDIMScheduler", "PNDMScheduler", "EulerAncestralDiscreteScheduler"} <= set(let_in)
    try:
        for name, kind in let_in.items():
            pipeline.scheduler = kind.from_config(own.config)
            how = HOW | {"num_inference_steps": 3}
            many = generator.images(PROMPTS[:2], SEEDS[:2], **how).images
            assert (many[1] == alone(generator, 1, **how)).all(), name
    finally:
        pipeline.scheduler = own


@pytest.mark.parametrize("kind", ["sdxl", "sd3"])
def test_others_with_several_text_encoders_go_the_same_way(
    kind: str, tiny: Any, tmp_path: Path
) -> None:
    pipeline = getattr(tiny, kind)(tmp_path)
    generator = TextToImage(pipeline)
    many = generator.images(PROMPTS, SEEDS, **HOW).images
    assert (many[1] == alone(generator, 1)).all()
    assert len(generator._names) == 4
    draw = torch_generator(SEEDS[1], "text to image", 0)
    plain = pipeline(PROMPTS[1], generator=draw, output_type="np", **HOW).images[0]
    assert np.abs(many[1] - 255 * plain).max() < 0.51
    long = "dog " * 80
    assert [c.tokenizer for c in generator.cut([long])] == ["tokenizer", "tokenizer_2"]


def test_the_books_own_pipeline_is_read_and_goes_the_same_way(tiny: Any, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    from synthbook.generate import text_pipeline as module

    parts = tiny.stable_diffusion(tmp_path / "words").components
    unet = UNet2DConditionModel.from_config(
        parts["unet"].config | {"in_channels": 3, "out_channels": 3}
    )
    scheduler = parts["scheduler"]
    own = module.TextToPixelsPipeline(unet, scheduler, parts["text_encoder"], parts["tokenizer"])
    own.save_pretrained(tmp_path / "own", safe_serialization=True)
    generator = opened(tmp_path / "own")
    assert generator._names == ("prompt_embeds",)
    many = generator.images(PROMPTS, SEEDS, **HOW).images
    assert (many[1] == alone(generator, 1)).all()
    draw = torch_generator(SEEDS[1], "text to image", 0)
    plain = own(PROMPTS[1], generator=[draw], output_type="np", **HOW).images[0]
    assert np.abs(many[1] - 255 * plain).max() < 0.51


def test_each_prompt_is_encoded_once(
    generator: TextToImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, encode = [], type(generator.pipeline).encode_prompt

    def keep(self: Any, *given: Any, **how: Any) -> Any:
        asked.extend(how.get("prompt") or [])
        return encode(self, *given, **how)

    keep.__signature__ = inspect.signature(encode)
    monkeypatch.setattr(type(generator.pipeline), "encode_prompt", keep)
    fresh = TextToImage(generator.pipeline)
    for _ in range(2):
        fresh.images(PROMPTS * 2, SEEDS * 2, **HOW)
    assert sorted(asked) == sorted([*PROMPTS, ""])
    monkeypatch.setattr(text, "KEPT", 2)
    again = fresh.images(PROMPTS, SEEDS, **HOW).images
    assert len(fresh._embeddings) == len(PROMPTS) + 1  # what a call needs, and no more
    fresh.images(PROMPTS[:1], SEEDS[:1], **HOW)
    assert [*fresh._embeddings] == [PROMPTS[0], ""]
    assert (again == generator.images(PROMPTS, SEEDS, **HOW).images).all()


# ---- prompts that are too long -------------------------------------------------------------------


def test_a_prompt_over_the_tokens_is_told_of_with_what_is_cut(generator: TextToImage) -> None:
    tokenizer = generator.pipeline.tokenizer
    words = " ".join(f"dog{k}" for k in range(40))
    (cut,) = generator.cut(["a dog", words, words])
    assert (cut.prompt, cut.limit) == (words, 77)
    assert cut.tokens == len(tokenizer(words, verbose=False).input_ids)
    seen = tokenizer(words, truncation=True, max_length=77).input_ids
    assert cut.lost == words[-len(cut.lost) :]
    kept = tokenizer.decode(seen, skip_special_tokens=True).replace(" ", "")
    assert kept + cut.lost.replace(" ", "") == words.replace(" ", "")
    fresh = TextToImage(generator.pipeline)
    with pytest.warns(UserWarning, match="1 prompts are over the 77 tokens .* loses '"):
        fresh.images([words], [0], **HOW)
    fresh.images([words], [0], **HOW)  # it was told: a second warning would be an error


def test_the_limit_of_other_encoders_is_what_the_call_gives_them(generator: TextToImage) -> None:
    class T5:
        model_max_length = 512

    def call(prompt, max_sequence_length=120): ...

    def limit(tokenizer: Any, places: Any = None) -> int:
        other = TextToImage.__new__(TextToImage)
        encoder = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=places))
        other.pipeline = SimpleNamespace(__call__=call, text_encoder_2=encoder)
        return other._limit("tokenizer_2", tokenizer)

    assert limit(T5()) == 120
    assert limit(generator.pipeline.tokenizer) == 77
    assert limit(generator.pipeline.tokenizer, 32) == 32


# ---- black images --------------------------------------------------------------------------------


class Stub:
    """A pipeline with the least of diffusers' call; the first images of a prompt are black."""

    def __init__(self, black: dict[str, int], flag: bool = False) -> None:
        self.black, self.flag, self.calls = black, flag, []

    def set_progress_bar_config(self, **settings: Any) -> None: ...

    def to(self, device: str) -> None: ...

    def __call__(
        self, prompt, *, guidance_scale, num_inference_steps, generator, output_type
    ) -> SimpleNamespace:
        self.calls.append(list(prompt))
        images = np.stack([torch.rand(4, 4, 3, generator=g).numpy() for g in generator])
        tries = len([call for call in self.calls if call[0] == prompt[0]])
        dark = np.array([tries <= self.black.get(p, 0) for p in prompt])
        if not self.flag:
            images[dark] = 0
        return SimpleNamespace(
            images=images, nsfw_content_detected=dark.tolist() if self.flag else None
        )


@pytest.mark.parametrize("flag", [False, True])
def test_a_black_or_flagged_image_is_replaced_by_the_next_of_its_seed_and_counted(
    flag: bool,
) -> None:
    made = TextToImage(Stub({"a": 2}, flag)).images(["a"], [5], **HOW)
    assert made.black.tolist() == [2]
    draw = torch_generator(5, "text to image", 2)
    wanted = np.rint(torch.rand(4, 4, 3, generator=draw).numpy() * 255)
    np.testing.assert_array_equal(made.images[0], wanted)
    made = TextToImage(Stub({"b": 1}, flag)).images(["b", "a", "b"], [1, 2, 3], **HOW)
    assert made.black.tolist() == [1, 0, 1]


def test_a_prompt_that_stays_black_is_given_up_and_named() -> None:
    pipeline = Stub({"a": 10**9})
    with pytest.raises(InputError, match="20 black images in a row for the prompt 'a'"):
        TextToImage(pipeline).images(["a"], [0], **HOW)
    assert len(pipeline.calls) == text.TRIES


def test_an_overflow_of_half_precision_counts_as_black() -> None:
    class Overflow(Stub):
        def __call__(self, prompt, **how: Any) -> SimpleNamespace:
            first = not self.calls
            output = super().__call__(prompt, **how)
            output.images[0] = np.nan if first else output.images[0]
            return output

        __call__.__signature__ = inspect.signature(Stub.__call__)

    assert TextToImage(Overflow({})).images(["a"], [0], **HOW).black.tolist() == [1]


def test_a_safety_checker_blackens_and_is_seen(text_folder: Path) -> None:
    """The pipeline's own filter, with a checker in it that takes offence at the first images."""
    generator = opened(text_folder)

    class Checker(torch.nn.Module):
        calls, device, dtype = 0, torch.device("cpu"), torch.float32

        def forward(self, clip_input: torch.Tensor, images: np.ndarray) -> tuple:
            Checker.calls += 1
            bad = [Checker.calls == 1 and k == 1 for k in range(len(images))]
            images = images.clone() if torch.is_tensor(images) else images.copy()
            images[np.array(bad)] = 0
            return images, bad

    class Extractor:
        def __call__(self, images: Any, return_tensors: str) -> Any:
            values = SimpleNamespace(pixel_values=torch.zeros(len(images), 3, 4, 4))
            values.to = lambda device: values
            return values

    generator.pipeline.safety_checker = Checker()
    generator.pipeline.feature_extractor = Extractor()
    made = generator.images(PROMPTS, SEEDS, **HOW)
    assert made.black.tolist() == [0, 1, 0, 0]
    assert made.images.any(axis=(1, 2, 3)).all()


# ---- starting from images ------------------------------------------------------------------------


def test_images_start_from_others_as_in_the_plain_pipeline(generator: TextToImage) -> None:
    start = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    how = HOW | {"num_inference_steps": 4, "from_images": start}
    many = generator.images(PROMPTS, SEEDS, strength=0.5, **how).images
    for k in (0, 3):
        one = alone(generator, k, **how | {"from_images": start[k : k + 1]}, strength=0.5)
        assert (one == many[k]).all()
    pipeline = AutoPipelineForImage2Image.from_pipe(generator.pipeline)
    draw = torch_generator(SEEDS[0], "text to image", 0)
    plain = pipeline(
        PROMPTS[0], image=Image.fromarray(start[0]), strength=0.5, generator=draw,
        output_type="np", num_inference_steps=4, guidance_scale=2.0,
    ).images[0]  # fmt: skip
    assert np.abs(many[0] - 255 * plain).max() < 0.51
    others = generator.images(PROMPTS, SEEDS, strength=0.5, **how | {"from_images": start[::-1]})
    assert (others.images != many).any(axis=(1, 2, 3)).all()
    small = generator.images(PROMPTS, SEEDS, size=8, strength=0.5, **how).images
    assert small.shape == (4, 8, 8, 3)
    for bad in (0.0, 1e-4, 1.5):
        with pytest.raises(InputError, match=f"strength {bad:g}"):
            generator.images(PROMPTS, SEEDS, strength=bad, **how)
    with pytest.raises(InputError, match="from_images are 4 for 1 prompts"):
        generator.images(PROMPTS[:1], SEEDS[:1], **how)
    with pytest.raises(InputError, match="cannot start from images"):
        TextToImage(Stub({})).images(["a"], [0], from_images=start[:1], **HOW)


def test_strength_1_is_plain_sampling_and_near_0_the_image(
    text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = opened(text_folder)
    generator.pipeline.vae.register_to_config(scaling_factor=100.0)  # above the noise of a step
    start = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    plain = generator.images(PROMPTS, SEEDS, **HOW).images
    made = generator.images(PROMPTS, SEEDS, from_images=start, strength=1.0, **HOW).images
    np.testing.assert_array_equal(made, plain)
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda spread, _=None: spread.mean)
    with torch.no_grad():  # the image as the autoencoder has it, without its noise
        vae = generator.pipeline.vae
        pixels = torch.from_numpy(start).permute(0, 3, 1, 2) / 127.5 - 1
        spread = vae.encode(pixels).latent_dist
        seen = vae.decode(spread.mean).sample.clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    wanted = (seen + 1) * 127.5

    def apart(strength: float) -> float:
        how = HOW | {"from_images": start, "strength": strength, "num_inference_steps": 4}
        return np.abs(generator.images(PROMPTS, SEEDS, **how).images - wanted).mean()

    near, far = apart(0.001), apart(0.9)
    assert near < 3
    assert near < far


def test_images_of_other_shapes_are_cropped_and_brought_to_size(generator: TextToImage) -> None:
    square = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    wide = np.concatenate([square[:, :, :4] // 2, square, square[:, :, :4]], axis=2)
    high = np.concatenate([square[:, :2], square, square[:, :2]], axis=1)
    wanted = alone(generator, 0, from_images=square, strength=0.5)
    for other in (wide, high):
        made = alone(generator, 0, from_images=other, strength=0.5)
        np.testing.assert_array_equal(made, wanted)
    large = np.repeat(np.repeat(square, 3, axis=1), 3, axis=2)
    assert alone(generator, 0, from_images=large, strength=0.5).shape == (16, 16, 3)
    assert generator.side == 16


# ---- what came of GLIDE --------------------------------------------------------------------------


def test_an_unclip_is_asked_by_the_settings_of_its_decoder(tiny: Any, tmp_path: Path) -> None:
    generator = TextToImage(tiny.unclip(tmp_path))
    pipeline = generator.pipeline
    many = generator.images(PROMPTS, SEEDS, **HOW).images
    assert (many[1] == alone(generator, 1)).all()
    draw = torch_generator(SEEDS[1], "text to image", 0)
    plain = pipeline(
        [PROMPTS[1]], generator=[draw], output_type="np", decoder_guidance_scale=2.0,
        decoder_num_inference_steps=2,
    ).images[0]  # fmt: skip
    assert np.abs(many[1] - 255 * plain).max() < 0.51
    with pytest.raises(InputError, match="cannot start from images"):
        alone(generator, 1, from_images=many[:1], strength=0.5)
    pipeline.save_pretrained(tmp_path / "kept", safe_serialization=True)
    assert (alone(opened(tmp_path / "kept"), 1) == many[1]).all()
    index = json.loads((file := tmp_path / "kept/model_index.json").read_text())
    index["text_proj"] = ["unclip", "UnCLIPTextProjModel"]  # as in Karlo's repository
    file.write_text(json.dumps(index))
    assert (alone(opened(tmp_path / "kept"), 1) == many[1]).all()


def test_a_deepfloyd_paints_pixels_from_noise_and_from_images(tiny: Any, tmp_path: Path) -> None:
    tiny.deepfloyd(tmp_path / "words").save_pretrained(tmp_path / "kept", safe_serialization=True)
    generator = opened(tmp_path / "kept")
    many = generator.images(PROMPTS, SEEDS, **HOW).images
    assert many.shape == (4, 8, 8, 3)
    assert (many[1] == alone(generator, 1)).all()
    how = {"from_images": many, "strength": 0.5, "num_inference_steps": 4}
    started = generator.images(PROMPTS, SEEDS, **HOW | how).images
    one = alone(generator, 1, **how | {"from_images": many[1:2]})
    assert (started[1] == one).all()
    near = generator.images(PROMPTS, SEEDS, **HOW | how | {"strength": 0.001}).images
    assert np.abs(near.astype(int) - many).mean() < np.abs(started.astype(int) - many).mean()


# ---- options, and what is refused ----------------------------------------------------------------


def test_size_precision_and_compilation_reach_the_pipeline(
    text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self)))
    generator = opened(text_folder, precision="bfloat16", compiled=True, batch_size=2)
    assert [kind.__name__ for kind in compiled] == ["UNet2DConditionModel"]
    assert generator.batch == LANES  # on the CPU it is no setting
    assert {p.dtype for p in generator.pipeline.unet.parameters()} == {torch.bfloat16}
    assert generator.images(["a dog"], [0], size=32, **HOW).images.shape == (1, 32, 32, 3)
    with pytest.raises(InputError, match="refuses these settings"):
        generator.images(["a dog"], [0], size=13, **HOW)


def test_identity_tells_weights_and_settings_apart(text_folder: Path, tmp_path: Path) -> None:
    generator = opened(text_folder)
    again = opened(shutil.copytree(text_folder, tmp_path / "copy"))
    assert again.identity == generator.identity
    assert json.loads(json.dumps(generator.identity)) == generator.identity
    with torch.no_grad():
        again.pipeline.unet.conv_in.weight[0, 0, 0, 0] += 1
    assert TextToImage(again.pipeline).identity["weights"] != generator.identity["weights"]
    other = opened(text_folder, scheduler="DDIMScheduler")
    assert other.identity != generator.identity


def _scaled(pipeline: Any) -> None:
    pipeline.vae.register_to_config(scaling_factor=1.0)


def _another_weight(pipeline: Any) -> None:
    with torch.no_grad():
        pipeline.unet.conv_in.weight.view(-1)[1] += 1


def _swapped_words(pipeline: Any) -> None:
    words = pipeline.text_encoder.get_input_embeddings().weight
    with torch.no_grad():
        words[[5, 6]] = words[[6, 5]]


def _another_word(pipeline: Any) -> None:
    pipeline.tokenizer.add_tokens(["cat-like"])


@pytest.mark.parametrize("change", [_scaled, _another_weight, _swapped_words, _another_word])
def test_identity_tells_of_all_that_makes_an_image(text_folder: Path, change: Any) -> None:
    generator = opened(text_folder)
    change(generator.pipeline)
    changed, before = generator.identity, opened(text_folder).identity
    assert changed["parts"] != before["parts"]


def test_a_gpu_is_asked_for_no_copies() -> None:
    for device, compiled, lanes in (("cuda", False, 2), ("cpu", False, LANES), ("cuda", True, 5)):
        stub = Stub({})
        made = TextToImage(stub, device=device, compiled=compiled, batch_size=5)
        made.device = "cpu"
        assert len(made.images(["a", "a"], [0, 1], **HOW).images) == 2
        assert list(map(len, stub.calls)) == [lanes]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"scheduler": "DDIMSchedular"}, "did you mean 'DDIMScheduler'"),
        ({"precision": "half"}, "precision 'half' is not known"),
        ({"safety_checker": True}, "no safety checker; leave it off"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_options_that_are_not_there_are_refused(text_folder: Path, how: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        opened(text_folder, **how)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((["a"], [1, 2]), "1 prompts and 2 seeds"),
        ((["a"], [1], 0.5), "guidance_scale 0.5 is not possible"),
        ((["a"], [1], -1), "guidance_scale -1 is not possible"),
    ],
)
def test_bad_calls_are_refused(generator: TextToImage, given: tuple, words: str) -> None:
    prompts, seeds, *rest = given
    how = HOW | ({"guidance_scale": rest[0]} if rest else {})
    with pytest.raises(InputError, match=words):
        generator.images(prompts, seeds, **how)


def test_neither_pickles_nor_foreign_code_are_read(text_folder: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(text_folder, tmp_path / "pickled")
    weights = next((pickled / "unet").glob("*.safetensors"))
    torch.save(opened(text_folder).pipeline.unet.state_dict(), weights.with_suffix(".bin"))
    weights.unlink()
    trace = tmp_path / "trace"
    coded = shutil.copytree(text_folder, tmp_path / "coded")
    (coded / "mine.py").write_text(f"open({str(trace)!r}, 'w')\nclass Mine: ...\n")
    index = json.loads((coded / "model_index.json").read_text())
    (coded / "model_index.json").write_text(json.dumps(index | {"_class_name": ["mine", "Mine"]}))
    nested = shutil.copytree(text_folder, tmp_path / "nested")
    (nested / "unet" / "mine.py").write_text(f"open({str(trace)!r}, 'w')\nclass Mine: ...\n")
    (nested / "model_index.json").write_text(json.dumps(index | {"unet": ["mine", "Mine"]}))
    for folder in (pickled, coded, nested, tmp_path / "nothing"):
        with pytest.raises(InputError, match="cannot be loaded"):
            opened(folder)
    assert not trace.exists()


def test_a_pipeline_without_prompts_is_refused() -> None:
    class Classes(Stub):
        def __call__(self, class_labels: Any) -> None: ...

    with pytest.raises(InputError, match="makes no images from a prompt alone"):
        TextToImage(Classes({}))
