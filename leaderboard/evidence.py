"""Loads valid records for ranking, and checks which of them may share a table."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vddbench import lookup
from vddbench.data.fingerprint import equivalent_stores
from vddbench.data.pinned import contradiction, pinned
from vddbench.leaderboard.fresh import fresh_students
from vddbench.leaderboard.maintainers import local_maintainers
from vddbench.records.files import path_of, read_record, record_files
from vddbench.records.predictions import Predictions
from vddbench.records.record import Record
from vddbench.spec import FULL, Task
from vddbench.submissions.manifest import read_manifest
from vddbench.system.progress import say

SUBMISSIONS = "submissions"  # a folder of a copy of a results repo, beside records/
NO_GROUPS = np.zeros(0, str)
RANDOM = "random"  # the baseline from which gain is measured


@dataclass(frozen=True)
class Evaluated:
    """A record, the test videos that its student got right, and its file."""

    record: Record
    hits: np.ndarray  # [V] bool
    groups: np.ndarray  # [V] str, of the test videos; "" for a video without a group
    path: Path = Path()
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))  # [V], if the record was read from a file
    answers: int = 2  # number of different classes among the student's answers
    first: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))  # [V] the student's answers, if read from a file
    videos_digest: str = ""  # of the test videos, labels and groups, if read from a file
    is_verified: bool = False  # a maintainer trained this student on a fresh seed
    owner: str = ""  # Hub name of the owner of its published set; "": unknown, or the maintainers
    family: str = ""  # digest of an equivalent store under which tables list the record; "": its own

    @property
    def store(self) -> tuple[str, str]:
        """(dataset, digest): records of one store can share a table."""
        return self.record.task.dataset, self.family or self.record.store_digest


@dataclass(frozen=True)
class Loaded:
    """Valid records, and one line for each record that is left out."""

    evaluated: list[Evaluated]  # the authors' records, and those of maintainers on fresh seeds
    refused: list[str]
    reruns: tuple[Evaluated, ...] = ()  # records of people who ran a claimed cell again (`Record.by`)
    replayed: tuple[Evaluated, ...] = ()  # records of protocol sdd, which are never ranked; replayed.py shows them


def load(roots: Sequence[Path], maintainers: Collection[str] = ()) -> Loaded:
    """Loads all valid records under the results folders. A record's scores are verified against its predictions.

    maintainers: user names whose students on fresh seeds are verified, besides those in MAINTAINERS files beside the folders.

    Repetitions by the author (`--force`) are left out. If several folders have a record of a cell, the first folder's record
    counts. If one folder has several records of a cell (published by several people), the earliest counts. All records of one
    prepared store must have the same test videos: a record that disagrees with most submissions of its store is refused.
    """
    cells: dict[tuple[Path, str], Evaluated] = {}  # by path and sha256 of the submission
    reruns: list[Evaluated] = []
    trusted = {*maintainers, *local_maintainers(roots)}
    refused = []
    pinned_once = functools.cache(pinned)  # it lists folders
    for root in roots:
        here: dict[tuple[Path, str], list[Evaluated]] = defaultdict(list)
        for path in record_files(root):
            try:
                one = read_evaluated(path)
            except (ValueError, OSError) as error:
                refused.append(str(error))
                continue
            record = one.record
            one = replace(one, owner=owner_of(root.parent / SUBMISSIONS / record.cell))
            if (reason := contradiction(record, pinned_once(record.task.dataset))) is not None:
                refused.append(f"record {path}: {reason}")
                continue
            cell = path_of(Path(), record), record.submission_sha256
            if record.by is not None:
                reruns.append(one)
            elif cell not in cells:
                here[cell].append(one)
        for cell, candidates in here.items():
            cells[cell] = min(candidates, key=lambda one: (one.record.date, one.path))
    fresh = fresh_students(reruns, trusted)
    candidates = [*cells.values(), *fresh.counted]
    head_of = equivalent_stores([one.record for one in candidates])
    agreed = agreeing([replace(one, family=head_of[one.store]) for one in candidates])
    again = tuple(one for one in reruns if one.record.drawn_from is None)
    ranked = [one for one in agreed.evaluated if not one.record.is_replay]
    replayed = tuple(one for one in agreed.evaluated if one.record.is_replay)
    return Loaded(ranked, refused + fresh.refused + agreed.refused, again, replayed)


def load_valid(roots: Sequence[Path]) -> list[Evaluated]:
    """The authors' valid records; refused ones are listed on stderr. Raises FileNotFoundError if no record is valid."""
    return some(load_listed(roots), roots)


