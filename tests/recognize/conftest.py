"""What tests of recognition share: an own cache, and a small CLIP of the book's kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbook.recognize import language_image
from synthbook.recognize.clip import Encoder, encoder
from synthbook.recognize.language_image import ClipConfig


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def small_clip() -> ClipConfig:
    """Return the settings of a CLIP that is made in a moment."""
    return ClipConfig(
        embed_dim=16, width=2, image_size=32, text_width=16, text_layers=1, text_heads=2, merges=300
    )


@pytest.fixture(scope="module")
def look(small_clip: ClipConfig, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Return such a CLIP with random weights, read from a folder."""
    place = tmp_path_factory.mktemp("clip")
    language_image.save(language_image.create(small_clip, seed=0).eval(), small_clip, place)
    return encoder(f"local-dir:{place}")
