"""Records found, verified and laid side by side: what ranking starts from. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vddbench import lookup
from vddbench.data.fingerprint import equivalent_stores
from vddbench.records.files import path_of, read_record, record_files
from vddbench.records.predictions import Predictions
from vddbench.records.record import Record
from vddbench.spec import FULL, Task

Cell = tuple[Task, str, str, str, int]  # task, folder and sha256 of the submission, student, seed
RANDOM = "random"  # the baseline that gain is measured over


@dataclass(frozen=True)
class Evaluated:
    """A record, which test videos its student got right, and the file it is of."""

    record: Record
    hits: np.ndarray  # [V] bool
    groups: np.ndarray  # [V] str, of the test videos; "" for one that stands alone
    path: Path = Path()
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))  # [V], when it was read from a file
    answers: int = 2  # how many classes its student ever answered
    family: str = ""  # digest of the store that stands for its own, where another one does

    @property
    def store(self) -> tuple[str, str]:
        """(dataset, digest): records of one store can share a table."""
        return dataset_of(self.record), self.family or self.record.store_digest


@dataclass(frozen=True)
class Loaded:
    """Valid records, and one line for each invalid file."""

    evaluated: list[Evaluated]  # the authors' records, which are ranked
    refused: list[str]
    reruns: tuple[Evaluated, ...] = ()  # records of those who ran a cell again (`Record.by`)


def load(roots: Sequence[Path]) -> Loaded:
    """Every author's record under the results folders, verified against its predictions. Re-runs are left out, the author's own
    (`--force`) and those of others. If a cell is recorded in two folders, the first folder's record counts; of several records
    in one folder (published by several labs) the earliest. All records of one prepared store have the same test videos:
    records that disagree with most submissions of their store are refused.
    """
    found: dict[Cell, tuple[Evaluated, str]] = {}
    reruns: list[Evaluated] = []
    refused = []
    for root in roots:
        here: dict[Cell, list[tuple[Evaluated, str]]] = defaultdict(list)
        for path in record_files(root):
            try:
                record, predictions = read_record(path)
            except (ValueError, OSError) as error:
                refused.append(str(error))
                continue
            if record.by is not None:
                reruns.append(evaluated(record, predictions, path))
                continue
            cell = record.task, record.folder, record.submission_sha256, record.student, record.seed
            if cell not in found:
                here[cell].append((evaluated(record, predictions, path), predictions.videos_digest()))
        for cell, several in here.items():
            found[cell] = min(several, key=lambda each: (each[0].record.date, each[0].path))
    of_one = equivalent_stores([one.record for one, _ in found.values()])
    agreed = agreeing(
        [(replace(one, family=of_one[one.store]), digest) for one, digest in found.values()],
        refused,
    )
    return replace(agreed, reruns=tuple(reruns))


def agreeing(found: Sequence[tuple[Evaluated, str]], refused: list[str]) -> Loaded:
    """Each with the digest of its test videos: most submissions of a prepared store say which those are, of equally many the
    first. What is the same for all records of a store is kept once."""
    answers: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    first: dict[str, Evaluated] = {}
    for one, digest in found:
        answers[one.store][digest].add(one.record.submission_sha256)
        first.setdefault(digest, one)
    agreed = []
    for one, digest in found:
        of_store = answers[one.store]
        most = max(of_store, key=lambda each: len(of_store[each]))
        if digest == most:
            agreed.append(replace(one, groups=first[digest].groups, labels=first[digest].labels))
        else:
            refused.append(
                f"record {one.path}: its test videos, labels or groups differ from those of {len(of_store[most])} other "
                f"submissions on the prepared store {one.record.store_digest[:8]}; evaluate it again on that store"
            )
    return Loaded(agreed, refused)


def evaluated(record: Record, predictions: Predictions, path: Path) -> Evaluated:
    hits = predictions.top5[:, 0] == predictions.label
    return Evaluated(record, hits, predictions.group, path, predictions.label, len(np.unique(predictions.top5[:, 0])))


def check_unmixed(found: Iterable[Evaluated]) -> None:
    """Raises ValueError naming two records that can't share a table: other prepared stores, protocols or recipes."""
    first: dict[tuple[str, str], Evaluated] = {}
    for each in found:
        for what, (of, value) in unmixed(each).items():
            other = first.setdefault((what, of), each)
            if unmixed(other)[what] != (of, value):
                raise ValueError(
                    f"two records differ in {what} and can't share a table: {name(other.record)} "
                    f"({unmixed(other)[what][1][:8]}) and {name(each.record)} ({value[:8]}); "
                    "evaluate both on the same prepared store and version, or rank them from separate folders"
                )


