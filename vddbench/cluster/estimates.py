"""What cells are expected to take: the median of what records of the same task and student took, or a measurement here."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from vddbench.cluster.plan import Cell
from vddbench.system.progress import say

BATCH = 8  # clips a step when measuring, as `python leaderboard/studies bench`
MOST = 50  # records read of a submission and student
MAX_JSON_BYTES = 1_000_000
MAX_SECONDS = 1e7


@dataclass(frozen=True)
class Timing:
    """Of one record."""

    task: str
    student: str
    seconds: float


def timings(roots: Sequence[Path]) -> list[Timing]:
    """From records' JSON alone: a time that is wrong makes an estimate wrong and nothing else."""
    found = []
    for root in roots:
        for folder in sorted(root.glob("*/*@*/*")):
            for file in islice(sorted(folder.glob("seed*.json")), MOST):
                found += _timing(file, folder)
    return found


def _timing(file: Path, folder: Path) -> list[Timing]:
    if file.stat().st_size > MAX_JSON_BYTES:
        return []
    try:
        record = json.loads(file.read_bytes())
        seconds = float(record["train_seconds"]) + float(record["test_seconds"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return []
    return [Timing(folder.parts[-3], folder.name, seconds)] if 0 < seconds < MAX_SECONDS else []


def with_estimates(cells: Iterable[Cell], known: Sequence[Timing]) -> list[Cell]:
    """The cells with `seconds` where records tell."""
    by_task: dict[tuple[str, str | None], list[float]] = defaultdict(list)
    for timing in known:
        by_task[timing.task, timing.student].append(timing.seconds)
    found = []
    for cell in cells:
        seconds = by_task.get((cell.task, cell.student)) if cell.kind == "evaluate" else None
        found.append(cell.model_copy(update={"seconds": round(median(seconds), 1)}) if seconds else cell)
    return found


def measured(cells: Sequence[Cell]) -> list[Timing]:
    """A timing of this machine for each task and student of evaluations that no record tells of: minutes on CPUs."""
    import torch

    from vddbench.data.store import Store
    from vddbench.evaluation.speed import measure
    from vddbench.lookup import load
    from vddbench.protocol import V1
    from vddbench.spec import Task
    from vddbench.system.device import best_device

    device: torch.device = best_device()
    found = []
    for name, student in sorted({(c.task, c.student) for c in cells if c.student is not None and c.seconds is None}):
        task, module = Task.parse(name), load("student", student)
        store = Store.open(task.dataset)
        say(f"measuring {student} on clips of {name}")
        speed = measure(module, store.spec, BATCH, device)
        clips = store.spec.num_classes * (task.ipc or 1)  # a set may hold more; its batches don't
        trained = task.student_steps(store.spec) * task.batch_size(store.spec, clips, module.RECIPE)
        tested = int(((store.index["split"] == "test") | store.index["validation"]).sum()) * V1.test_views
        seconds = trained * speed.train + tested * speed.test
        found.append(Timing(name, student, seconds))
    return found
