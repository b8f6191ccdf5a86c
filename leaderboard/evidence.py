"""Records found, verified and laid side by side: what ranking starts from. No torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vddbench import lookup
from vddbench.predictions import Predictions
from vddbench.records import path_of, read_record, record_files
from vddbench.spec import FULL, Record, Task

RANDOM = "random"  # the baseline that gain is measured over


@dataclass(frozen=True)
class Evaluated:
    """A record, which test videos its student got right, and the file it is of."""

    record: Record
    hits: np.ndarray  # [V] bool
    groups: np.ndarray  # [V] str, of the test videos; "" for one that stands alone
    path: Path = Path()
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))  # [V], when it was read from a file


@dataclass(frozen=True)
class Loaded:
    """Records that verified, and one line for each file that did not."""

    evaluated: list[Evaluated]
    refused: list[str]


def load(roots: Sequence[Path]) -> Loaded:
    """Every record under the results folders, verified against its predictions. Reruns are left out; of a cell that stands
    in two folders the first folder's record counts, of several in one folder (published by several labs) the earliest. Records
    of one prepared store answer the same test videos: those that disagree with most of them are refused."""
    found: dict[Path, tuple[Evaluated, str]] = {}
    refused = []
    for root in roots:
        here: dict[Path, list[tuple[Evaluated, str]]] = defaultdict(list)
        for path in record_files(root):
            cell = path.relative_to(root).with_name(path.stem.partition(".")[0])
            if cell in found:
                continue
            try:
                record, predictions = read_record(path)
            except (ValueError, OSError) as error:
                refused.append(str(error))
            else:
                here[cell].append((evaluated(record, predictions, path), predictions.videos_digest()))
        for cell, several in here.items():
            found[cell] = min(several, key=lambda each: (each[0].record.date, each[0].path.name))
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one, digest in found.values():
        answers[_store(one.record)][digest] += 1
    agreed = []
    for one, digest in found.values():
        [(most, count)] = answers[_store(one.record)].most_common(1)  # of equally many, the first one loaded
        if digest == most:
            agreed.append(one)
        else:
            refused.append(
                f"record {one.path}: its test videos, labels or groups differ from those of {count} other records of the "
                f"prepared store {one.record.store_digest[:8]}; evaluate it again on that store"
            )
    return Loaded(agreed, refused)


def evaluated(record: Record, predictions: Predictions, path: Path) -> Evaluated:
    hits = predictions.top5[:, 0] == predictions.label
    return Evaluated(record, hits, predictions.group, path, predictions.label)


def _store(record: Record) -> tuple[str, str]:
    return Task.parse(record.task).dataset, record.store_digest


def check_unmixed(records: Iterable[Record]) -> None:
    """Raises ValueError naming two records that can't share a table: other prepared stores, protocols or recipes."""
    first: dict[tuple[str, str], Record] = {}
    for record in records:
        dataset = Task.parse(record.task).dataset
        for key, what in (((dataset, "store"), "store_digest"), ((record.student, "student"), "protocol_hash")):
            other = first.setdefault(key, record)
            if getattr(other, what) != getattr(record, what):
                raise ValueError(
                    f"two records differ in {what} and can't share a table: "
                    f"{name(other)} ({getattr(other, what)[:8]}) and {name(record)} ({getattr(record, what)[:8]}); "
                    "evaluate both on the same prepared store and version, or rank them from separate folders"
                )


def majority(found: Sequence[Evaluated]) -> tuple[list[Evaluated], list[str]]:
    """(records that can share tables, one line for each of the others). Of a dataset those of the prepared store, of a student
    those of the protocol and recipe that most submissions were evaluated with, of equally many the ones evaluated first. For a
    board that strangers add to: one record of another store must not take its table away."""
    kept, lines = sorted(found, key=lambda each: each.record.date), []
    for kind, what in ((dataset_of, "store_digest"), (student_of, "protocol_hash")):
        votes: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for each in kept:
            votes[kind(each.record)][getattr(each.record, what)].add(each.record.submission_sha256)
        most = {name: max(of_name, key=lambda value: len(of_name[value])) for name, of_name in votes.items()}
        others = [each for each in kept if getattr(each.record, what) != most[kind(each.record)]]
        kept = [each for each in kept if getattr(each.record, what) == most[kind(each.record)]]
        lines += [
            f"record {name(each.record)}: its {what} is {getattr(each.record, what)[:8]}, that of most submissions on "
            f"{kind(each.record)} is {most[kind(each.record)][:8]}"
            for each in others
        ]
    return kept, lines


def dataset_of(record: Record) -> str:
    return Task.parse(record.task).dataset


def student_of(record: Record) -> str:
    return record.student


def check_references(records: Iterable[Record]) -> None:
    """Raises ValueError naming two records of a reference method that claim one distillation seed for different payloads:
    every gain or recovery of the table hangs on them."""
    first: dict[tuple[str, str, str, int], Record] = {}
    for record in filter(is_reference, records):
        other = first.setdefault((record.task, record.student, record.method, record.distill_seed), record)
        if other.submission_sha256 != record.submission_sha256:
            raise ValueError(
                f"two submissions say they are the reference {record.method!r} of distillation seed {record.distill_seed}: "
                f"{name(other)} and {name(record)}; keep the one that `vddbench distill` makes and rank without the other"
            )


def is_reference(record: Record) -> bool:
    """`full` on DATASET-full and `random` on a budgeted task. Hard labels only: each track's rows are held against them."""
    return record.track == "hard" and record.method == (FULL if is_full(record.task) else RANDOM)


def is_full(task: str) -> bool:
    return Task.parse(task).ipc is None


def name(record: Record) -> str:
    """How messages call a record: its path below the results folder."""
    return str(path_of(Path(), record).with_suffix(""))


def tables_of(found: Sequence[Evaluated], task: str | None = None, student: str | None = None) -> list[list[Evaluated]]:
    """What belongs to each table, (task, student), with the dataset's reference `full`. Raises LookupError, saying what there
    is, when a task or student is asked for that no record has."""
    of_task = [one for one in found if task in {None, one.record.task}]
    known = {"task": {one.record.task for one in found}, "student": {one.record.student for one in of_task}}
    for kind, asked in (("task", task), ("student", student)):
        if asked is not None and asked not in known[kind]:
            raise LookupError(lookup.unknown(kind, asked, sorted(known[kind])))
    own: dict[tuple[str, str], list[Evaluated]] = defaultdict(list)
    for one in of_task:
        if student in {None, one.record.student}:
            own[(one.record.task, one.record.student)].append(one)
    full: dict[tuple[str, str], list[Evaluated]] = defaultdict(list)
    for one in found:
        if is_reference(one.record) and is_full(one.record.task):
            full[(Task.parse(one.record.task).dataset, one.record.student)].append(one)
    return [
        cells if is_full(name_) else cells + full[(Task.parse(name_).dataset, student_)]
        for (name_, student_), cells in sorted(own.items())
    ]
