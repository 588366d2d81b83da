"""Small images as one picture, `TILES` in a row: as they lie beside the models that made them."""

from __future__ import annotations

import numpy as np

TILES = 32  # images in a row


def tiles_of(mosaic: np.ndarray) -> np.ndarray:
    """Return the images of a mosaic [R S, TILES S, 3], row by row, uint8 [R TILES, S, S, 3]."""
    side = mosaic.shape[1] // TILES
    rows = mosaic.reshape(-1, side, TILES, side, 3)
    return rows.swapaxes(1, 2).reshape(-1, side, side, 3)


def mosaic_of(images: np.ndarray) -> np.ndarray:
    """Return images uint8 [N, S, S, 3] as a mosaic of `TILES` a row; black where there is none."""
    side = images.shape[1]
    blank = np.zeros((-len(images) % TILES, side, side, 3), np.uint8)
    rows = np.concatenate([images, blank]).reshape(-1, TILES, side, side, 3)
    return rows.swapaxes(1, 2).reshape(-1, TILES * side, 3)
