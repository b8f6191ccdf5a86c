"""`vddbench batch plan`: plans evaluations that have no record yet, and the expected duration of each cell."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median

from vddbench import lookup
from vddbench.cluster.plan import RESULTS, Cell, Planned, distillations, evaluations, write_plan
from vddbench.records.files import MAX_JSON_BYTES
from vddbench.spec import Task
from vddbench.system.files import read_json
from vddbench.system.home import home
from vddbench.system.progress import say

BATCH = 8  # clips per step when measuring, as in leaderboard/studies/bench
MOST_RECORDS = 50  # that are read for each submission and student
MAX_SECONDS = 1e7

Durations = Mapping[tuple[Task, str | None], float]  # seconds per cell, by task and student


def evaluate_plan(
    paths: Sequence[Path],
    students: Sequence[str],
    seeds: Iterable[int],
    results: Path,
    out: Path,
    measure: bool = False,
    probes: bool = False,
) -> Planned:
    """Plans the evaluations that `results` does not have. Raises ValueError, LookupError before anything is written.

    measure: time training and testing on this machine for tasks and students that have no record. probes: also test
    each student without motion.
    """
    for student in students:
        if student not in (known := lookup.names("student")):
            raise LookupError(lookup.unknown("student", student, known))
    cells = list(evaluations(paths, students, seeds, probes))
    left = [cell for cell in cells if not os.path.exists(f"{results}{cell.makes.removeprefix(RESULTS)}")]  # noqa: PTH110 - fast
    left = with_durations(left, recorded_durations([results, out / RESULTS]))
    if measure:
        left = with_durations(left, measured_durations(left))
    return replace(write_plan(out, left, home()), recorded=len(cells) - len(left))


def distill_plan(methods: Sequence[str], task: Task, seeds: Iterable[int], preset: str | None, out: Path) -> Planned:
    """Raises LookupError for unknown names."""
    for method in methods:
        if method not in (known := lookup.names("baseline")):
            raise LookupError(lookup.unknown("baseline", method, known))
    return write_plan(out, distillations(methods, task, seeds, preset), home())


def with_durations(cells: Iterable[Cell], durations: Durations) -> list[Cell]:
    """The cells with `seconds` where it is known."""
    return [
        cell.model_copy(update={"seconds": round(durations[cell.task, cell.student], 1)})
        if (cell.task, cell.student) in durations
        else cell
        for cell in cells
    ]


def recorded_durations(roots: Sequence[Path]) -> Durations:
    """Median durations of records. Trusts their JSON, because a wrong duration only makes an estimate wrong."""
    durations: dict[tuple[Task, str | None], list[float]] = defaultdict(list)
    for folder in (folder for root in roots for folder in root.glob("*/*@*/*")):
        for file in islice(sorted(folder.glob("seed*.json")), MOST_RECORDS):
            try:
                task, record = Task.parse(folder.parts[-3]), read_json(file, MAX_JSON_BYTES)
                seconds = float(record["train_seconds"]) + float(record["test_seconds"])
            except (ValueError, KeyError, TypeError, OverflowError):
                continue
            if 0 < seconds < MAX_SECONDS:
                durations[task, folder.name].append(seconds)
    return {key: median(seconds) for key, seconds in durations.items()}


def measured_durations(cells: Sequence[Cell]) -> Durations:
    """Measures durations on this machine for evaluations without an expected one. Takes minutes per student on CPUs."""
    from vddbench.data.store import Store
    from vddbench.evaluation.speed import measure
    from vddbench.protocol import PROTOCOL
    from vddbench.system.device import best_device

    durations: dict[tuple[Task, str | None], float] = {}
    for task, student in sorted({(c.task, c.student) for c in cells if c.student is not None and c.seconds is None}):
        module, store = lookup.load("student", student), Store.open(task.dataset)
        say(f"measuring {student} on clips of {task}")
        speed = measure(module, store.spec, BATCH, best_device())
        clips = store.spec.num_classes * (task.ipc or 1)  # a set may hold more clips, but its batches are no larger
        train_clips = task.student_steps(store.spec) * task.batch_size(store.spec, clips, module.RECIPE)
        test_clips = int(((store.index["split"] == "test") | store.index["validation"]).sum()) * PROTOCOL.test_views
        durations[task, student] = train_clips * speed.train + test_clips * speed.test
    return durations
