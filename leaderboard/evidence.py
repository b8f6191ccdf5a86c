"""Loads valid records for ranking. table_records.py says which of them may share a table."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vddbench.data.fingerprint import equivalent_stores
from vddbench.data.pinned import contradiction, pinned
from vddbench.leaderboard.fresh import fresh_students
from vddbench.leaderboard.maintainers import local_maintainers
from vddbench.records.files import read_record, record_files
from vddbench.records.predictions import Predictions
from vddbench.records.record import Record
from vddbench.submissions.manifest import read_manifest
from vddbench.system.progress import say

BUNDLED = Path(__file__).resolve().with_name("results")  # in a wheel those of the generated datasets alone
SUBMISSIONS = "submissions"  # a folder of a copy of a results repo, beside records/
Cell = tuple[str, str, str, bool, int]  # TASK/METHOD@SHA8 and whole sha256 of a submission, student, is_replay, seed
NO_GROUPS = np.zeros(0, str)


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
    cells: dict[Cell, Evaluated] = {}
    reruns: list[Evaluated] = []
    trusted = {*maintainers, *local_maintainers(roots)}
    refused = []
    pinned_once = functools.cache(pinned)  # it lists folders
    for root in roots:
        here: dict[Cell, list[Evaluated]] = defaultdict(list)
        published = root.parent / SUBMISSIONS
        has_owners = published.is_dir()
        for path in record_files(root):
            try:
                one = read_evaluated(path)
            except (ValueError, OSError) as error:
                refused.append(str(error))
                continue
            record = one.record
            if has_owners:
                one = replace(one, owner=owner_of(published / record.cell))
            if (reason := contradiction(record, pinned_once(record.task.dataset))) is not None:
                refused.append(f"record {path}: {reason}")
                continue
            cell = record.cell, record.submission_sha256, record.student, record.is_replay, record.seed
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
        raise FileNotFoundError(none_valid(roots))
    return loaded.evaluated


def none_valid(roots: Sequence[Path]) -> str:
    """The message for folders without a record that can be ranked."""
    start = f"no valid records in {', '.join(map(str, roots))}; make some with `vddbench evaluate`"
    return f"{start}, or name a folder with --results{bundled_elsewhere(roots)}"


def bundled_elsewhere(roots: Sequence[Path]) -> str:
    """The end of a message: how to see the records that come with vddbench. "" if they are among `roots`, or missing."""
    if not BUNDLED.is_dir() or any(root.resolve() == BUNDLED for root in roots):
        return ""
    here = Path.cwd()
    return f"; the bundled records: --results {BUNDLED.relative_to(here) if BUNDLED.is_relative_to(here) else BUNDLED}"


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
