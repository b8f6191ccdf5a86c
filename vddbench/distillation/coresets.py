"""Chooses train videos class by class: what coreset baselines share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import CannotServe, Distilled
from vddbench.spec import ConfigValue, Task


def ipc_of(task: Task, method: str) -> int:
    """The task's ipc, its number of clips per class. Raises ValueError for DATASET-full."""
    if task.ipc is None:
        raise CannotServe(f"{method} needs a budget; {task} has none: use {task.dataset}-ipc1, or the baseline `full`")
    return task.ipc


def rows_of(train: Split, label: int, count: int) -> np.ndarray:
    """The rows of a class's train videos. Raises ValueError if there are fewer than `count`."""
    rows = np.flatnonzero(train.labels == label)
    if len(rows) < count:
        name = train.spec.class_names[label]
        raise CannotServe(
            f"class {name!r} of {train.dataset} has {len(rows)} train videos, {count} are needed; use a smaller ipc"
        )
    return rows


def per_class(train: Split, count: int, choose: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """[K*count] rows, class by class. `choose` receives the rows of a class and returns `count` of them."""
    chosen = [choose(rows_of(train, label, count)) for label in range(train.spec.num_classes)]
    return np.concatenate(chosen)


def disjoint_parts(train: Split, ipc: int, mean_of: int, rng: np.random.Generator) -> list[np.ndarray]:
    """K*ipc arrays of rows, class by class. Each has `mean_of` random videos of its class, or fewer if the class is small.

    No video is in two arrays. Raises ValueError if a class has fewer videos than `ipc`.
    """
    parts: list[np.ndarray] = []
    for label in range(train.spec.num_classes):
        rows = rng.permutation(rows_of(train, label, ipc))
        size = min(mean_of, len(rows) // ipc)
        parts += list(rows[: ipc * size].reshape(ipc, size))
    return parts


def tuning_splits(train: Split) -> tuple[Split, Split]:
    """(the train videos that are not for validation, the validation videos), for a method that chooses a setting on these.

    Raises CannotServe if there are no validation videos, or if a class has no others.
    """
    held_out = train.index["validation"].to_numpy(bool)
    left = np.bincount(train.labels[~held_out], minlength=train.spec.num_classes)
    if not held_out.any() or not left.all():
        raise CannotServe(
            f"{train.dataset} has {held_out.sum()} validation videos, and class {train.spec.class_names[left.argmin()]!r} has "
            f"{left.min()} other train videos; a setting is chosen with at least one of each: prepare more videos, or leave "
            "out the class (--classes)"
        )
    return train.only(~held_out), train.only(held_out)


def as_pixels(train: Split, rows: np.ndarray, starts: np.ndarray, chosen: Mapping[str, ConfigValue] | None = None) -> Distilled:
    """Real uint8 clips and their labels, for the `pixels` decoder. chosen: values for the manifest."""
    tensors = {"clips": train.clips(rows, starts), "labels": torch.from_numpy(train.labels[rows])}
    return Distilled(tensors=tensors, chosen=dict(chosen or {}))
