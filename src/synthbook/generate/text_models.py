"""Which text-to-image models can be read: pipelines of diffusers, and the book's own.

GLIDE (Nichol et al. 2022), which `ready` asks for its images, is no longer in diffusers: it was in
the first versions of 2022 alone, and the repository that was made for these, "fusing/glide-base",
names classes that are no more. What came of it can be loaded, by its id. Tried with small untrained
models of the same classes:

- unCLIP, "kakaobrain/karlo-v1-alpha": a prior, and a decoder and upsamplers in pixels. Guidance and
  steps are those of the decoder, and what it has besides stays as it is. It cannot start from
  images. Where a repository's main branch has no safetensors, a revision such as "refs/pr/2" may.
- DeepFloyd IF, "DeepFloyd/IF-I-XL-v1.0": its first stage, in pixels at 64 as that of GLIDE, from
  noise and from images. Its upsampler is another pipeline, and is not asked; its T5 needs a
  tokenizer.json, or sentencepiece installed.

Kandinsky 2.2 ("kandinsky-community/kandinsky-2-2-decoder"), an unCLIP in latents, should go the way
of all others, and was not tried.

GLIDE itself runs in OpenAI's package glide-text2im, which does not come with this book. An object
around it with ``to``, ``set_progress_bar_config`` and ``__call__(prompt, *, guidance_scale,
num_inference_steps, generator, output_type)``, whose ``images`` are floats [N, H, W, 3] in 0..1, is
a pipeline for `text.TextToImage`; or its images, in a folder by class, are a source of one's own
(`own`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

OWN = {"TextToPixelsPipeline": "synthbook.generate.text_pipeline"}  # the book's: class -> module


def read_pipeline(source: str, kind: str, how: dict[str, Any]) -> Any:
    """Return the pipeline in a folder, or on the Hub, of the class ``kind``.

    ``how`` is what its from_pretrained takes.
    """
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline

    if kind in OWN:
        return getattr(import_module(OWN[kind]), kind).from_pretrained(source, **how)
    if kind == "UnCLIPPipeline":  # a part's class has moved, so that its name is not found
        from diffusers.pipelines.deprecated.unclip import UnCLIPTextProjModel as Projection

        pipeline = DiffusionPipeline.from_pretrained(source, **how, text_proj=None)
        how = {k: v for k, v in how.items() if k != "trust_remote_code"}
        part = Projection.from_pretrained(source, subfolder="text_proj", **how)
        pipeline.register_modules(text_proj=part.eval())
        return pipeline
    try:
        return AutoPipelineForText2Image.from_pretrained(source, **how)
    except ValueError:  # none of those that the Auto class knows
        return DiffusionPipeline.from_pretrained(source, **how)


def schedulers(pipeline: Any) -> dict[str, Any]:
    """Return name -> class of the schedulers that a pipeline may have in place of its own.

    Without what needs a library that is not there, and without those whose noise is drawn for a
    batch as a whole (by torchsde).
    """
    kinds = sorted(pipeline.scheduler.compatibles, key=lambda kind: kind.__name__)
    return {
        kind.__name__: kind
        for kind in kinds
        if "dummy" not in kind.__module__ and "DPMSolverSDE" not in kind.__name__
    }
