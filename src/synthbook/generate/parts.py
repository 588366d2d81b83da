"""What the parts of a pipeline are, to the bit: networks, their settings, words of tokenizers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def sum_of(parts: Mapping[str, Any]) -> str:
    """Return 16 hex digits of the parts of a pipeline, by name: weights, settings and words.

    Where they lie, and with which version of a library they were written, does not count.
    """
    import torch

    told = hashlib.sha256()
    for name, part in sorted(parts.items()):
        words = part.get_vocab() if hasattr(part, "get_vocab") else {}
        said = [name, type(part).__name__, _settings(part), words]
        told.update(json.dumps(said, sort_keys=True, default=str).encode())
        state = part.state_dict() if hasattr(part, "state_dict") else {}
        for key, tensor in sorted(state.items()):
            told.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            told.update(flat.view(torch.uint8).numpy())
    return told.hexdigest()[:16]


def _settings(part: Any) -> Any:
    """Return the settings of a part, or those that it is."""
    config = getattr(part, "config", part)
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    return _named(config) if isinstance(config, Mapping) else None


def _named(config: Any) -> Any:
    """Return settings without what a library notes of itself."""
    if not isinstance(config, Mapping):
        return config
    kept = {str(name): _named(value) for name, value in config.items()}
    return {k: v for k, v in kept.items() if k[:1] != "_" and k != "transformers_version"}
