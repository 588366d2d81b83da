"""Images in tar files: the same as those of folders, and damaged ones by name."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthbook.data.shards import load_shards
from synthbook.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def entry(k: int, label: Any, **more: Any) -> dict[str, bytes]:
    record = json.dumps({"label": label, **more}).encode()
    return {f"{k:09d}.png": png(PIXELS[k]), f"{k:09d}.json": record}


def test_images_come_in_the_order_of_files_with_their_classes(tmp_path: Path) -> None:
    write(tmp_path / "b.tar", entry(0, 7, **{"class": "dog"}) | entry(1, 2, **{"class": "cat"}))
    write(tmp_path / "a.tar", entry(2, 2, **{"class": "cat"}))
    found = load_shards(tmp_path, image_size=4)
    assert (found.classes, found.labels.tolist()) == (("cat", "dog"), [0, 1, 0])
    centre = Image.fromarray(PIXELS[2][:, 1:7]).resize((4, 4), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found.images[0], np.asarray(centre))
    assert load_shards(tmp_path, image_size=6, channels=1).images.shape == (3, 6, 6, 1)
    with pytest.raises(InputError, match="6 x 8"):
        load_shards(tmp_path)  # no squares


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"1.png": png(PIXELS[0])}, r"1\.png has no label in a 1\.json"),
        (entry(0, -1), "has no label"),
        (entry(0, "dog"), "has no label"),
        ({"1.png": png(PIXELS[0]), "1.json": b"[1]"}, "has no label"),
        ({"1.png": png(PIXELS[0]), "1.json": b"{"}, "no whole shard"),
        ({"1.png": b"no image", "1.json": b'{"label": 0}'}, "unreadable"),
        ({"1.png": png(PIXELS[0])[:-60], "1.json": b'{"label": 0}'}, "unreadable"),
    ],
)
def test_what_is_no_shard_is_named(members: dict, words: str, tmp_path: Path) -> None:
    write(tmp_path / "x.tar", members)
    with pytest.raises(InputError, match=words):
        load_shards(tmp_path, image_size=4)


def test_half_a_shard_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no tar files"):
        load_shards(tmp_path)
    write(tmp_path / "x.tar", entry(0, 0) | entry(1, 0))
    whole = (tmp_path / "x.tar").read_bytes()
    for cut in (100, 700):
        (tmp_path / "x.tar").write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"x\.tar is no whole shard|has no label"):
            load_shards(tmp_path, image_size=4)