def unmixed(each: Evaluated) -> dict[str, tuple[str, str]]:
    """What a table must not mix: field -> (whose it is, its value)."""
    return {"store_digest": each.store, "protocol_hash": (each.record.student, each.record.protocol_hash)}


def majority(found: Sequence[Evaluated]) -> tuple[list[Evaluated], list[str]]:
    """(records that can share tables, one line for each of the others). Of a dataset those of the prepared store, of a student
    those of the protocol and recipe that most submissions were evaluated with, of equally many the ones evaluated first; of two
    payloads of one distillation seed of a reference the one evaluated first; of students those that there are. For a board that
    strangers add to: one record must not take a table away."""
    students = set(lookup.names("student"))
    kept = sorted((each for each in found if each.record.student in students), key=lambda each: each.record.date)
    lines = [
        f"record {name(each.record)}: there is no student {each.record.student}"
        for each in found
        if each.record.student not in students
    ]
    for what in ("store_digest", "protocol_hash"):
        votes: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for each in kept:
            of, value = unmixed(each)[what]
            votes[of][value].add(each.record.submission_sha256)
        most = {(of, max(values, key=lambda value: len(values[value]))) for of, values in votes.items()}
        others = [each for each in kept if unmixed(each)[what] not in most]
        kept = [each for each in kept if unmixed(each)[what] in most]
        for each in others:
            of, value = unmixed(each)[what]
            due = next(value for name, value in most if name == of)
            lines.append(
                f"record {name(each.record)}: its {what} is {value[:8]}, that of most submissions on {of} is {due[:8]}"
            )
    first: dict[tuple[Task, str, str, int], str] = {}
    for each in filter(lambda each: is_reference(each.record), kept):
        first.setdefault(_claim(each.record), each.record.submission_sha256)
    later = [
        each for each in kept if first.get(_claim(each.record), each.record.submission_sha256) != each.record.submission_sha256
    ]
    lines += [f"record {name(each.record)}: another payload is the reference of this distillation seed" for each in later]
    return [each for each in kept if each not in later], lines


def dataset_of(record: Record) -> str:
    return record.task.dataset


def check_references(records: Iterable[Record]) -> None:
    """Raises ValueError naming two records of a reference method that claim one distillation seed for different payloads:
    every gain or recovery of the table hangs on them."""
    first: dict[tuple[Task, str, str, int], Record] = {}
    for record in filter(is_reference, records):
        other = first.setdefault(_claim(record), record)
        if other.submission_sha256 != record.submission_sha256:
            raise ValueError(
                f"two submissions say they are the reference {record.method!r} of distillation seed {record.distill_seed}: "
                f"{name(other)} and {name(record)}; keep the one that `vddbench distill` makes and rank without the other"
            )


def _claim(record: Record) -> tuple[Task, str, str, int]:
    """What only one payload of a reference can be."""
    return record.task, record.student, record.method, record.distill_seed


def is_reference(record: Record) -> bool:
    """`full` on DATASET-full and `random` on a budgeted task. Hard labels only: each track's rows are held against them."""
    return record.track == "hard" and record.method == (FULL if record.task.is_full else RANDOM)


def name(record: Record) -> str:
    """How messages call a record: its path below the results folder."""
    return str(path_of(Path(), record).with_suffix(""))


def tables_of(found: Sequence[Evaluated], task: str | None = None, student: str | None = None) -> list[list[Evaluated]]:
    """What belongs to each table, (task, student), with the dataset's reference `full`. Raises LookupError, saying what there
    is, when a task or student is asked for that no record has."""
    of_task = [one for one in found if task in {None, str(one.record.task)}]
    known = {"task": {str(one.record.task) for one in found}, "student": {one.record.student for one in of_task}}
    for kind, asked in (("task", task), ("student", student)):
        if asked is not None and asked not in known[kind]:
            raise LookupError(lookup.unknown(kind, asked, sorted(known[kind])))
    own: dict[tuple[Task, str], list[Evaluated]] = defaultdict(list)
    for one in of_task:
        if student in {None, one.record.student}:
            own[(one.record.task, one.record.student)].append(one)
    full: dict[tuple[str, str], list[Evaluated]] = defaultdict(list)
    for one in found:
        if is_reference(one.record) and one.record.task.is_full:
            full[(one.record.task.dataset, one.record.student)].append(one)
    return [
        cells if task_.is_full else cells + full[(task_.dataset, student_)]
        for (task_, student_), cells in sorted(own.items(), key=lambda item: item[0])
    ]
