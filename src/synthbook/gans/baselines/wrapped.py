"""A pretrained generator with something in front of it, which takes noise alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from synthbook.data.images import pixels_and_labels
from synthbook.errors import InputError
from synthbook.gans import networks
from synthbook.gans.blocks import NetworkConfig
from synthbook.gans.sampling import embedding_size
from synthbook.settings import settings
from synthbook.training import normalise

if TYPE_CHECKING:
    from synthbook.data import ImageSet

FILE = "front.safetensors"


@settings
class WrappedConfig(NetworkConfig):
    """What a `Wrapped` generator takes (z, and no condition) and makes.

    ``inner`` is the generator in it: the architecture's name under "name", and its settings.
    """

    architecture: ClassVar[str] = "wrapped"
    largest: ClassVar[int] = 256

    inner: dict[str, Any] = Field(default_factory=dict)


class Wrapped(nn.Module):
    """The ``generator`` in it and, by subclasses, a front; ``latent`` is the length of its z.

    `train.train` and `sampling.sample` take it as any generator. The generator is one with
    `from_embedding`, or one without conditions.
    """

    def __init__(self, generator: nn.Module, latent: int) -> None:
        super().__init__()
        config = generator.config
        if config.num_classes + config.condition_size and getattr(generator, "embed", 0) is None:
            raise InputError(
                f"this '{config.architecture}' has no layer that embeds its condition; give one "
                "with shared True, or without conditions"
            )
        if not hasattr(generator, "from_embedding"):
            raise InputError(
                f"a '{config.architecture}' cannot be given conditions of other kinds; give an "
                "'sngan', a 'biggan' or a 'stylegan2'"
            )
        self.generator = generator
        self.config = WrappedConfig(
            image_size=config.image_size,
            image_channels=config.image_channels,
            channels=config.channels,
            latent=latent,
            inner={"name": config.architecture, **asdict(config)},
        )

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers the generator takes: of its z, and of its embedded condition (or 0)."""
        embeds = self.generator.embed is not None
        return self.generator.config.latent, embedding_size(self.generator) if embeds else 0

    def decode(self, code: Tensor, draw: Any = None) -> Tensor:
        """Return images of codes [N, sum of ``sizes``]: z, then the embedded condition."""
        z, embedded = code.split(self.sizes, dim=1)
        return self.generator.from_embedding(z, embedded if self.sizes[1] else None, draw)

    def front(self) -> dict[str, Tensor]:
        """Return the tensors that are not the generator's."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("generator.")}

    def save(self, folder: Path) -> None:
        """Write the generator as `networks.save` does, and the front beside it."""
        from safetensors.torch import save_file

        networks.save(self.generator, folder)
        front = {name: tensor.contiguous().cpu() for name, tensor in self.front().items()}
        save_file(front, Path(folder) / FILE)


def read_front(folder: Path) -> dict[str, Tensor]:
    """Return the front that `Wrapped.save` wrote to ``folder``, tensors by name."""
    from safetensors.torch import load_file

    path = Path(folder) / FILE
    if not path.is_file():
        raise InputError(f"{folder} holds no {FILE}; give a folder that was saved by this method")
    return load_file(path)


def pixels_for(generator: nn.Module, images: ImageSet, device: str) -> Tensor:
    """Return all images as the generator makes them: float [N, C, H, W] in -1..1 on ``device``."""
    config = generator.config
    if (images.image_size, images.channels) != (config.image_size, config.image_channels):
        raise InputError(
            f"'{images.name}' has images of {images.image_size} pixels and {images.channels} "
            f"channels, the generator makes {config.image_size} pixels and "
            f"{config.image_channels} channels; load the images with that image_size and channels"
        )
    return normalise(pixels_and_labels(images, device)[0])
