"""Does every student fit its set? The study behind the protocol's input and initial weights; `fit.csv` holds its rows.

A student that did not learn its own set measures a failed training, not the set. Real clips of a class are drawn at random from
the train split without its validation videos; a student is trained on them under a variant of the protocol, and then asked for
the clips that it was trained on and for the validation videos. Sets of any size get the steps and the batch of IPC 1, as
submissions do. Nothing is chosen on test videos.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from vddbench.data.build import build_store
from vddbench.data.datasets.movingshapes import Draw
from vddbench.data.store import Split, Store
from vddbench.evaluation.fit import measure
from vddbench.evaluation.predict import predict
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import StudentModule, convnet3d
from vddbench.evaluation.train import train
from vddbench.leaderboard.studies.rows import Rows
from vddbench.spec import ClipSet, DatasetSpec, Task, Video
from vddbench.system.device import best_device
from vddbench.system.progress import say

FITTED = 0.1  # mean loss of a batch below which a student has fitted its set

# --- variants of the protocols v1 and v2, which limit no gradient ----------------------------------------------------


def v1(network: nn.Module) -> nn.Module:
    """Protocol v1: clips are normalised with constants alone."""
    network.standardise = nn.Identity()
    return network


def he(network: nn.Module) -> nn.Module:
    """Initial weights that keep the variance of activations from layer to layer (He et al. 2015)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


VARIANTS: dict[str, tuple[list[Callable[[nn.Module], nn.Module]], float]] = {
    "v1": ([v1], 0.01),
    "v2": ([], 0.01),
    "v2_he": ([he], 0.01),
    "v2_lr0.02": ([], 0.02),
    "v2_lr0.03": ([], 0.03),
}


def variant(name: str) -> StudentModule:
    """convnet3d, changed. Raises LookupError for an unknown name."""
    if name not in VARIANTS:
        raise LookupError(f"variant {name!r} is unknown; allowed: {', '.join(VARIANTS)}")
    changes, lr = VARIANTS[name]

    def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> nn.Module:
        network: nn.Module = convnet3d.build(clip_shape, num_classes)
        for change in changes:
            network = change(network)
        return network

    return SimpleNamespace(RECIPE=convnet3d.RECIPE.model_copy(update={"lr": lr}), build=build, BF16=convnet3d.BF16)


# --- clips that are nearly alike -------------------------------------------------------------------------------------

ALIKE = DatasetSpec(
    class_names=("nod", "raise", "sweep", "turn"),
    frames=8,
    size=64,
    stride=1,
    resize=None,
    hflip_keeps_label=False,
    num_videos=None,
    validation_groups=("validation",),
    student_steps={"1": 200, "5": 200, "10": 200, "full": 200},
    source="leaderboard/studies/fit.py, generated",
    licence="Apache-2.0",
)


def alike_videos() -> list[Video]:
    """24 train, 10 validation and 10 test clips of each class."""
    parts: list[tuple[str, int, Literal["train", "test"]]]
    parts = [("train", 24, "train"), ("validation", 10, "train"), ("test", 10, "test")]
    return [
        Video(
            id=f"{part}/{name}/{i:03d}", path=None, label=label, split=split, group="validation" if part == "validation" else ""
        )
        for label, name in enumerate(ALIKE.class_names)
        for part, count, split in parts
        for i in range(count)
    ]


