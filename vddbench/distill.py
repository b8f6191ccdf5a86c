"""Runs a bundled baseline on the train split of a prepared dataset and writes its submission."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vddbench import submission
from vddbench.atomic import try_to_write
from vddbench.environment import device_name
from vddbench.lookup import load
from vddbench.progress import say
from vddbench.spec import Task
from vddbench.store import open_train
from vddbench.train import best_device


def distill(method: str, task: Task, seed: int, out: Path, force: bool = False) -> Path:
    """Writes `out/TASK/METHOD` (`METHOD-sN` for seed N > 0). Same seed, same bytes on the CPU.

    The method is given the train split and a seeded generator; no other data. Raises ValueError when the method can't
    serve the task, LookupError for unknown names.
    """
    baseline = load("baseline", method)
    train = open_train(task.dataset)
    config = getattr(baseline, "CONFIGS", {}).get(str(task), baseline.Config())
    try_to_write(out)
    started = time.monotonic()
    made = baseline.distill(train, task, config, np.random.default_rng(seed))
    seconds = time.monotonic() - started
    path = submission.write(
        out,
        made.tensors,
        method=method,
        task=str(task),
        seed=seed,
        decoder=baseline.DECODER,
        config={**asdict(config), **made.chosen},
        paper=baseline.PAPER,
        distill_seconds=round(seconds, 3),
        distill_hardware=device_name(best_device()),
        store_digest=train.digest,
        spec=train.spec,
        force=force,
    )
    say(f"{path}: distilled in {seconds:.1f} s")
    return path