def load_listed(roots: Sequence[Path]) -> Loaded:
    """All valid records; refused ones are listed on stderr."""
    loaded = load(roots)
    for reason in loaded.refused:
        say(f"left out: {reason}")
    return loaded


def some(loaded: Loaded, roots: Sequence[Path]) -> list[Evaluated]:
    """The records that can be ranked. Raises FileNotFoundError if there is none."""
    if not loaded.evaluated:
        folders = ", ".join(map(str, roots))
        raise FileNotFoundError(
            f"no valid records in {folders}; make some with `vddbench evaluate`, or name a folder with --results"
        )
    return loaded.evaluated


def read_evaluated(path: Path) -> Evaluated:
    """Reads a record without the names of its test videos, so that thousands of records fit in memory.

    Raises ValueError, OSError.
    """
    record, predictions = read_record(path)
    first = predictions.top5[:, 0].astype(np.int16)  # a dataset has at most 10,000 classes
    return Evaluated(
        record,
        first == predictions.label,
        NO_GROUPS,
        path,
        answers=len(np.unique(first)),
        first=first,
        videos_digest=predictions.videos_digest(),
    )


@functools.lru_cache(maxsize=4096)
def owner_of(folder: Path) -> str:
    """The owner of a published set, by the manifest in its folder of a copy of a results repo; "" if it has none."""
    try:
        payload = read_manifest(folder.resolve()).payload
    except (ValueError, OSError):
        return ""
    return "" if payload is None else payload.url.rpartition("/")[0].rpartition("/")[2]


def agreeing(candidates: Sequence[Evaluated]) -> Loaded:
    """Refuses records whose test videos differ from those of most submissions on the same prepared store.

    In a tie, the test videos that come first count. Groups and labels are the same for all records of a store; they are read
    from one of its records, so that memory holds them once.
    """
    submissions: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    first: dict[str, Path] = {}
    for one in candidates:
        submissions[one.store][one.videos_digest].add(one.record.submission_sha256)
        first.setdefault(one.videos_digest, one.path)
    videos: dict[str, Predictions] = {}
    agreed, refused = [], []
    for one in candidates:
        digest, of_store = one.videos_digest, submissions[one.store]
        expected = max(of_store, key=lambda digest: len(of_store[digest]))
        if digest == expected:
            if digest not in videos:
                videos[digest] = read_record(first[digest])[1]
            agreed.append(replace(one, groups=videos[digest].group, labels=videos[digest].label))
        else:
            refused.append(
                f"record {one.path}: its test videos, labels or groups differ from those of {len(of_store[expected])} other "
                f"submissions on the prepared store {one.record.store_digest[:8]}; evaluate it again on that store"
            )
    return Loaded(agreed, refused)


# For each field: (scope, value) of a record. All records of a table that have the same scope must have the same value.
CONDITIONS: dict[str, Callable[[Evaluated], tuple[str, str]]] = {
    "store_digest": lambda one: one.store,
    "protocol_hash": lambda one: (f"{one.record.student} on {one.record.task.dataset}", one.record.protocol_hash),
}


def check_unmixed(evaluated: Iterable[Evaluated]) -> None:
    """Raises ValueError, which names two records, if they differ in prepared store, protocol or recipe."""
    first: dict[tuple[str, str], tuple[Evaluated, str]] = {}
    for one in evaluated:
        for field_, condition in CONDITIONS.items():
            scope, value = condition(one)
            other, expected = first.setdefault((field_, scope), (one, value))
            if value != expected:
                raise ValueError(
                    f"two records differ in {field_} and can't share a table: {name(other.record)} ({expected[:8]}) and "
                    f"{name(one.record)} ({value[:8]}); evaluate both on the same prepared store and version, or rank them "
                    "from separate folders"
                )


