"""The metrics that rows have, with unit and words, and what each chapter produces."""

from __future__ import annotations

# metric -> (unit, words). Shares, ratios and correlations have no unit.
METRICS: dict[str, tuple[str, str]] = {
    "top1_accuracy": ("points", "accuracy"),
    "early_train_accuracy": ("points", "training accuracy in the first eighth"),
    "final_train_accuracy": ("points", "training accuracy at the end"),
    "final_val_accuracy": ("points", "validation accuracy at the end"),
    "train_accuracy": ("points", "training accuracy"),
    "val_accuracy": ("points", "validation accuracy"),
    "generalisation_gap": ("points", "training minus validation accuracy"),
    "class_agreement": ("points", "images of the class that was asked for"),
    "epochs_to_level": ("epochs", "epochs to 95 % of the last training accuracy"),
    "mean_cross_entropy": ("nats", "mean loss"),
    "median_cross_entropy": ("nats", "median loss"),
    "fd": ("FD", "Fréchet distance"),
    "best_fd": ("FD", "Fréchet distance, best snapshot"),
    "last_fd": ("FD", "Fréchet distance, last snapshot"),
    "steps_to_95": ("steps", "steps to 95 % of the best distance from scratch"),
}


def unit_of(metric: str) -> str:
    """Return the unit of a metric's differences; "" for shares, ratios and correlations."""
    return METRICS.get(metric, ("", ""))[0]
