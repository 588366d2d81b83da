"""The named sets for a user: a list of them, and their download on an explicit command."""

from __future__ import annotations

from pathlib import Path

from synthbook.data.registry import REGISTRY, entry
from synthbook.errors import InputError


def available(data_root: str = "") -> list[dict]:
    """Return what `synthbook data` lists: name, origin, licence, present, how to get it, ..."""
    root = Path(data_root).expanduser() if data_root else None
    return [
        {
            "name": one.name,
            "origin": one.origin,
            "licence": one.licence,
            "image_size": one.image_size or "varies",
            "classes": one.num_classes,
            "images": sum(one.counts.values()),
            "citation": one.citation,
            "present": one.present(root),
            "how": one.how_to_get(data_root or "DATA_ROOT"),
        }
        for one in REGISTRY.values()
    ]


def fetch(name: str, data_root: str) -> Path:
    """Download the named set's official files into ``data_root``, checked against their md5.

    The one function that uses the network, and only when a user calls it. Returns the folder.
    """
    one = entry(name)
    if not data_root:
        raise InputError(f"fetch('{name}') needs data_root, the folder to download into")
    root = Path(data_root).expanduser()
    if one.bundled or one.official(root):
        return root
    from torchvision import datasets

    root.mkdir(parents=True, exist_ok=True)
    if one.url:
        datasets.utils.download_and_extract_archive(one.url, str(root), md5=one.md5)
    elif not one.parts:
        getattr(datasets, one.torchvision)(str(root), download=True)
    for options in one.parts.values():
        getattr(datasets, one.torchvision)(str(root), download=True, **options)
    return root
