"""Sampling that starts from images: how much noise is laid over them, and which steps are left.

*Real start* is this book's name for what He et al. (2023, section 3.2) call real guidance, RG: the
sampler starts from noised real shots of a class in place of noise alone (SDEdit, Meng et al. 2022).
It has nothing to do with the Real Guidance of Wang et al. (2024), which projects the gradients of a
classifier, and stands in ``recognize/methods/real_guidance.py``.

With the forward noising at step t0 of the schedule, and eps ~ N(0, 1),

    x_t0 = sqrt(abar_t0) x_real + sqrt(1 - abar_t0) eps      (protocol of `ready`, section 3.2)
    x_t0 = (1 - t0) x_real + t0 eps                          (flow matching: the book's own models)

and then the steps from t0 to 0 with the prompt. ``strength`` is t0 as a share of the schedule, so
how much noise it means depends on the schedule: at 0.15 that of GLIDE (a cosine) leaves 0.97 of the
image's amplitude, and flow matching 0.85.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from synthbook.errors import InputError

# Shots of a class -> strength. The paper leaves t0 to its appendix; its public code does the last
# 15, 20, 35, 40 and 50 of 100 steps with 16, 8, 4, 2 and 1 shots: the more shots there are, the
# less the sampler has to add of its own.
STRENGTHS = {1: 0.5, 2: 0.4, 4: 0.35, 8: 0.2, 16: 0.15}


def strength_of(shots: int) -> float:
    """Return the strength for so many shots of a class: by `STRENGTHS`, in (0, 1].

    Between its numbers it is interpolated over the logarithm of the shots; beyond 16 it stays.

    Raises:
        InputError: for no shots.
    """
    if shots < 1:
        raise InputError(
            f"{shots} real images of a class; sampling that starts from real images (the real "
            "guidance of He et al.) needs one at least: add some, or start from noise"
        )
    known = np.log2(list(STRENGTHS))
    return round(float(np.interp(np.log2(shots), known, list(STRENGTHS.values()))), 4)


def check_strength(strength: float) -> None:
    """Raise InputError unless a strength is above 0 and at most 1."""
    if not 0 < strength <= 1:
        raise InputError(
            f"strength {strength:g} is no share of the noise; give a number above 0 (the image "
            "itself) up to 1 (noise alone)"
        )


def steps_of(strength: float, steps: int, *, most: int = 1000) -> tuple[int, int]:
    """Return (n, m): the last n of a schedule of m steps begin at ``strength`` and go on as fine.

    n is the share of ``steps`` that strength leaves, 1 or more, and m the length of a schedule with
    n / m near to strength. So the start is right to a step of m however few steps there are, an
    image costs n calls of the network, and strength 1 is (steps, steps). ``most`` is what the
    schedule can be cut into.

    Raises:
        InputError: for a strength that is none, or below the finest step.
    """
    check_strength(strength)
    if strength == 1:
        return steps, steps
    n = max(1, round(strength * steps))
    near = max(round(n / strength), n)
    around = sorted(range(max(near - 9, n), near + 10), key=lambda m: abs(m - near))
    m = next(m for m in around if m * share(n, m) == n)
    if m > most:
        raise InputError(
            f"strength {strength:g} with {steps} steps is finer than the {most} that the schedule "
            f"has; give {n / most:g} or more"
        )
    return n, m


def share(n: int, m: int) -> float:
    """Return n / m as a float of which m times is n exactly, for diffusers cuts that to an integer.

    Of some n and m there is none, as of 108 and 139; then it is n / m.
    """
    near = n / m
    some = (near, float(np.nextafter(near, 2.0)), float(np.nextafter(near, 0.0)))
    return next((found for found in some if m * found == n), near)


def own_side(pipeline: Any) -> int:
    """Return the pixels a side of a pipeline's own images; 0 where it does not say."""
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    size = getattr(pipeline, "default_sample_size", None)
    size = size or getattr(getattr(network, "config", None), "sample_size", None)
    patch = getattr(getattr(pipeline, "config", None), "patch", 1)
    if not isinstance(size, int):
        return 0
    return size * getattr(pipeline, "vae_scale_factor", patch)


def finest(pipeline: Any) -> int:
    """Return how many steps a pipeline's schedule can be cut into: those of its training."""
    config = getattr(getattr(pipeline, "scheduler", None), "config", {})
    return int(config.get("num_train_timesteps", 1000))


def sister(pipeline: Any, name: str) -> Any:
    """Return the pipeline of the same parts that starts from images.

    It is called as those of diffusers: with ``image``, ``strength`` and ``num_inference_steps``, of
    which it does that share. The book's own have theirs in ``image_pipelines``.

    Raises:
        InputError: if there is none.
    """
    from diffusers import AutoPipelineForImage2Image

    own = {"ClassConditionalPipeline", "TextToPixelsPipeline"}
    if type(pipeline).__name__ in own:
        from synthbook.generate.image_pipelines import started

        return started(pipeline)
    try:
        found = AutoPipelineForImage2Image.from_pipe(pipeline)
    except (ValueError, AttributeError) as error:  # it has no such sister
        raise InputError(
            f"'{name}' is a {type(pipeline).__name__}, which cannot start from images; give a "
            "model of the Stable Diffusion family, or leave the real images out"
        ) from error
    found.set_progress_bar_config(disable=True)
    return found
