"""Figures: one look, and one colour, marker and line for each name in the whole book."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.errors import InputError
from synthbook.page.looks import COLORS, LABELS, LINES, MARKERS, PALETTE, SHAPES, canonical

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLORS", "LABELS", "PALETTE", "band", "color", "heatmap", "image_grid", "label", "mark", "png",
    "style",
]  # fmt: skip

# Without these a PNG differs between two runs of the same code.
METADATA = {"Software": None, "Creation Time": None}
VISIBLE = 1.0  # of 255, on average over the pixels
SETTINGS: dict[str, Any] = {
    "figure.figsize": (6.4, 3.0),
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 110,
    "savefig.facecolor": "white",
    "savefig.bbox": "tight",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 13,
    "axes.labelsize": 13,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    # A phone shows the 700 pixels of a figure at half their size.
    "font.size": 13,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "lines.linewidth": 2.0,
    "lines.markersize": 7,
    "image.interpolation": "nearest",
    "svg.hashsalt": "synthbook",
}


def style() -> None:
    """Set the book's look for all figures after this call (matplotlib, and Jupyter's PNGs)."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(SETTINGS)
    mpl.rcParams["axes.prop_cycle"] = cycler(color=PALETTE)
    if "ipykernel" not in sys.modules:
        return
    import matplotlib.pyplot as plt
    from IPython import get_ipython
    from matplotlib.figure import Figure

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return
    plt.switch_backend(mpl.get_backend())  # else it is set up later, and undoes what follows
    shell.display_formatter.formatters["image/png"].for_type(Figure, png)


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG without date or version, some third of the usual size.

    Lines and text need few colours: 256 are kept, unless that would change the picture visibly,
    as in a grid of photographs.
    """
    from PIL import Image

    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight", metadata=METADATA)
    full = Image.open(stream).convert("RGB")
    few = full.quantize(256, dither=Image.Dither.NONE)
    change = np.asarray(full, np.int16) - np.asarray(few.convert("RGB"), np.int16)
    result = io.BytesIO()
    kept = few if np.abs(change).max(axis=-1).mean() <= VISIBLE else full
    kept.save(result, format="png", optimize=True)
    return result.getvalue()


def _digest(name: str) -> bytes:
    return hashlib.sha256(canonical(name).encode()).digest()


def color(name: str) -> str:
    """Return the colour of a method or source, as "#rrggbb"; a new name always gets the same."""
    return COLORS.get(canonical(name)) or PALETTE[_digest(name)[0] % len(PALETTE)]


def label(name: str) -> str:
    """Return how a method or source is written in a figure or table."""
    return LABELS.get(canonical(name), name)


def mark(name: str) -> dict[str, str]:
    """Return color, marker and linestyle of a name, as keywords for ``Axes.plot``.

    Shape and line tell two names apart where colour cannot, in print or for colour-blind readers.
    """
    key, digest = canonical(name), _digest(name)
    marker, line = SHAPES.get(
        key, (MARKERS[digest[1] % len(MARKERS)], LINES[digest[2] % len(LINES)])
    )
    return {"color": color(name), "marker": marker, "linestyle": line}


def _axes(ax: Axes | None) -> Axes:
    import matplotlib.pyplot as plt

    return plt.gca() if ax is None else ax


def image_grid(
    images: np.ndarray,
    rows: int,
    columns: int,
    titles: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    row_titles: Sequence[str] | None = None,
) -> Axes:
    """Draw images in a grid, row by row, each pixel as a sharp square.

    Args:
        images: uint8 ``[N, H, W, C]`` with C 1 or 3; the first ``rows * columns`` are drawn, and
            with fewer the rest stays white.
        rows, columns: shape of the grid.
        titles: one a column, above it.
        ax: axes to draw on; None: the current ones.
        row_titles: one a row, on its left.

    Raises:
        InputError: if the images have another type or shape, or the titles another number.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise InputError(
            f"images are {images.dtype} {list(images.shape)}; give uint8 [N, H, W, 1 or 3]"
        )
    for held, wanted, what in ((titles, columns, "columns"), (row_titles, rows, "rows")):
        if held is not None and len(held) != wanted:
            raise InputError(f"{len(held)} titles for {wanted} {what}; give one each")
    _, height, width, channels = images.shape
    # Small images are blown up here, so that the gap between them can be thin.
    factor = max(1, round(64 / max(height, width)))
    gap = max(2, factor)
    step_y, step_x = height * factor + gap, width * factor + gap
    sheet = np.full((rows * step_y - gap, columns * step_x - gap, 3), 255, np.uint8)
    for place, image in enumerate(images[: rows * columns]):
        y, x = place // columns * step_y, place % columns * step_x
        large = image.repeat(factor, axis=0).repeat(factor, axis=1)
        sheet[y : y + height * factor, x : x + width * factor] = (
            large if channels == 3 else large.repeat(3, axis=2)
        )
    ax = _axes(ax)
    ax.imshow(sheet, interpolation="nearest")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.xaxis.tick_top()
    ax.set_xticks([(k + 0.5) * step_x - gap / 2 for k in range(columns)] if titles else [])
    ax.set_yticks([(k + 0.5) * step_y - gap / 2 for k in range(rows)] if row_titles else [])
    ax.set_xticklabels(list(titles or []))
    ax.set_yticklabels(list(row_titles or []))
    return ax