def alike(video: Video) -> np.ndarray:
    """Four actions of one person before one background: a bar of 4 x 14 slightly brighter pixels moves on one picture."""
    texture = np.frombuffer(hashlib.shake_256(b"one background").digest(16 * 16 * 3), np.uint8).reshape(16, 16, 3)
    background = texture.repeat(4, 0).repeat(4, 1).astype(np.int64) // 2 + 64
    bits = hashlib.shake_256(f"alike {video.id}".encode()).digest(40 + 8 * 64 * 64)
    draw = Draw(bits[:40])
    top, left = 24 + draw.between(-2, 2), 24 + draw.between(-2, 2)
    noise = np.frombuffer(bits[40:], np.uint8).reshape(8, 64, 64, 1).astype(np.int64) % 5 - 2
    frames = np.empty((8, 64, 64, 3), np.int64)
    for t in range(8):
        swing = (0, 3, 6, 8, 8, 6, 3, 0)[t]
        y, x, high, wide = {
            0: (top + swing // 2, left, 4, 14),
            1: (top - swing, left, 14, 4),
            2: (top, left + swing, 14, 4),
            3: (top, left, 4 + swing, 14 - swing),
        }[video.label]
        frames[t] = background
        frames[t, y : y + high, x : x + wide] += 24
    clip: np.ndarray = np.clip(frames + noise, 0, 255).astype(np.uint8)
    return clip


def open_store(name: str) -> Store:
    """A prepared store, or `alike`, which is made on first use."""
    return build_store("alike", ALIKE, alike_videos(), render=alike).store if name == "alike" else Store.open(name)


# --- one student -----------------------------------------------------------------------------------------------------


class Watched(Session):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def after_step(self, loss: torch.Tensor, micro_batch: int, *, last: bool) -> None:
        self.losses.append(float(loss))
        super().after_step(loss, micro_batch, last=last)


def real_clips(split: Split, per_class: int, seed: int) -> ClipSet:
    """Random clips of `per_class` random videos of each class, or of all if a class has fewer."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(split.labels == label))[:per_class] for label in range(split.spec.num_classes)]
    rows = np.concatenate(chosen)
    return ClipSet(clips=split.clips(rows, split.random_starts(rows, rng)), labels=torch.from_numpy(split.labels[rows]))


def fit(
    datasets: Sequence[str],
    per_class: Sequence[int],
    variants: Sequence[str],
    steps: int | None,
    seeds: Sequence[int],
    out: Path,
) -> pd.DataFrame:
    """Trains the students that have no row in `out/fit.csv` yet, adds their rows, and prints a summary. Returns all rows.

    steps: of training; None: as the dataset says.
    """
    rows = Rows(out / "fit.csv")
    for seed, count, dataset, name in product(seeds, per_class, datasets, variants):
        store, module, session = open_store(dataset), variant(name), Watched()
        task = Task(dataset=dataset, ipc=1)
        num_steps = steps or task.student_steps(store.spec)
        if rows.has({"dataset": dataset, "per_class": count, "variant": name, "steps": num_steps, "seed": seed}):
            continue
        clipset = real_clips(store.holdout_train, count, seed)
        batch = task.batch_size(store.spec, len(clipset), module.RECIPE)
        trained = train(
            clipset, store.spec, module, steps=num_steps, batch=batch, seed=seed, session=session, gradient_norm=math.inf
        )
        fitted = [step for step, loss in enumerate(session.losses, 1) if loss < FITTED]
        row = {
            "dataset": dataset, "per_class": count, "variant": name, "seed": seed, "steps": num_steps, "batch": batch,
            "first_fitted_step": fitted[0] if fitted else "", "last_loss": round(float(np.mean(session.losses[-10:])), 4),
            "largest_loss_after_fit": round(max(session.losses[fitted[0] :], default=0.0), 3) if fitted else "",
            "set_top1": round(measure(trained.model, clipset, store.spec, best_device()).top1, 4),
            "validation_top1": round(predict(trained.model, store.validation, best_device()).scores()["top1"], 4),
            "precision": trained.precision,
        }  # fmt: skip
        say(" ".join(f"{key}={value}" for key, value in row.items()))
        rows.add(row)
    table = rows.table()
    summary = table.assign(fitted=table["set_top1"] >= 0.95).groupby(["dataset", "per_class", "variant", "steps"])
    say(summary[["fitted", "set_top1", "validation_top1"]].mean().assign(students=summary.size()).round(3).to_string())
    return table