def check_references(records: Iterable[Record]) -> None:
    """Raises ValueError, which names two records, if different payloads claim the same distillation seed of a reference.

    All values of `gain` and `gap_closed` in a table depend on the references.
    """
    first: dict[tuple[Task, str, str, int], Record] = {}
    for record in filter(is_reference, records):
        other = first.setdefault(_slot(record), record)
        if other.submission_sha256 != record.submission_sha256:
            raise ValueError(
                f"two submissions say they are the reference {record.method!r} of distillation seed {record.distill_seed}: "
                f"{name(other)} and {name(record)}; keep the one that `vddbench distill` makes and rank without the other"
            )


def majority(evaluated: Sequence[Evaluated]) -> Loaded:
    """Leaves out records that would make `rank` refuse a table, because strangers can add records to a board.

    A record is kept if it meets all of these conditions:
    * its student exists;
    * its prepared store is the one that most submissions of its dataset use (in a tie, the one that was used first);
    * its protocol and recipe are those that most submissions of its student and dataset use (in a tie, those that were used
      first);
    * if several payloads claim its distillation seed of a reference, its payload was evaluated first.
    """
    students = set(lookup.names("student"))
    lines = [f"record {name(one.record)}: there is no network {one.record.student}" for one in evaluated
             if one.record.student not in students]  # fmt: skip
    kept = sorted((one for one in evaluated if one.record.student in students), key=lambda one: one.record.date)
    for field_, condition in CONDITIONS.items():
        submissions: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for one in kept:
            scope, value = condition(one)
            submissions[scope][value].add(one.record.submission_sha256)
        most = {scope: max(values, key=lambda value: len(values[value])) for scope, values in submissions.items()}
        agreed = []
        for one in kept:
            scope, value = condition(one)
            if value == most[scope]:
                agreed.append(one)
            else:
                lines.append(
                    f"record {name(one.record)}: its {field_} is {value[:8]}, that of most submissions on {scope} is "
                    f"{most[scope][:8]}"
                )
        kept = agreed
    references: dict[tuple[Task, str, str, int], str] = {}
    for record in filter(is_reference, (one.record for one in kept)):
        references.setdefault(_slot(record), record.submission_sha256)
    agreed = []
    for one in kept:
        sha256 = one.record.submission_sha256
        if references.get(_slot(one.record), sha256) == sha256:
            agreed.append(one)
        else:
            lines.append(f"record {name(one.record)}: another payload is the reference of this distillation seed")
    return Loaded(agreed, lines)


def _slot(record: Record) -> tuple[Task, str, str, int]:
    """The key under which a reference may have only one payload."""
    return record.task, record.student, record.method, record.distill_seed


def is_reference(record: Record) -> bool:
    """Whether tables use the record as a reference: hard labels, `full` on DATASET-full or `random` on a budgeted task."""
    return record.track == "hard" and record.method == (FULL if record.task.is_full else RANDOM)


def name(record: Record) -> str:
    """The name of a record in messages: its path below the results folder."""
    return str(path_of(Path(), record).with_suffix(""))


def tables_of(evaluated: Sequence[Evaluated], task: str | None = None, student: str | None = None) -> list[list[Evaluated]]:
    """The records of each (task, student), with those of the dataset's reference `full`.

    Raises LookupError for a task or student without records; the message lists those that have records.
    """
    of_task = [one for one in evaluated if task in {None, str(one.record.task)}]
    known = {"task": {str(one.record.task) for one in evaluated}, "student": {one.record.student for one in of_task}}
    for kind, asked in (("task", task), ("student", student)):
        if asked is not None and asked not in known[kind]:
            raise LookupError(lookup.unknown(kind, asked, sorted(known[kind])))
    own: dict[tuple[Task, str], list[Evaluated]] = defaultdict(list)
    for one in of_task:
        if student in {None, one.record.student}:
            own[one.record.task, one.record.student].append(one)
    full: dict[tuple[str, str], list[Evaluated]] = defaultdict(list)
    for one in evaluated:
        if is_reference(one.record) and one.record.task.is_full:
            full[one.record.task.dataset, one.record.student].append(one)
    return [
        cells if key[0].is_full else cells + full[key[0].dataset, key[1]]
        for key, cells in sorted(own.items(), key=lambda item: item[0])
    ]