def band(ax: Axes | None, x: Sequence[float], curves: np.ndarray, name: str, **line: Any) -> Axes:
    """Draw the mean curve over seeds, in a band of one standard deviation to either side.

    Args:
        ax: axes to draw on; None: the current ones.
        x: ``[epochs]``, such as the number of the epoch.
        curves: ``[seeds, epochs]``, or ``[epochs]`` for one seed; one seed has no band.
        name: method or source: gives colour, line and the entry of the legend.
        line: further keywords for ``Axes.plot``, such as ``linestyle`` or ``label``.

    Raises:
        InputError: if x and curves differ in length.
    """
    curves = np.atleast_2d(np.asarray(curves, dtype=float))
    if curves.ndim != 2 or curves.shape[1] != len(x):
        raise InputError(
            f"curves of '{name}' have the shape {list(curves.shape)} over {len(x)} points of x; "
            "give [seeds, points]"
        )
    ax = _axes(ax)
    look = mark(name) | {"label": label(name), "markevery": max(1, len(x) // 8)} | line
    mean = curves.mean(axis=0)
    ax.plot(x, mean, **look)
    if len(curves) > 1:
        spread = curves.std(axis=0, ddof=1)
        ax.fill_between(
            x, mean - spread, mean + spread, color=look["color"], alpha=0.18, linewidth=0
        )
    return ax


def _luminance(color: Sequence[float]) -> float:
    """Return the relative luminance of WCAG 2.2: black and white contrast alike with 0.18."""
    rgb = np.asarray(color[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def seeds(table: pd.DataFrame) -> str:
    """Return how many seeds the rows of a table have, in words: "1 seed", "5 seeds"."""
    count = table["seed"].nunique()
    return "1 seed" if count == 1 else f"{count} seeds"


def heatmap(
    matrix: Any,
    ax: Axes | None = None,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    fmt: str = ".1f",
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Axes:
    """Draw a matrix of numbers, such as accuracies by train and test source, with its numbers.

    The scale (cividis) runs from dark blue to yellow in even steps of lightness, and each number
    is dark on light or light on dark. NaN stays white: not run.

    Args:
        matrix: ``[R, C]`` or a DataFrame, whose index and columns then name rows and columns.
        ax: axes to draw on; None: the current ones.
        rows, columns: names along the sides, written as in `label`.
        fmt: format of the numbers.
        unit: written beside the colour bar; "" draws none.
        low, high: ends of the colour scale; None: the smallest and largest number.
    """
    import seaborn as sns

    rows = rows if rows is not None else getattr(matrix, "index", None)
    columns = columns if columns is not None else getattr(matrix, "columns", None)
    numbers = np.asarray(matrix, dtype=float)
    ax = sns.heatmap(
        numbers, ax=_axes(ax), annot=True, fmt=fmt, cmap="cividis", vmin=low, vmax=high,
        linewidths=1, linecolor="white", mask=np.isnan(numbers), cbar=bool(unit),
        cbar_kws={"label": unit} if unit else None,
        xticklabels="auto" if columns is None else [label(str(name)) for name in columns],
        yticklabels="auto" if rows is None else [label(str(name)) for name in rows],
    )  # fmt: skip
    faces = ax.collections[0].get_facecolors()[~np.isnan(numbers).ravel()]
    for text, face in zip(ax.texts, faces, strict=True):
        text.set_color("black" if _luminance(face) > 0.18 else "white")
    ax.grid(False)
    ax.tick_params(length=0)
    ax.set_yticklabels(ax.get_yticklabels(), rotation=0)
    return ax
