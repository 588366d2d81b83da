"""Images from prompts: any text-to-image pipeline of diffusers, an image from its own seed.

Stable Diffusion 1.4 and newer, SDXL and others, by their name on the Hub or from a folder. Of
weights only safetensors are read, and no code that lies beside them is run. `text_models` says what
else can be loaded, and how near one comes to GLIDE.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from synthbook.data.files import conform
from synthbook.errors import InputError, check_choice
from synthbook.generate.from_images import finest, own_side, share, sister, steps_of
from synthbook.generate.parts import sum_of
from synthbook.generate.text_models import read_pipeline, schedulers
from synthbook.randomness import torch_generator

# On a processor a network call always holds so many images, the last one repeated where there are
# fewer. Matrix products round by the number of their rows: with one shape for all calls an image is
# the same to the bit alone, in any batch and at any place in it. Eight are some four times as fast
# as one for small networks, and more gain nothing.
LANES = 8
ON_A_GPU = 100  # images a call of the book's own small pipeline there, where rounding may differ
TRIES = 20  # images of a seed before a prompt that gives black ones only is given up
KEPT = 1024  # prompts whose embeddings are kept: each takes some 0.1 MB, or 0.3 MB for SDXL
PRECISIONS = ("auto", "float32", "float16", "bfloat16")
# What unCLIP's pipeline, which has a prior too, calls the settings of its decoder.
DECODER = {name: f"decoder_{name}" for name in ("guidance_scale", "num_inference_steps")}
# What encode_prompt returns, in this order, if these are all that it takes back. Pipelines that
# are told otherwise, such as with masks, get the prompts themselves.
EMBEDDINGS = (
    ("prompt_embeds",),
    ("prompt_embeds", "negative_prompt_embeds"),
    ("prompt_embeds", "negative_prompt_embeds",
     "pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
)  # fmt: skip


class Cut(NamedTuple):
    """A prompt that is too long for a text encoder, and the part that it does not see."""

    prompt: str
    tokenizer: str  # its name in the pipeline: an SDXL has two
    tokens: int
    limit: int
    lost: str


class Made(NamedTuple):
    """Images uint8 [N, H, W, 3], and after how many black ones of its seed each came, int64 [N]."""

    images: np.ndarray
    black: np.ndarray


def opened(
    model: str | Path,
    *,
    scheduler: str = "",
    precision: str = "auto",
    compiled: bool = False,
    safety_checker: bool = False,
    batch_size: int = LANES,
    device: str = "cpu",
    revision: str | None = None,
    variant: str | None = None,
    local: bool = False,
) -> TextToImage:
    """Return the generator of a pipeline: a folder that save_pretrained wrote, or a Hub id.

    Args:
        model: "CompVis/stable-diffusion-v1-4", for example. What is not a folder is fetched from
            the Hub, unless `HF_HUB_OFFLINE` is set or ``local``, and then found in its cache.
        scheduler: a class of diffusers such as "DDIMScheduler"; "" for the pipeline's own.
        precision: of all networks; "auto" is float16 on a GPU and float32 elsewhere.
        compiled: whether the denoising network goes through torch.compile.
        safety_checker: whether the pipeline's own filter, where it has one, blackens images.
        batch_size: images a call. On the CPU it is always `LANES`, so that nothing depends on it.
        device: a device of torch.
        revision: a commit, branch or tag of the Hub's repository.
        variant: of the weights' files, such as "fp16".
        local: read what is on this machine alone.

    Raises:
        InputError: if it cannot be loaded, or makes no images from text.
    """
    import torch
    from diffusers import DiffusionPipeline

    check_choice("precision", precision, PRECISIONS)
    if precision == "auto":
        precision = "float16" if device.startswith("cuda") else "float32"
    folder = Path(model).expanduser()
    source = str(folder) if folder.is_dir() else str(model)
    where = {"local_files_only": local or folder.is_dir(), "revision": revision}
    how = {"dtype": getattr(torch, precision), "variant": variant, **where}
    how |= {"use_safetensors": True, "trust_remote_code": False}
    with _quiet():
        try:
            index = DiffusionPipeline.load_config(source, **where)
            if not isinstance(index["_class_name"], str):  # a file of code, and a class in it
                raise ValueError("it is a class of the repository's own code, which is not run")
            if "safety_checker" in index and not safety_checker:
                how |= {"safety_checker": None, "requires_safety_checker": False}
            pipeline = read_pipeline(source, index["_class_name"], how)
        except Exception as error:  # whatever is missing or damaged
            raise InputError(
                f"the pipeline '{model}' cannot be loaded ({' '.join(str(error).split())[:300]}); "
                "give a folder that save_pretrained(..., safe_serialization=True) wrote, or the "
                "id of a text-to-image model on the Hub"
            ) from error
    if safety_checker and getattr(pipeline, "safety_checker", None) is None:
        raise InputError(f"the pipeline '{model}' has no safety checker; leave it off")
    if scheduler:
        check_choice("scheduler", scheduler, known := schedulers(pipeline))
        pipeline.scheduler = known[scheduler].from_config(pipeline.scheduler.config)
    return TextToImage(
        pipeline, name=str(model), batch_size=batch_size, device=device, compiled=compiled
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries from telling, in lines of their own, what is checked here."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    before = [logging.get_verbosity() for logging in (of_diffusers, of_transformers)]
    of_diffusers.disable_progress_bar()
    of_transformers.disable_progress_bar()
    try:
        of_diffusers.set_verbosity_error()
        of_transformers.set_verbosity_error()
        with warnings.catch_warnings():  # of an argument that diffusers passes to the Hub
            warnings.filterwarnings("ignore", ".*local_dir_use_symlinks", UserWarning)
            yield
    finally:
        of_diffusers.set_verbosity(before[0])
        of_transformers.set_verbosity(before[1])


class TextToImage:
    """A pipeline from text to image; its images are functions of prompt, seed and settings.

    Args:
        pipeline: of diffusers, or one that is called like theirs.
        name: what it is called in errors.
        batch_size: images a call, on a GPU.
        device: it is brought there.
        compiled: whether its denoising network goes through torch.compile.
    """

    def __init__(
        self, pipeline: Any, *, name: str = "", batch_size: int = LANES, device: str = "cpu",
        compiled: bool = False,
    ) -> None:  # fmt: skip
        takes = inspect.signature(pipeline.__call__).parameters
        self.name, self.pipeline = name or type(pipeline).__name__, pipeline
        needs = {name for name, how in takes.items() if how.default is how.empty}
        if "prompt" not in takes or "image" in needs:
            raise InputError(
                f"'{self.name}' is a {type(pipeline).__name__}, which makes no images from a "
                "prompt alone; give a text-to-image pipeline"
            )
        self._says = {k: v for k, v in DECODER.items() if k not in takes and v in takes}
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; give 1 or more")
        self.device, self.batch = device, LANES if device == "cpu" else batch_size
        self._filled = device == "cpu" or compiled  # which would compile each shape anew
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(device)
        if hasattr(getattr(pipeline, "vae", None), "use_slicing"):
            pipeline.vae.enable_slicing()  # one image at a time: less memory, and no slower
        if compiled:
            for name in {"unet", "transformer"} & {*vars(pipeline)}:
                getattr(pipeline, name).compile()
        self._embeddings: OrderedDict[str, tuple] = OrderedDict()
        self._known_length: set[str] = set()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides on its images, beside prompt, seed and settings; a small plain dict."""
        parts = getattr(self.pipeline, "components", {})
        weights, dtype = hashlib.sha256(), ""
        for name in sorted(parts):
            if not hasattr(parts[name], "state_dict"):
                continue
            for key, tensor in sorted(parts[name].state_dict().items()):
                some = tensor.flatten()[:: max(1, tensor.numel() // 16)].double().cpu().numpy()
                weights.update(f"{name} {key} {tuple(tensor.shape)}".encode() + some.tobytes())
                dtype = dtype or str(tensor.dtype).removeprefix("torch.")
        scheduler = parts.get("scheduler")
        levels = {k: v for k, v in getattr(scheduler, "config", {}).items() if k[:1] != "_"}
        settings = json.dumps(levels, sort_keys=True, default=str).encode()
        return {
            "pipeline": type(self.pipeline).__name__,
            "parts": sum_of({**parts, "": getattr(self.pipeline, "config", None)}),
            "weights": weights.hexdigest()[:16],  # of some: plans had these alone
            "precision": dtype,
            "scheduler": type(scheduler).__name__,
            "scheduler_settings": hashlib.sha256(settings).hexdigest()[:16],
            "safety_checker": parts.get("safety_checker") is not None,
        }

    # Prompts

    def cut(self, prompts: Sequence[str]) -> list[Cut]:
        """Return which prompts are too long for which text encoder, and what is lost of them."""
        found, wanted = [], list(dict.fromkeys(prompts))
        for name, tokenizer in getattr(self.pipeline, "components", {}).items():
            if not (name.startswith("tokenizer") and tokenizer and wanted):
                continue
            limit = self._limit(name, tokenizer)
            room = limit - tokenizer.num_special_tokens_to_add()
            exact = getattr(tokenizer, "is_fast", False)  # it tells where in the text a token is
            how = {"add_special_tokens": False, "verbose": False, "return_offsets_mapping": exact}
            tokens = tokenizer(wanted, **how)
            for k, (prompt, ids) in enumerate(zip(wanted, tokens.input_ids, strict=True)):
                if len(ids) > room:
                    first = tokens.offset_mapping[k][room][0] if exact else 0
                    lost = prompt[first:] if exact else tokenizer.decode(ids[room:])
                    found.append(Cut(prompt, name, len(ids) + limit - room, limit, lost))
        self._known_length.update(prompts)
        return found

    def _limit(self, name: str, tokenizer: Any) -> int:
        """Return how many tokens the text encoder of a tokenizer sees.

        CLIP's has so many places; others take more than the pipeline's call gives them.
        """
        encoder = getattr(self.pipeline, name.replace("tokenizer", "text_encoder"), None)
        places = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
        given = inspect.signature(self.pipeline.__call__).parameters.get("max_sequence_length")
        clip = given is None or "CLIP" in type(tokenizer).__name__
        limits = (tokenizer.model_max_length, places, None if clip else given.default)
        return min(limit for limit in limits if isinstance(limit, int))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """What embeddings the pipeline makes of a prompt and takes in place of it; () for none."""
        if not hasattr(self.pipeline, "encode_prompt"):
            return ()
        takes = inspect.signature(self.pipeline.encode_prompt).parameters
        calls = inspect.signature(self.pipeline.__call__).parameters
        names = {name for name in takes if "_embeds" in name or "_mask" in name}
        if {*takes} == {"prompt"}:  # the book's own, which knows itself what no prompt is
            names = {"prompt_embeds"}
        return next((n for n in EMBEDDINGS if set(n) == names and names <= {*calls}), ())

    def _encoded(self, prompt: str, *, guided: bool) -> tuple:
        """Return the embeddings of one prompt, which is alone in the text encoder."""
        given = {
            "prompt": [prompt], "device": self.device, "num_images_per_prompt": 1,
            "do_classifier_free_guidance": guided,
            "prompt_2": None, "prompt_3": None,  # SD 3 wants to be told that they are the same
        }  # fmt: skip
        takes = inspect.signature(self.pipeline.encode_prompt).parameters
        with _quiet():
            encoded = self.pipeline.encode_prompt(**{k: v for k, v in given.items() if k in takes})
        return encoded if isinstance(encoded, tuple) else (encoded,)

    def _conditions(self, prompts: Sequence[str], guided: bool) -> dict[str, Any]:
        """Return what a call takes for its prompts; each prompt is encoded once, and then kept."""
        import torch

        if not self._names:
            return {"prompt": list(prompts)}
        wanted = [*dict.fromkeys(prompts), *([""] if guided else [])]
        with torch.no_grad():
            for prompt in wanted:
                if prompt not in self._embeddings:
                    # Without guidance there is no negative; that of "" is all that is needed.
                    self._embeddings[prompt] = self._encoded(prompt, guided=prompt == "")
                self._embeddings.move_to_end(prompt)
        rows = {}
        for position, name in enumerate(self._names):
            negative = name.startswith("negative")
            if guided or not negative:
                of = [""] * len(prompts) if negative else prompts
                rows[name] = torch.cat([self._embeddings[prompt][position] for prompt in of])
        while len(self._embeddings) > max(KEPT, len(wanted)):
            self._embeddings.popitem(last=False)
        return rows

    # Images

    def images(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        guidance_scale: float = 7.5,
        num_inference_steps: int = 50,
        size: int = 0,
        from_images: np.ndarray | None = None,
        strength: float = 0.5,
    ) -> Made:
        """Return one image a prompt, each from its own seed.

        The noise of image k comes from the stream (seeds[k], "text to image"), so the image does
        not depend on the others: on the CPU to the bit, on a GPU up to rounding. A black image, as
        a safety checker or an overflow in half precision leaves behind, is replaced by the next of
        its seed, and counted.

        Args:
            prompts: one an image.
            seeds: as many, 0 or more.
            guidance_scale: g in eps = eps_null + g (eps_prompt - eps_null), Ho & Salimans (2022):
                0 ignores the prompt, 1 is plain conditional sampling, more is stronger.
            num_inference_steps: of the scheduler.
            size: pixels a side; 0 for the pipeline's own.
            from_images: uint8 [N, H, W, 3]. Images start from these, cropped to squares and brought
                to size, and not from noise alone.
            strength: of the noise that is laid over them, above 0 to 1; of the steps only this
                share is done (`from_images.steps_of`). 1 is plain sampling.

        Raises:
            InputError: if a prompt gives black images only, or the pipeline refuses the settings.
        """
        if len(prompts) != len(seeds):
            raise InputError(f"{len(prompts)} prompts and {len(seeds)} seeds; give one each")
        check_guidance(guidance_scale)
        self._warn(prompts)
        settings = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        if from_images is not None:
            if len(from_images) != len(prompts):
                raise InputError(
                    f"from_images are {len(from_images)} for {len(prompts)} prompts; give one each"
                )
            settings |= self._start(from_images, size, strength, num_inference_steps)
        if size and "image" not in settings:
            settings |= {"height": size, "width": size}
        if guidance_scale == 0:
            prompts = [""] * len(prompts)
        images: list[Any] = [None] * len(prompts)
        black = np.zeros(len(prompts), dtype=np.int64)
        left = np.arange(len(prompts))
        for attempt in range(TRIES):
            for part in (left[k : k + self.batch] for k in range(0, len(left), self.batch)):
                made, good = self._call(part, prompts, seeds, attempt, settings)
                for k, image, fine in zip(part, made, good, strict=True):
                    images[k] = image if fine else None
            left = np.array([k for k in left if images[k] is None], dtype=np.int64)
            black[left] += 1
            if not len(left):
                return Made(np.stack(images), black)
        raise InputError(
            f"'{self.name}' gave {TRIES} black images in a row for the prompt "
            f"'{prompts[left[0]][:200]}': switch the safety checker off, set precision to float32 "
            "if half precision overflows, or change the prompt"
        )

    def _call(
        self, part: np.ndarray, prompts: Sequence[str], seeds: Sequence[int], attempt: int,
        settings: dict[str, Any],
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return images [n, H, W, 3] of the numbers in ``part``, and which are not black, [n]."""
        lanes = [*part, *[part[-1]] * (self.batch - len(part))] if self._filled else [*part]
        pipeline, how = self.pipeline, {**settings, "output_type": "np"}
        if "image" in how:
            pipeline, how["image"] = self._from_images, [how["image"][k] for k in lanes]
        how |= self._conditions([prompts[k] for k in lanes], settings["guidance_scale"] > 1)
        how["generator"] = [torch_generator(int(seeds[k]), "text to image", attempt) for k in lanes]
        try:
            output = pipeline(**{self._says.get(name, name): value for name, value in how.items()})
        except ValueError as error:
            raise InputError(
                f"'{self.name}' refuses these settings ({' '.join(str(error).split())[:300]}); "
                "give others"
            ) from error
        images = np.nan_to_num(np.asarray(output.images)[: len(part)])
        images = np.rint(images * 255).astype(np.uint8)
        flagged = getattr(output, "nsfw_content_detected", None) or [False] * len(lanes)
        return images, images.any(axis=(1, 2, 3)) & ~np.array(flagged[: len(part)], dtype=bool)

    def _start(self, images: np.ndarray, size: int, strength: float, steps: int) -> dict[str, Any]:
        """Return what a pipeline takes to start from images; nothing where noise is all."""
        n, m = steps_of(strength, steps, most=finest(self.pipeline))
        if n == m:
            return {}
        images = conform(images, size or self.side, 3)
        start = {"image": [Image.fromarray(image) for image in images], "strength": share(n, m)}
        return {**start, "num_inference_steps": m}

    @cached_property
    def side(self) -> int:
        """Pixels a side of its own images; 0 where the pipeline does not say."""
        return own_side(self.pipeline)

    @cached_property
    def _from_images(self) -> Any:
        """The pipeline of the same parts that starts from images."""
        return sister(self.pipeline, self.name)

    def _warn(self, prompts: Sequence[str]) -> None:
        """Warn once of each prompt that is cut."""
        if cut := self.cut([p for p in dict.fromkeys(prompts) if p not in self._known_length]):
            shown = "; ".join(f"'{c.prompt[:60]} ...' loses '{c.lost}'" for c in cut[:3])
            more = f"; and {len(cut) - 3} more" if len(cut) > 3 else ""
            warnings.warn(
                f"{len(cut)} prompts are over the {cut[0].limit} tokens that the text encoder "
                f"sees: {shown}{more}",
                stacklevel=3,
            )


def check_guidance(scale: float) -> None:
    """Raise InputError unless pipelines guide so: they leave guidance out at 1 and below."""
    if not (scale == 0 or 1 <= scale < np.inf):
        raise InputError(
            f"guidance_scale {scale:g} is not possible with prompts; give 0, 1 or more"
        )
