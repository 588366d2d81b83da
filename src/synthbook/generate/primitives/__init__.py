"""Images drawn from shapes and pink noise, from which a GAN learns before it sees any photograph.

Primitives-PS and its three simpler variants (Baek and Shim 2022, section 3).
"""

from synthbook.generate.primitives.images import (
    PrimitivesDataset,
    batches,
    layers,
    render,
    synthesize,
    tops,
)
from synthbook.generate.primitives.noise import pink_noise, pink_weights
from synthbook.generate.primitives.recipe import (
    POLICIES,
    PUBLIC_CODE,
    QUIRKS,
    VARIANTS,
    Primitives,
    check_resolution,
    shapes_at,
    size_range,
)
from synthbook.generate.primitives.shapes import KINDS, Shapes, draw_shapes

__all__ = [
    "KINDS", "POLICIES", "PUBLIC_CODE", "QUIRKS", "VARIANTS", "Primitives", "PrimitivesDataset",
    "Shapes", "batches", "check_resolution", "draw_shapes", "layers", "pink_noise", "pink_weights",
    "render", "shapes_at", "size_range", "synthesize", "tops",
]  # fmt: skip
